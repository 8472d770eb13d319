/** Completion interrupts: whose entry is whose, through MSI-X and interrupt message storage, and their handles. */
import { beforeEach, describe, expect, test } from 'vitest';
import { descriptor, PASID, Rig, SHARED } from '../../../test/dsa/rig.js';
import {
  DSA_COMMAND as CMD,
  DSA_GENCAP_REG,
  DSA_IMS,
  DSA_MSIXPERM,
  DSA_NOOP,
  DSA_PORTAL,
  DSA_STRIDE,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_COMMAND_ERROR as ERROR,
  encode,
  DSA_FLAG as FLAG,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import type { DsaOptions } from '../index.js';

const ADDRESS = 0xfee00000;
const HANDLE = 5;
const IMS = 0x10000;
const MASKED = 1;

/**
 * A device whose users may ask for interrupts; entry 5 of both tables sends its number, and that is 0x40 more in IMS.
 */
function ready(options: Partial<DsaOptions> = {}, pasid = PASID): Rig {
  const rig = new Rig(options);
  rig.enablePci();
  rig.writeAll(DSA_TABLE.MSIX + HANDLE * 16, Int32Array.of(ADDRESS | 0, 0, HANDLE, 0));
  rig.writeAll(DSA_TABLE.MSIXPERM + HANDLE * 8, encode(DSA_MSIXPERM, { PASID_EN: 1, PASID: pasid }));
  ims(rig, { PASID: pasid });
  rig.write(0x80, 0x1000);
  rig.startDevice([SHARED]);
  return rig;
}

const imsAt = (entry: number): number => DSA_TABLE.IMS + entry * DSA_STRIDE.IMS;
const ims = (rig: Rig, fields = {}): void =>
  rig.writeAll(
    imsAt(HANDLE),
    encode(DSA_IMS, { ADDRESS: ADDRESS / 4, DATA: 0x45, PASID_EN: 1, PASID, ...fields }),
  );
const noop = (handle: number): Int32Array =>
  descriptor(DSA_NOOP, { FLAGS: FLAG.CRAV | FLAG.RCR | FLAG.RCI, HANDLE: handle });
const sent = (rig: Rig): number[] => rig.interrupts.splice(0).map(({ data }) => data);

/** Submits one that asks for an interrupt. What is sent, and the status. */
function ask(rig: Rig, handle: number, portal: number = DSA_PORTAL.LIMITED): [number[], number] {
  rig.submit(noop(handle), { portal });
  rig.run();
  return [sent(rig), rig.status];
}

describe('an entry', () => {
  test.each([
    { name: 'MSI-X', portal: DSA_PORTAL.LIMITED, data: HANDLE },
    { name: 'MSI-X, unlimited', portal: DSA_PORTAL.UNLIMITED, data: HANDLE },
    { name: 'IMS', portal: DSA_PORTAL.IMS_LIMITED, data: 0x45 },
    { name: 'IMS, unlimited', portal: DSA_PORTAL.IMS_UNLIMITED, data: 0x45 },
  ])("is its PASID's alone: $name", ({ portal, data }) => {
    expect(ask(ready(), HANDLE, portal)).toEqual([[data], STATUS.SUCCESS]);
    const rig = ready({}, PASID + 1);
    expect(ask(rig, HANDLE, portal)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
    const isIms = (portal & DSA_PORTAL.IMS_UNLIMITED) !== 0;
    expect(rig.softwareError(DSA_SWERROR_REG.INFO)).toBe(BigInt(HANDLE | 0x50000 | (isIms ? 0x20000 : 0)));
  });

  test.each([
    { name: 'MSI-X', portal: DSA_PORTAL.LIMITED, handle: 9 },
    { name: 'IMS', portal: DSA_PORTAL.IMS_LIMITED, handle: 256 },
  ])('is refused where there is none: $name', ({ portal, handle }) => {
    expect(ask(ready(), handle, portal)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
  });

  test('for descriptors without a PASID is not for those with one', () => {
    const rig = ready();
    ims(rig, { PASID_EN: 0 });
    expect(ask(rig, HANDLE, DSA_PORTAL.IMS_LIMITED)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
  });

  test('may be told to ignore completions', () => {
    const rig = ready();
    ims(rig, { IGNORE: 1 });
    expect(ask(rig, HANDLE, DSA_PORTAL.IMS_LIMITED)).toEqual([[], STATUS.SUCCESS]);
  });

  test('of IMS waits behind its mask, and is sent when that goes', () => {
    const rig = ready();
    const control = (): number => rig.read(imsAt(HANDLE) + 12);
    ims(rig, { MASK: 1 });
    expect(ask(rig, HANDLE, DSA_PORTAL.IMS_LIMITED)).toEqual([[], STATUS.SUCCESS]);
    expect(control() & 3).toBe(3);
    rig.write(imsAt(HANDLE) + 12, control() & ~3);
    expect([sent(rig), control() & 3]).toEqual([[0x45], 0]);
  });

  test('of IMS begins masked, and keeps its reserved bits', () => {
    const rig = new Rig();
    expect(rig.read(imsAt(255) + 12)).toBe(MASKED);
    rig.writeAll(imsAt(255), Int32Array.of(-1, -1, -1, -1));
    expect([0, 4, 8, 12].map((at) => rig.read(imsAt(255) + at))).toEqual([~3, -1, -1, 0xfffff00d | 0]);
    rig.mark();
    rig.write(imsAt(255), 0);
    rig.restore();
    expect(rig.read(imsAt(255))).toBe(~3);
  });

  test('of IMS is forgotten by a reset of the device', () => {
    const rig = ready();
    rig.mustCommand(CMD.RESET_DEVICE);
    expect(rig.read(imsAt(HANDLE) + 12)).toBe(MASKED);
  });
});

test('without IMS its portals take nothing, and it is not advertised', () => {
  const rig = ready({ imsEntries: 0 });
  expect(rig.device.registers.get(rig.device.table.GENCAP, DSA_GENCAP_REG.IMS_SIZE)).toBe(0);
  expect(rig.submit(noop(HANDLE), { portal: DSA_PORTAL.IMS_LIMITED })).toBe(false);
  rig.write(imsAt(0), -1);
  expect(rig.read(imsAt(0))).toBe(0);
});

describe('handles', () => {
  let rig: Rig;
  const result = (): number => (rig.read(0xa8) >>> 8) & 0xffff;
  beforeEach(() => {
    rig = ready({ interruptHandles: 2 });
  });

  test('lead to the entries that they were requested for', () => {
    expect(ask(rig, HANDLE)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, 0);
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, HANDLE);
    expect(result()).toBe(1);
    expect(ask(rig, 1)).toEqual([[HANDLE], STATUS.SUCCESS]);
    expect(ask(rig, 1, DSA_PORTAL.IMS_LIMITED)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, HANDLE | IMS);
    expect(result()).toBe(0);
    expect(ask(rig, 0, DSA_PORTAL.IMS_LIMITED)).toEqual([[0x45], STATUS.SUCCESS]);
    rig.mustCommand(CMD.RELEASE_INT_HANDLE, 1);
    expect(ask(rig, 1)).toEqual([[], STATUS.INTERRUPT_HANDLE]);
  });

  test.each([
    {
      name: 'an entry that there is not',
      command: CMD.REQUEST_INT_HANDLE,
      operand: 9,
      error: ERROR.INTERRUPT_INDEX,
    },
    {
      name: 'one of IMS that there is not',
      command: CMD.REQUEST_INT_HANDLE,
      operand: IMS | 256,
      error: ERROR.INTERRUPT_INDEX,
    },
    { name: 'reserved bits', command: CMD.REQUEST_INT_HANDLE, operand: 0x20000, error: ERROR.RESERVED_FIELD },
    {
      name: 'a handle that was not given',
      command: CMD.RELEASE_INT_HANDLE,
      operand: 1,
      error: ERROR.INTERRUPT_INDEX,
    },
    {
      name: 'reserved bits of a release',
      command: CMD.RELEASE_INT_HANDLE,
      operand: 0x20000,
      error: ERROR.RESERVED_FIELD,
    },
  ])('refuse $name', ({ command, operand, error }) => {
    expect(rig.command(command, operand)).toBe(error);
  });

  test('end some time, and can be put back', () => {
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, 1);
    rig.mark();
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, 2);
    expect(rig.command(CMD.REQUEST_INT_HANDLE, 3)).toBe(ERROR.NO_HANDLE);
    rig.restore();
    rig.mustCommand(CMD.REQUEST_INT_HANDLE, 2);
    expect(result()).toBe(1);
  });
});
