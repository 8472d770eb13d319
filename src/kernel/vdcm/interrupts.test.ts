import { beforeEach, describe, expect, test } from 'vitest';
import { TestHost, value } from '../../../test/vmm/host.js';
import { type IoasidSet, ioasidSetAlloc } from '../../ioasid/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_GENCFG_REG,
  DSA_IMS,
  DSA_MSIXPERM,
  DSA_PORTAL,
  DSA_TABLE,
  DSA_COMMAND_ERROR as ERROR,
  encode,
} from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';
import type { IdxdDevice, Mdev } from '../index.js';

const [COMMAND, STATUS, GENCFG] = [0xa0, 0xa8, 0x80];
const IMS = 1 << 16;
const HOST = 700;

let host: TestHost;
let idxd: IdxdDevice;
let mdev: Mdev;
let told: number[];
let set: IoasidSet;

beforeEach(() => {
  host = new TestHost();
  const [found] = host.kernel.idxds;
  if (found === undefined) throw new Error('no accelerator');
  idxd = found;
  set = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));
  told = [];
  mdev = opened('mdev', 0, told);
});

function opened(name: string, wq: 0 | 1, interrupts: number[]): Mdev {
  const made = host.newMdev(name, wq);
  expect(made.open(set, (vector) => void interrupts.push(vector))).toBeUndefined();
  return made;
}

/** Has a command carried out; its error, and its result. */
function run(command: number, operand: number, on = mdev): [error: number, result: number] {
  on.write32(COMMAND, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0);
  host.runAll();
  const words = Int32Array.of(on.read32(STATUS));
  return [DSA_CMDSTS_REG.ERR.get(words, 0), DSA_CMDSTS_REG.RESULT.get(words, 0)];
}

function permit(vector: number, fields: { PASID_EN?: number; PASID?: number; IGNORE?: number }): void {
  mdev.write32(DSA_TABLE.MSIXPERM + vector * 8, encode(DSA_MSIXPERM, fields)[0] ?? 0);
}

const request = (vector: number, on = mdev) => run(CMD.REQUEST_INT_HANDLE, vector, on);
const bind = (guest: number, pasid: number, through = mdev): void =>
  through.bound({ guest: GuestPasid.of(guest), host: Pasid.of(pasid), set });

/** Of an entry of the real device: masked, for PASIDs, which. */
function entry(index: number): [masked: number, enabled: number, pasid: number] {
  const words = idxd.registers.readAt(idxd.registers.imsAt(index), DSA_IMS.bytes);
  return [DSA_IMS.MASK.get(words, 0), DSA_IMS.PASID_EN.get(words, 0), DSA_IMS.PASID.get(words, 0)];
}

/** What a device of the machine sends. */
function fire(index: number): void {
  host.hardware.accelerators[0]?.device.interrupts.complete(index | IMS);
}

