/** Batches: what comes of their descriptors, fences, faults of the list, limits, and commands in between. */
import { describe, expect, test } from 'vitest';
import { descriptor, move, PASID, RECORD, Rig, SHARED, type WqFields } from '../../../test/dsa/rig.js';
import { type Chooser, Random, RandomChooser } from '../../base/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_BATCH,
  DSA_COMPVAL,
  DSA_DRAIN,
  DSA_NOOP,
  DSA_SWERROR_REG,
  DSA_COMMAND_ERROR as ERROR,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS, NO_PASID } from '../index.js';

const LIST = 0x150000;
const SRC = 0x200000;
const DST = 0x300000;
const WITH_RECORD = FLAG.CRAV | FLAG.RCR;
/** The record of the i-th descriptor of the list. */
const recordOf = (i: number): number => RECORD + 64 * (i + 1);

function ready(wq: WqFields = {}, chooser?: Chooser): Rig {
  const rig = new Rig({}, chooser);
  rig.start([{ ...SHARED, MAX_BATCH_SHIFT: 6, ...wq }]);
  rig.iommu.map(PASID, LIST / 4096, { frame: 0x150, rights: ALL_RIGHTS });
  rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
  rig.iommu.map(PASID, DST / 4096, { frame: 0x300, rights: ALL_RIGHTS });
  rig.memory.write(0x200 * 4096, new Uint8Array(4096).fill(0x55));
  return rig;
}

const batch = (COUNT: number, fields = {}): Int32Array =>
  descriptor(DSA_BATCH, { OPCODE: OP.BATCH, LIST, COUNT, ...fields });

/** Writes the list, and submits it. */
function submit(rig: Rig, list: readonly Int32Array[], fields = {}): void {
  list.forEach((words, i) => {
    rig.memory.write(0x150 * 4096 + i * 64, new Uint8Array(words.buffer));
  });
  rig.submit(batch(list.length, fields));
}

const copy = (i: number, fields = {}): Int32Array =>
  move({ SRC, DST: DST + i * 64, XFER_SIZE: 64, RECORD: recordOf(i), ...fields });
const bad = (i: number): Int32Array => copy(i, { XFER_SIZE: 0 });
const fenced = (i: number): Int32Array => copy(i, { FLAGS: WITH_RECORD | FLAG.FENCE });
/** Compares with what is not there, and says that it should be. */
const unlike = (i: number): Int32Array =>
  descriptor(DSA_COMPVAL, {
    ...{ OPCODE: OP.COMPVAL, FLAGS: WITH_RECORD | FLAG.CHECK_RESULT, RECORD: recordOf(i) },
    ...{ SRC, PATTERN: 0, EXPECTED: 0, XFER_SIZE: 8 },
  });

const statuses = (rig: Rig, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Number(rig.recordField('STATUS', recordOf(i))));
const outcome = (rig: Rig): number[] => [
  rig.status,
  Number(rig.recordField('RESULT')),
  Number(rig.recordField('COMPLETED')),
];

