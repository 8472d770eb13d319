import { describe, expect, test } from 'vitest';
import { PCI_ENABLED, TestHost, value } from '../../../test/vmm/host.js';
import {
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidReports,
  ioasidSetAlloc,
} from '../../ioasid/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_COMMAND_ERROR,
  DSA_TABLE,
  DSA_WQ_STATE,
  DSA_WQCFG,
  encode,
} from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';
import type { Mdev, MdevState, WqConfig } from '../index.js';

const [GENCTRL, COMMAND, STATUS] = [0x88, 0xa0, 0xa8];
const PASID_AT = DSA_TABLE.WQCFG + 8;
const SPID = 101;

/** A device on each of two hosts, as a VM has them one after the other. */
class End {
  readonly host: TestHost;
  readonly set: IoasidSet;
  readonly mdev: Mdev;
  readonly id: number;
  readonly interrupts: number[] = [];

  /** @param least of the host's PASIDs that the VM gets */
  constructor(wq: 0 | 1, least: number, queues: Partial<WqConfig> = {}) {
    this.host = new TestHost(1, { queues });
    this.set = value(ioasidSetAlloc(this.host.ioasids, { type: 'none', quota: 10 }));
    this.mdev = this.host.newMdev('mdev', wq);
    expect(this.mdev.open(this.set, (vector) => void this.interrupts.push(vector))).toBeUndefined();
    this.mdev.configWritten(PCI_ENABLED);
    this.id = value(ioasidAlloc(this.set, least, 1000));
    value(ioasidAttachSpid(this.set, this.id, SPID));
    this.mdev.bound({ guest: GuestPasid.of(SPID), host: Pasid.of(this.id), set: this.set });
  }

  submit(command: number, operand = 0): void {
    this.mdev.write32(COMMAND, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand, INT: 1 })[0] ?? 0);
  }

  run(command: number, operand = 0): number {
    this.submit(command, operand);
    this.host.runAll();
    return this.error;
  }

  get error(): number {
    return DSA_CMDSTS_REG.ERR.get(Int32Array.of(this.mdev.read32(STATUS)), 0);
  }

  get state(): number {
    return DSA_WQCFG.STATE.get(this.words(DSA_TABLE.WQCFG), 0);
  }

  words(at: number): Int32Array {
    return Int32Array.from({ length: 16 }, (_, i) => this.mdev.read32(at + i * 4));
  }

  /** Who holds its PASID. */
  get holders(): readonly string[] {
    return (
      ioasidReports(this.host.ioasids)
        .find(({ id }) => id === this.id)
        ?.holders.map(({ holder }) => holder) ?? []
    );
  }

  /** An enabled queue, which works with the guest's PASID if it is dedicated. */
  enable(): void {
    const words = encode(DSA_WQCFG, { PASID: SPID, PASID_EN: 1 });
    this.mdev.write32(PASID_AT, words[2] ?? 0);
    this.mdev.write32(GENCTRL, 3);
    expect([this.run(CMD.ENABLE_DEVICE), this.run(CMD.ENABLE_WQ)]).toEqual([0, 0]);
  }

  suspendAndSave(): MdevState {
    value(this.host.run(this.mdev.suspend()) ?? 'done');
    return value(this.mdev.save());
  }
}