describe("a virtual device's completion interrupts", () => {
  test('stand for entries of the parent, with the number of the host', () => {
    bind(101, HOST);
    permit(1, { PASID_EN: 1, PASID: 101 });
    expect([request(1), entry(0)]).toEqual([
      [ERROR.SUCCESS, 0],
      [0, 1, HOST],
    ]);
    expect(mdev.read32(DSA_TABLE.MSIXPERM + 8)).toBe((101 << 12) | 8);
    expect(mdev.portal).toMatchObject({ offset: DSA_PORTAL.LIMITED });
    const portal = idxd.pci.bar(2) + DSA_PORTAL.IMS_LIMITED;
    expect(mdev.portal.frame * 4096).toBe(portal);
    fire(0);
    host.runAll();
    expect([told, entry(0)]).toEqual([[1], [0, 1, HOST]]);
  });

  test.each<[string, () => void]>([
    ["is nobody's", () => permit(1, { PASID_EN: 1, PASID: 101 })],
    ["is the host's number", () => permit(1, { PASID_EN: 1, PASID: HOST })],
    ['is to be ignored', () => permit(1, { PASID_EN: 1, PASID: 102, IGNORE: 1 })],
    ['is not for PASIDs', () => permit(1, { PASID: 102 })],
    [
      'is bound through another device of its VM',
      () => {
        bind(103, HOST + 3, opened('other', 1, []));
        permit(1, { PASID_EN: 1, PASID: 103 });
      },
    ],
    [
      'is being unbound',
      () => {
        mdev.unbound(Pasid.of(HOST));
        permit(1, { PASID_EN: 1, PASID: 102 });
      },
    ],
  ])('are for nobody where what the guest has written %s', (_, prepare) => {
    bind(102, HOST);
    prepare();
    expect([request(1)[0], entry(0)]).toEqual([ERROR.SUCCESS, [0, 0, 0]]);
  });

  test('follow what the guest writes, and what is bound', () => {
    request(2);
    permit(2, { PASID_EN: 1, PASID: 101 });
    expect(entry(0)).toEqual([0, 0, 0]);
    bind(101, HOST);
    expect(entry(0)).toEqual([0, 1, HOST]);
    bind(102, HOST + 1);
    permit(2, { PASID_EN: 1, PASID: 102 });
    expect(entry(0)).toEqual([0, 1, HOST + 1]);
    // Work that is under way still ends by its interrupt; a PASID that was drained is in no entry.
    mdev.unbound(Pasid.of(HOST + 1));
    expect(entry(0)).toEqual([0, 1, HOST + 1]);
    host.run(mdev.drain(Pasid.of(HOST + 1)));
    expect(entry(0)).toEqual([0, 0, 0]);
    bind(102, HOST + 2);
    expect(entry(0)).toEqual([0, 1, HOST + 2]);
  });

  test('keep a PASID that was written while an interrupt was served', () => {
    bind(101, HOST);
    bind(102, HOST + 1);
    permit(1, { PASID_EN: 1, PASID: 101 });
    request(1);
    fire(0);
    while (entry(0)[0] === 0) expect(host.some(1)).toBe(true);
    permit(1, { PASID_EN: 1, PASID: 102 });
    host.runAll();
    expect([told, entry(0)]).toEqual([[1], [0, 1, HOST + 1]]);
  });

  test('are one to serve at a time, however often they come', () => {
    bind(101, HOST);
    permit(1, { PASID_EN: 1, PASID: 101 });
    request(1);
    fire(0);
    while (entry(0)[0] === 0) expect(host.some(1)).toBe(true);
    for (let i = 0; i < 5; i++) fire(0);
    host.runAll();
    expect(told).toEqual([1, 1]);
  });

  test.each([
    ['release', () => expect(run(CMD.RELEASE_INT_HANDLE, 0)[0]).toBe(ERROR.SUCCESS)],
    ['a reset by its guest', () => expect(run(CMD.RESET_DEVICE, 0)[0]).toBe(ERROR.SUCCESS)],
    ['a reset of the function', () => host.run(mdev.reset())],
    ['the end of its VM', () => host.run(mdev.close())],
  ])('are given back by %s', (_, end) => {
    bind(101, HOST);
    permit(1, { PASID_EN: 1, PASID: 101 });
    request(1);
    end();
    expect(entry(0)).toEqual([1, 0, 0]);
    fire(0);
    host.runAll();
    expect(told).toEqual([]);
    const other = opened('other', 1, told);
    expect([request(3, other), entry(0)]).toEqual([
      [ERROR.SUCCESS, 0],
      [0, 0, 0],
    ]);
  });

  test.each([
    ['a vector that there is not', CMD.REQUEST_INT_HANDLE, 5, ERROR.INTERRUPT_INDEX],
    ['interrupt message storage, which it has not', CMD.REQUEST_INT_HANDLE, IMS | 1, ERROR.INTERRUPT_INDEX],
    ['reserved bits', CMD.REQUEST_INT_HANDLE, 2 * IMS, ERROR.RESERVED_FIELD],
    ['a handle that it was not given', CMD.RELEASE_INT_HANDLE, 0, ERROR.INTERRUPT_INDEX],
    ['reserved bits of a release', CMD.RELEASE_INT_HANDLE, 2 * IMS, ERROR.RESERVED_FIELD],
  ])('are refused for %s', (_, command, operand, error) => {
    request(1, opened('other', 1, []));
    expect(run(command, operand)[0]).toBe(error);
  });

  test('of two devices have entries of their own, and each vector keeps its own', () => {
    const other = opened('other', 1, []);
    expect([request(1), request(1, other), request(2), request(1)].map(([, handle]) => handle)).toEqual([
      0, 1, 2, 0,
    ]);
  });

  test('are what users may ask for, as on the parent', () => {
    expect(DSA_GENCFG_REG.USER_INT.get(Int32Array.of(mdev.read32(GENCFG)), 0)).toBe(1);
    mdev.write32(GENCFG, 0);
    expect(DSA_GENCFG_REG.USER_INT.get(Int32Array.of(mdev.read32(GENCFG)), 0)).toBe(1);
  });
});