describe('a batch', () => {
  const { SUCCESS, NONE, TRANSFER_SIZE, FALSE_PREDICATE, BATCH_FAILED, BAD_OPCODE } = STATUS;
  test.each([
    {
      name: 'of good ones',
      list: [copy(0), copy(1), copy(2)],
      each: [SUCCESS, SUCCESS, SUCCESS],
      all: [SUCCESS, 0, 3],
    },
    {
      name: 'goes on after a bad one',
      list: [bad(0), copy(1)],
      each: [TRANSFER_SIZE, SUCCESS],
      all: [BATCH_FAILED, 1, 2],
    },
    {
      name: 'ends at a fence after a bad one',
      list: [copy(0), bad(1), fenced(2), copy(3)],
      each: [SUCCESS, TRANSFER_SIZE, NONE, NONE],
      all: [BATCH_FAILED, 1, 2],
    },
    {
      name: 'ends at a fence after a false predicate',
      list: [unlike(0), fenced(1)],
      each: [FALSE_PREDICATE, NONE],
      all: [BATCH_FAILED, 1, 1],
    },
    {
      name: 'passes a fence after good ones',
      list: [copy(0), fenced(1)],
      each: [SUCCESS, SUCCESS],
      all: [SUCCESS, 0, 2],
    },
    {
      name: 'has no batch',
      list: [copy(0), batch(2, { RECORD: recordOf(1) })],
      each: [SUCCESS, BAD_OPCODE],
      all: [BATCH_FAILED, 1, 2],
    },
    {
      name: 'has no drain',
      list: [descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, RECORD: recordOf(0) }), copy(1)],
      each: [BAD_OPCODE, SUCCESS],
      all: [BATCH_FAILED, 1, 2],
    },
  ])('$name', ({ list, each, all }) => {
    const rig = ready();
    submit(rig, list);
    rig.run();
    expect(statuses(rig, list.length)).toEqual(each);
    expect(outcome(rig)).toEqual(all);
    each.forEach((status, i) => {
      const isCopied = status === SUCCESS && list[i] !== undefined;
      expect(rig.bytes(0x300 * 4096 + i * 64, 1)[0]).toBe(isCopied ? 0x55 : 0);
    });
  });

  test("works with the batch descriptor's PASID, whatever its descriptors say", () => {
    const rig = ready();
    const asked = new Set<number>();
    const done: [number, number][] = [];
    rig.device.audit = {
      ...{ submitted: () => {}, refused: () => {}, completed: (tag, status) => done.push([tag, status]) },
      requests: (_, { pasid }) => asked.add(pasid),
    };
    submit(rig, [copy(0, { PASID: 7, PRIV: 1 }), copy(1, { PASID: 9 })]);
    rig.run();
    expect(outcome(rig)).toEqual([STATUS.SUCCESS, 0, 2]);
    expect([...asked]).toEqual([PASID]);
    expect(asked.has(NO_PASID)).toBe(false);
    expect(done).toEqual([[1, STATUS.SUCCESS]]);
  });

  test('reads each descriptor when its turn comes', () => {
    const rig = ready();
    submit(rig, [copy(0), bad(1)]);
    while (statuses(rig, 1)[0] === STATUS.NONE) rig.step();
    rig.memory.write(0x150 * 4096 + 64, new Uint8Array(copy(1).buffer));
    rig.run();
    expect(outcome(rig)).toEqual([STATUS.SUCCESS, 0, 2]);
  });

  test('tells the index of one that has no record for its error', () => {
    const rig = ready();
    submit(rig, [copy(0), copy(1, { FLAGS: 0, RECORD: 0, XFER_SIZE: 0 })]);
    rig.run();
    expect([rig.status, rig.softwareErrorCode]).toEqual([STATUS.BATCH_FAILED, STATUS.TRANSFER_SIZE]);
    expect(rig.softwareError(DSA_SWERROR_REG.BATCH)).toBe(1n);
    expect(rig.softwareError(DSA_SWERROR_REG.BATCH_INDEX)).toBe(1n);
    expect(rig.softwareError(DSA_SWERROR_REG.OPERATION)).toBe(BigInt(OP.MEMMOVE));
  });

  test('of which a record is lost has failed', () => {
    const rig = ready();
    submit(rig, [copy(0, { RECORD: 0x400000 }), copy(1)]);
    rig.run();
    rig.answer(1);
    expect([rig.softwareErrorCode, ...outcome(rig)]).toEqual([
      STATUS.RECORD_FAULT,
      STATUS.BATCH_FAILED,
      1,
      2,
    ]);
  });
});

describe('a list', () => {
  test.each([
    { name: 'of one', fields: { COUNT: 1 }, status: STATUS.DESCRIPTOR_COUNT },
    { name: 'of more than the queue allows', fields: { COUNT: 65 }, status: STATUS.DESCRIPTOR_COUNT },
    { name: 'that is not aligned', fields: { LIST: LIST + 32 }, status: STATUS.LIST_ALIGNMENT },
    {
      name: 'in a batch that may block',
      fields: { FLAGS: WITH_RECORD | FLAG.BOF },
      status: STATUS.INVALID_FLAGS,
    },
  ])('$name is refused', ({ fields, status }) => {
    const rig = ready();
    rig.submit(batch(2, fields));
    rig.run();
    expect(outcome(rig)).toEqual([status, 0, 0]);
  });

  test('whose page is missing is asked for', () => {
    const rig = ready();
    const list = Array.from({ length: 3 }, (_, i) => descriptor(DSA_NOOP, { RECORD: recordOf(i) }));
    rig.memory.write(0x151 * 4096 - 64, new Uint8Array(copy(0).buffer));
    list.slice(1).forEach((words, i) => {
      rig.memory.write(0x170 * 4096 + i * 64, new Uint8Array(words.buffer));
    });
    rig.submit(batch(3, { LIST: LIST + 4096 - 64 }));
    rig.run();
    expect(rig.iommu.pageRequests).toMatchObject([{ page: LIST / 4096 + 1, pasid: PASID }]);
    rig.iommu.map(PASID, LIST / 4096 + 1, { frame: 0x170, rights: ALL_RIGHTS });
    rig.answer(0);
    expect(outcome(rig)).toEqual([STATUS.SUCCESS, 0, 3]);
  });

  test('whose page is not to be had ends the batch', () => {
    const rig = ready();
    rig.memory.write(0x151 * 4096 - 64, new Uint8Array(copy(0).buffer));
    rig.submit(batch(3, { LIST: LIST + 4096 - 64 }));
    rig.run();
    rig.answer(1);
    expect(outcome(rig)).toEqual([STATUS.BATCH_PAGE_FAULT, 0, 1]);
    expect(rig.recordField('FAULT')).toBe(BigInt(LIST + 4096));
    expect(rig.recordField('WRITE')).toBe(0n);
  });
});

