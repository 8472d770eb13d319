/** The event log: what goes there, how it fills, and what its interrupt says. */
import { describe, expect, test } from 'vitest';
import { descriptor, move, PASID, RECORD, Rig, SHARED, type WqFields } from '../../../test/dsa/rig.js';
import {
  DSA_COMMAND as CMD,
  DSA_BATCH,
  DSA_DRAIN,
  DSA_EVENT,
  DSA_EVLCFG_REG,
  DSA_NOOP,
  decode,
  DSA_COMMAND_ERROR as ERROR,
  encode,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS, NO_PASID } from '../index.js';

const LOG = 0x180000;
const SIZE = 64;
const MISSING = 0x400000;
const LIST = 0x150000;
const GENCFG = 0x80;
const USER_INT = 0x1000;
const EVL_EN = 0x2000;
const EVL_INT = 4;
const EVLSTATUS = 0xf0;

/** A device whose log lies at LOG, without a PASID; its queue sends no page requests, if that is not said otherwise. */
function ready(wq: WqFields = { BOF: 0, PRS_DISABLE: 1 }): Rig {
  const rig = new Rig();
  rig.enablePci();
  rig.writeAll(0xe0, encode(DSA_EVLCFG_REG, { BASE: LOG / 4096, SIZE }));
  rig.write(0x88, EVL_INT);
  rig.write(GENCFG, EVL_EN | USER_INT);
  rig.writeAll(0x4000, Int32Array.of(0xfee00000 | 0, 0, 0x30, 0));
  for (const page of [0, 1])
    rig.iommu.map(NO_PASID, LOG / 4096 + page, { frame: LOG / 4096 + page, rights: ALL_RIGHTS });
  rig.iommu.map(PASID, LIST / 4096, { frame: LIST / 4096, rights: ALL_RIGHTS });
  rig.startDevice([{ ...SHARED, MAX_BATCH_SHIFT: 4, ...wq }]);
  return rig;
}

const tail = (rig: Rig): number => rig.read(EVLSTATUS + 4) & 0xffff;
const isPending = (rig: Rig): boolean => ((rig.read(EVLSTATUS + 4) >>> 30) & 1) === 1;

/** What an entry says, but for its zeros. */
function entry(rig: Rig, index: number): Record<string, number> {
  const words = new Int32Array(rig.bytes(LOG + index * 64, 64).buffer);
  const fields = decode(DSA_EVENT, words).fields.filter(({ value }) => value !== 0n);
  return Object.fromEntries(fields.map(({ field, value }) => [field.name, Number(value)]));
}

const WITH_RECORD = FLAG.CRAV | FLAG.RCR;
const noop = (fields = {}): Int32Array => descriptor(DSA_NOOP, fields);
const lost = (fields = {}): Int32Array => noop({ RECORD: MISSING, ...fields });
const RCR = 1 << 18;
const FIRST = 1 << 19;

describe('an entry', () => {
  test('has the record that has no page', () => {
    const rig = ready();
    rig.submit(lost());
    rig.run();
    expect(tail(rig)).toBe(1);
    expect(entry(rig, 0)).toEqual({
      ...{ DESC_VALID: 1, WQ_VALID: 1, RW: 1, INFO_VALID: 1, ERROR: STATUS.RECORD_FAULT, PASID },
      ...{ INFO: RCR, ADDR: MISSING, RECORD0: STATUS.SUCCESS },
    });
    expect([rig.softwareErrorCode, rig.iommu.pageRequests.length]).toEqual([0, 0]);
  });

  test('comes after the page requests, where there are some', () => {
    const rig = ready({});
    rig.submit(lost());
    rig.run();
    expect([tail(rig), rig.iommu.pageRequests.length]).toEqual([0, 1]);
    rig.answer(1);
    expect(entry(rig, 0)).toMatchObject({ ERROR: STATUS.RECORD_FAULT, PASID });
  });

  test('has an error that has no record', () => {
    const rig = ready();
    rig.submit(noop({ FLAGS: FLAG.FENCE, RECORD: 0 }));
    rig.run();
    expect(entry(rig, 0)).toMatchObject({ ERROR: STATUS.INVALID_FLAGS, INFO: FLAG.FENCE, PASID });
    expect(rig.softwareErrorCode).toBe(0);
  });

  test("is written with the log's PASID", () => {
    const rig = new Rig();
    rig.enablePci();
    const config = encode(DSA_EVLCFG_REG, { BASE: LOG / 4096, SIZE, PASID_EN: 1, PRIV: 1, PASID: 9 });
    rig.writeAll(0xe0, config);
    rig.write(GENCFG, EVL_EN);
    rig.iommu.map(9, LOG / 4096, { frame: LOG / 4096, rights: ALL_RIGHTS });
    rig.startDevice([{ ...SHARED, PRS_DISABLE: 1, BOF: 0 }]);
    rig.submit(lost());
    rig.run();
    expect([entry(rig, 0)['ERROR'], rig.iommu.blocked]).toEqual([STATUS.RECORD_FAULT, []]);
  });
});

