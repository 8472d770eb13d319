import { describe, expect, test, vi } from 'vitest';
import { TestHost, value } from '../../../test/vmm/host.js';
import { type OpenMdev, openMdev } from '../../../test/vmm/open-mdev.js';
import {
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFree,
  ioasidSetAlloc,
} from '../../ioasid/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_ENGCAP_REG,
  DSA_GENCAP_REG,
  DSA_GRPCAP_REG,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQCAP_REG,
  DSA_WQCFG,
  DSA_COMMAND_ERROR as ERROR,
  encode,
  type Field,
} from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';
import { Mdev } from '../index.js';

const AT = { GENCAP: 0x10, WQCAP: 0x20, GRPCAP: 0x30, ENGCAP: 0x38, GENCTRL: 0x88, GENSTS: 0x90 } as const;
const [INTCAUSE, COMMAND, STATUS, SWERROR] = [0x98, 0xa0, 0xa8, 0xc0];
const { RESERVED_FIELD, INVALID_WQ_INDEX, WQS_NOT_ENABLED, DEVICE_NOT_ENABLED } = ERROR;

function field(mdev: Mdev, offset: number, of: Field): number {
  const words = Int32Array.from({ length: 16 }, (_, i) => mdev.read32(offset + i * 4));
  return of.get(words, 0);
}

/** Has a command carried out; its error. */
function run({ host, mdev }: OpenMdev, command: number, operand = 0, isInterrupting = false): number {
  submit(mdev, command, operand, isInterrupting);
  expect(field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE)).toBe(1);
  host.runAll();
  expect(field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE)).toBe(0);
  return field(mdev, STATUS, DSA_CMDSTS_REG.ERR);
}

function submit(mdev: Mdev, command: number, operand: number, isInterrupting = false): void {
  const words = encode(DSA_CMD_REG, { CMD: command, OPERAND: operand, INT: isInterrupting ? 1 : 0 });
  mdev.write32(COMMAND, words[0] ?? 0);
}

/** A host PASID of the set, bound as `spid` through these. */
function bind(set: IoasidSet, spid: number, through: readonly Mdev[] = []): number {
  const id = value(ioasidAlloc(set, 700, 800));
  expect(ioasidAttachSpid(set, id, spid)).toBeUndefined();
  for (const mdev of through) mdev.bound({ guest: GuestPasid.of(spid), host: Pasid.of(id), set });
  return id;
}