test('the order of a batch is open, but for its fences', () => {
  const orders = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    const rig = ready({}, new RandomChooser(new Random(seed)));
    const order: number[] = [];
    rig.device.audit = {
      ...{ submitted: () => {}, refused: () => {}, completed: () => {} },
      requests: (_, { length, offset }) => {
        if (length === 32) order.push(offset / 64 - 1);
      },
    };
    submit(rig, [copy(0), copy(1), fenced(2), copy(3), copy(4)]);
    rig.run();
    expect(outcome(rig)).toEqual([STATUS.SUCCESS, 0, 5]);
    expect(order.length).toBe(6);
    expect([...order].sort()).toEqual([-1, 0, 1, 2, 3, 4]);
    expect([order[2], order[5]]).toEqual([2, -1]);
    orders.add(order.join(' '));
  }
  expect(orders.size).toBe(4);
});

test('one that was put off is done before a fault of the list ends the batch', () => {
  const always: Chooser = { choose: (n) => n - 1 };
  const rig = ready({}, always);
  rig.memory.write(LIST + 4096 - 64, new Uint8Array(copy(0).buffer));
  rig.submit(batch(3, { LIST: LIST + 4096 - 64 }));
  rig.run();
  expect(statuses(rig, 1)).toEqual([STATUS.SUCCESS]);
  rig.answer(1);
  expect(outcome(rig)).toEqual([STATUS.BATCH_PAGE_FAULT, 0, 1]);
});

test('an abort ends the whole batch, a drain waits for all of it', () => {
  const rig = ready();
  const list = [copy(0), copy(1), copy(2)];
  submit(rig, list);
  while (statuses(rig, 1)[0] === STATUS.NONE) rig.step();
  rig.submitCommand(CMD.ABORT_PASID, PASID);
  rig.device.running.at(-1)?.step();
  rig.run();
  expect([...statuses(rig, 3), rig.status]).toEqual([STATUS.SUCCESS, 0, 0, 0]);
  submit(rig, list);
  rig.submit(descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, RECORD: recordOf(5) }));
  rig.command(CMD.DRAIN_PASID, PASID);
  expect([rig.status, Number(rig.recordField('STATUS', recordOf(5)))]).toEqual([
    STATUS.SUCCESS,
    STATUS.SUCCESS,
  ]);
});

test('can be put back in the middle', () => {
  const rig = ready();
  submit(rig, [copy(0), copy(1), fenced(2)]);
  while (statuses(rig, 1)[0] === STATUS.NONE) rig.step();
  const mappings = new Map(rig.iommu.mappings);
  rig.mark();
  for (let i = 0; i < 2; i++) {
    rig.run();
    expect(outcome(rig)).toEqual([STATUS.SUCCESS, 0, 3]);
    rig.restore();
    for (const [key, mapping] of mappings) rig.iommu.mappings.set(key, mapping);
    expect(rig.status).toBe(STATUS.NONE);
  }
});

test('a queue may not allow larger batches than the device', () => {
  const rig = new Rig();
  rig.enablePci();
  rig.configureWq(0, { ...SHARED, MAX_BATCH_SHIFT: 11 });
  rig.configureGroup(0, 1, 1);
  rig.mustCommand(CMD.ENABLE_DEVICE);
  expect(rig.command(CMD.ENABLE_WQ)).toBe(ERROR.WQ_BATCH_SIZE);
});