describe('what tells the end of lost ones is in the log too', () => {
  test('a batch', () => {
    const rig = ready();
    const list = [noop({ RECORD: RECORD + 64 }), lost(), lost({ RECORD: MISSING + 64 })];
    list.forEach((words, i) => {
      rig.memory.write(LIST + i * 64, new Uint8Array(words.buffer));
    });
    rig.submit(descriptor(DSA_BATCH, { OPCODE: OP.BATCH, LIST, COUNT: 3 }));
    rig.run();
    expect([tail(rig), rig.status]).toEqual([3, STATUS.NONE]);
    expect(entry(rig, 0)).toMatchObject({ BATCH: 1, BATCH_INDEX: 1, INFO: RCR | FIRST });
    expect(entry(rig, 1)).toMatchObject({ BATCH: 1, BATCH_INDEX: 2, INFO: RCR });
    expect(entry(rig, 2)).toMatchObject({
      ERROR: STATUS.BATCH_RECORD_FAULT,
      ADDR: RECORD,
      OPERATION: OP.BATCH,
    });
    expect(rig.recordField('STATUS', LOG + 2 * 64 + 32)).toBe(BigInt(STATUS.BATCH_FAILED));
    expect(rig.recordField('COMPLETED', LOG + 2 * 64 + 32)).toBe(3n);
  });

  test('a drain, once, of the same PASID', () => {
    const rig = ready();
    const drain = (fields = {}): void => {
      rig.submit(descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, ...fields }));
      rig.run();
    };
    rig.iommu.map(7, RECORD / 4096, { frame: RECORD / 4096, rights: ALL_RIGHTS });
    rig.submit(lost());
    drain({ PASID: 7, RECORD: RECORD + 64 });
    expect([tail(rig), rig.recordField('STATUS', RECORD + 64)]).toEqual([1, 1n]);
    drain();
    expect([tail(rig), rig.status]).toEqual([2, STATUS.NONE]);
    expect(entry(rig, 1)).toMatchObject({ ERROR: STATUS.DRAIN_RECORD_FAULT, RECORD0: STATUS.SUCCESS, PASID });
    drain();
    expect([tail(rig), rig.status]).toEqual([2, STATUS.SUCCESS]);
  });
});

test('a log that is full makes the engine wait until software reads', () => {
  const rig = ready();
  for (let i = 0; i < SIZE - 1; i++) {
    rig.submit(lost());
    rig.run();
  }
  expect(tail(rig)).toBe(SIZE - 1);
  rig.submit(lost({ RECORD: MISSING + 32 }));
  rig.submitCommand(CMD.DRAIN_ALL);
  rig.run();
  expect([tail(rig), rig.commandIsActive, rig.softwareErrorCode]).toEqual([SIZE - 1, true, 0]);
  rig.write(EVLSTATUS, 1);
  rig.run();
  expect([tail(rig), rig.commandIsActive]).toEqual([0, false]);
  expect(entry(rig, SIZE - 1)).toMatchObject({ ADDR: MISSING + 32 });
});

test('it interrupts once until software has seen that', () => {
  const rig = ready();
  const submit = (): void => {
    rig.submit(lost());
    rig.run();
  };
  submit();
  submit();
  expect([rig.interrupts.length, isPending(rig), rig.read(0x98)]).toEqual([1, true, 0x20]);
  rig.write(EVLSTATUS + 4, 1 << 30);
  expect([isPending(rig), tail(rig)]).toEqual([false, 2]);
  submit();
  expect(rig.interrupts.length).toBe(2);
});

describe('the device is not enabled with a log', () => {
  test.each([
    { name: 'that is too small', config: { BASE: LOG / 4096, SIZE: 63 }, options: {} },
    { name: 'that it has not', config: { BASE: LOG / 4096, SIZE }, options: { eventLog: false } },
  ])('$name', ({ config, options }) => {
    const rig = new Rig(options);
    rig.enablePci();
    rig.writeAll(0xe0, encode(DSA_EVLCFG_REG, config));
    rig.write(GENCFG, EVL_EN);
    rig.configureWq(0, SHARED);
    rig.configureGroup(0, 1, 1);
    expect(rig.command(CMD.ENABLE_DEVICE)).toBe(ERROR.CONFIGURATION);
  });
});

test('a move that faults blocks no more, and says so in its own record', () => {
  const rig = ready();
  rig.submit(move({ FLAGS: WITH_RECORD, SRC: MISSING, DST: MISSING + 64, XFER_SIZE: 64 }));
  rig.run();
  expect([rig.status, tail(rig)]).toEqual([STATUS.PAGE_FAULT, 0]);
});