describe('a virtual accelerator', () => {
  test('says that it has one shared queue of one group, and that this is fixed', () => {
    const { mdev } = openMdev();
    const seen = [
      field(mdev, AT.GENCAP, DSA_GENCAP_REG.CONFIG),
      field(mdev, AT.WQCAP, DSA_WQCAP_REG.WQS),
      field(mdev, AT.WQCAP, DSA_WQCAP_REG.SHARED),
      field(mdev, AT.WQCAP, DSA_WQCAP_REG.DEDICATED),
      field(mdev, AT.GRPCAP, DSA_GRPCAP_REG.GROUPS),
      field(mdev, AT.ENGCAP, DSA_ENGCAP_REG.ENGINES),
    ];
    expect(seen).toEqual([0, 1, 1, 0, 1, 1]);
    const before = field(mdev, DSA_TABLE.WQCFG, DSA_WQCFG.SIZE);
    expect(before).toBe(16);
    mdev.write32(DSA_TABLE.WQCFG, 3);
    mdev.write32(DSA_TABLE.GRPCFG, 0);
    expect(field(mdev, DSA_TABLE.WQCFG, DSA_WQCFG.SIZE)).toBe(16);
    expect(mdev.read32(DSA_TABLE.GRPCFG)).toBe(1);
  });

  test('keeps the states of device and queue, and refuses what they do not allow', () => {
    const it = openMdev();
    const steps: readonly (readonly [command: number, operand: number, error: number])[] = [
      [CMD.ENABLE_WQ, 0, DEVICE_NOT_ENABLED],
      [CMD.DISABLE_DEVICE, 0, ERROR.DISABLE_NOT_ENABLED],
      [CMD.ENABLE_DEVICE, 1, RESERVED_FIELD],
      [CMD.ENABLE_DEVICE, 0, 0],
      [CMD.ENABLE_DEVICE, 0, ERROR.DEVICE_NOT_DISABLED],
      [CMD.DRAIN_WQ, 1, WQS_NOT_ENABLED],
      [CMD.ENABLE_WQ, 1, INVALID_WQ_INDEX],
      [CMD.ENABLE_WQ, 0, 0],
      [CMD.ENABLE_WQ, 0, ERROR.WQ_NOT_DISABLED],
      [CMD.DRAIN_WQ, 2, INVALID_WQ_INDEX],
      [CMD.DRAIN_WQ, 1, 0],
      [CMD.DISABLE_WQ, 1, 0],
      [CMD.ABORT_WQ, 1, WQS_NOT_ENABLED],
      [CMD.RESET_DEVICE, 0, 0],
      [CMD.DISABLE_DEVICE, 0, ERROR.DISABLE_NOT_ENABLED],
      [CMD.RELEASE_INT_HANDLE + 1, 0, ERROR.INVALID_COMMAND],
    ];
    expect(steps.map(([command, operand]) => run(it, command, operand))).toEqual(
      steps.map(([, , error]) => error),
    );
  });

  test('drains and aborts by the host PASIDs behind the guest numbers, of its VM alone', () => {
    const it = openMdev();
    const { host, idxd, mdev, set } = it;
    const quiesce = vi.spyOn(idxd, 'quiesceGuest');
    const id = bind(set, 101, [mdev]);
    // Of its VM too, and another device's alone.
    bind(set, 103);
    const other = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));
    const others = bind(other, 102);
    expect(id).not.toBe(101);
    expect([run(it, CMD.DRAIN_PASID, 101), run(it, CMD.ABORT_PASID, 101)]).toEqual([0, 0]);
    expect(quiesce.mock.calls).toEqual([
      [id, false],
      [id, true],
    ]);
    // Numbers that stand for nothing here, though they do elsewhere.
    for (const number of [102, 103, id, others]) expect(run(it, CMD.ABORT_PASID, number)).toBe(0);
    expect(quiesce).toHaveBeenCalledTimes(2);
    run(it, CMD.ENABLE_DEVICE);
    run(it, CMD.DRAIN_ALL);
    host.run(mdev.reset());
    expect(quiesce.mock.calls.slice(2)).toEqual([
      [id, false],
      [id, true],
    ]);
  });

  test('is reset without harm to another that has the same PASID', () => {
    const { host, idxd, mdev, set } = openMdev();
    const other = host.newMdev('other');
    expect(other.open(set, () => {})).toBeUndefined();
    const quiesce = vi.spyOn(idxd, 'quiesceGuest');
    const own = bind(set, 101, [mdev]);
    const common = bind(set, 102, [mdev, other]);
    host.run(mdev.reset());
    expect(quiesce.mock.calls).toEqual([
      [own, true],
      [common, false],
    ]);
    other.unbound(Pasid.of(common));
    host.run(mdev.reset());
    expect(quiesce).toHaveBeenLastCalledWith(common, true);
  });

  test('is drained of what its VM has sent to it by a PASID that is bound through another device', () => {
    const { host, idxd, mdev, set } = openMdev();
    const drain = vi.spyOn(idxd, 'quiescePasid');
    const own = host.newMdev('own', 1);
    expect(own.open(set, () => {})).toBeUndefined();
    const id = bind(set, 101, [own]);
    host.run(own.drain(Pasid.of(id)));
    expect(drain).not.toHaveBeenCalled();
    for (const each of [mdev, own]) expect(host.run(each.drainStrays(Pasid.of(id)))).toBeUndefined();
    expect(drain.mock.calls).toEqual([[id, false]]);
  });

  test('keeps an id that it drains from being handed out, and has nothing of it afterwards', () => {
    const { host, idxd, mdev, set } = openMdev();
    vi.spyOn(idxd, 'quiesceGuest').mockImplementation(function* () {
      yield 'a long command';
      return undefined;
    });
    const id = bind(set, 101, [mdev]);
    submit(mdev, CMD.DRAIN_PASID, 101);
    host.some(1);
    ioasidDetachSpid(set, id);
    ioasidFree(set, id);
    expect(ioasidAlloc(set, id, id)).toMatchObject({ errno: 'ENOSPC' });
    host.runAll();
    expect(ioasidAlloc(set, id, id)).toBe(id);
  });

  test('signals ends of commands and errors by its first vector', () => {
    const it = openMdev();
    const { host, mdev, interrupts } = it;
    expect(run(it, CMD.ENABLE_DEVICE, 0, true)).toBe(0);
    expect([interrupts, mdev.read32(INTCAUSE)]).toEqual([[0], 2]);
    mdev.write32(INTCAUSE, 2);
    mdev.write32(AT.GENCTRL, 1);
    submit(mdev, CMD.DRAIN_ALL, 0);
    submit(mdev, CMD.DRAIN_ALL, 0);
    expect([interrupts, mdev.read32(INTCAUSE)]).toEqual([[0, 0], 1]);
    expect(field(mdev, SWERROR, DSA_SWERROR_REG.ERROR)).toBe(0x52);
    host.runAll();
  });

  test('is told errors of its parent that are its own VM, by the guest numbers', () => {
    const host = new TestHost();
    const [idxd] = host.kernel.idxds;
    if (idxd === undefined) throw new Error('no accelerator');
    const mdevs = ['one', 'two'].map((name) => host.newMdev(name));
    const sets = mdevs.map(() => value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 })));
    mdevs.forEach((mdev, i) => {
      const set = sets[i];
      if (set !== undefined) expect(mdev.open(set, () => {})).toBeUndefined();
    });
    const [, second] = sets;
    const pasid = second === undefined ? 0 : bind(second, 55);
    const words = encode(DSA_SWERROR_REG, {
      VALID: 1,
      DESC_VALID: 1,
      WQ_VALID: 1,
      PASID: pasid,
      ERROR: 0x1a,
    });
    const taken = mdevs.map(({ reported }) => reported(words));
    expect(taken).toEqual([false, true]);
    const seen = mdevs.map((mdev) => [
      field(mdev, SWERROR, DSA_SWERROR_REG.VALID),
      field(mdev, SWERROR, DSA_SWERROR_REG.PASID),
      field(mdev, SWERROR, DSA_SWERROR_REG.ERROR),
    ]);
    expect(seen).toEqual([
      [0, 0, 0],
      [1, 55, 0x1a],
    ]);
  });

  test('has one owner, and stands on a shared queue that is there', () => {
    const { host, idxd, mdev, set } = openMdev();
    const { context } = host.kernel;
    expect(Mdev.create(context, idxd, { name: 'none', wq: 2 })).toMatchObject({ errno: 'ENXIO' });
    expect(mdev.open(set, () => {})).toMatchObject({ errno: 'EBUSY' });
    const [wq] = idxd.wqs;
    expect(wq?.clients.value).toBe(1);
    host.run(mdev.remove());
    expect([wq?.clients.value, mdev.open(set, () => {})]).toMatchObject([0, { errno: 'ENODEV' }]);
  });

  test('carries no command out while its VM stands still, and does not wait for those that come meanwhile', () => {
    const it = openMdev();
    const { host, mdev } = it;
    run(it, CMD.ENABLE_DEVICE);
    host.run(mdev.suspend());
    submit(mdev, CMD.ENABLE_WQ, 0);
    host.runAll();
    expect(field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE)).toBe(1);
    host.run(mdev.suspend());
    host.run(mdev.resume());
    host.runAll();
    expect(field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE)).toBe(0);
    expect(field(mdev, DSA_TABLE.WQCFG, DSA_WQCFG.STATE)).toBe(1);
    // A reset does not wait for it to go on.
    host.run(mdev.suspend());
    submit(mdev, CMD.DRAIN_WQ, 1);
    host.run(mdev.reset());
    expect(field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE)).toBe(0);
  });
});