describe.each([
  ['a share of a shared queue', 0],
  ['a dedicated queue', 1],
] as const)('a virtual device on %s', (_, wq) => {
  test('is on another host what it was, by other host PASIDs', () => {
    const [here, there] = [new End(wq, 300), new End(wq, 700)];
    here.enable();
    const state = here.suspendAndSave();
    expect(there.mdev.load(state)).toBeUndefined();
    expect(value(there.mdev.save())).toEqual(state);
    there.host.run(there.mdev.resume());
    for (const at of [0, 0x40, 0x80, DSA_TABLE.WQCFG]) expect(there.words(at)).toEqual(here.words(at));
    expect(there.state).toBe(DSA_WQ_STATE.ENABLED);
    expect(there.holders).toEqual(wq === 1 ? ['vdcm mdev'] : []);
    expect(there.run(CMD.DRAIN_PASID, SPID)).toBe(0);
  });

  test('does a command that had not begun where it goes on', () => {
    const [here, there] = [new End(wq, 300), new End(wq, 700)];
    here.enable();
    here.interrupts.length = 0;
    value(here.host.run(here.mdev.suspend()) ?? 'done');
    here.submit(CMD.DISABLE_WQ, 1);
    here.host.runAll();
    const state = value(here.mdev.save());
    expect(there.mdev.load(state)).toBeUndefined();
    there.host.runAll();
    expect([there.state, there.interrupts]).toEqual([DSA_WQ_STATE.ENABLED, []]);
    there.host.run(there.mdev.resume());
    there.host.runAll();
    expect([there.state, there.error, there.interrupts]).toEqual([DSA_WQ_STATE.DISABLED, 0, [0]]);
    expect([here.state, here.interrupts]).toEqual([DSA_WQ_STATE.ENABLED, []]);
  });

  test('that has halted while it stood still is halted where it goes on, and its queue rests', () => {
    const [here, there] = [new End(wq, 300), new End(wq, 700)];
    here.enable();
    value(here.host.run(here.mdev.suspend()) ?? 'done');
    here.mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    expect(there.mdev.load(value(here.mdev.save()))).toBeUndefined();
    here.host.runAll();
    there.host.run(there.mdev.resume());
    expect([wq === 1 && there.host.kernel.idxds[0]?.wqs[wq]?.isEnabled, there.run(CMD.DRAIN_ALL)]).toEqual([
      false,
      DSA_COMMAND_ERROR.HALTED,
    ]);
    expect(there.run(CMD.RESET_DEVICE)).toBe(0);
    expect(there.run(CMD.ENABLE_DEVICE)).toBe(DSA_COMMAND_ERROR.BUS_MASTER);
  });

  test.each([
    ['a smaller queue', { size: 2 }, /its queue's SIZE is 2, and was \d+/],
    ['a queue that cannot wait for pages', { blockOnFault: false }, /its queue's BOF is 0, and was 1/],
  ])('is not taken over by one with %s, which stays what it was', (__, queues, why) => {
    const [here, there] = [new End(wq, 300), new End(wq, 700, queues)];
    here.enable();
    const before = there.words(DSA_TABLE.WQCFG);
    expect(there.mdev.load(here.suspendAndSave())).toMatchObject({
      errno: 'EINVAL',
      why: expect.stringMatching(why),
    });
    expect([there.words(DSA_TABLE.WQCFG), there.state]).toEqual([before, DSA_WQ_STATE.DISABLED]);
    expect([there.run(CMD.ENABLE_DEVICE), here.host.run(here.mdev.resume())]).toEqual([0, undefined]);
    expect(here.state).toBe(DSA_WQ_STATE.ENABLED);
  });
});

test('a virtual device takes over neither the other kind, nor what it does not know', () => {
  const [shared, dedicated] = [new End(0, 300), new End(1, 700)];
  const state = shared.suspendAndSave();
  expect(dedicated.mdev.load(state)).toMatchObject({ errno: 'EINVAL', why: expect.stringMatching(/MODE/) });
  expect(shared.mdev.load({ ...state, version: 2 })).toMatchObject({
    why: expect.stringMatching(/version 2/),
  });
});

test('a virtual device whose guest has interrupt handles is not taken over: they are numbers of its parent', () => {
  const end = new End(0, 300);
  expect(end.run(CMD.REQUEST_INT_HANDLE, 1)).toBe(0);
  value(end.host.run(end.mdev.suspend()) ?? 'done');
  expect(end.mdev.save()).toMatchObject({ errno: 'EOPNOTSUPP' });
});
