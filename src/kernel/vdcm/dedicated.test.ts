import { describe, expect, test, vi } from 'vitest';
import { value } from '../../../test/vmm/host.js';
import { type OpenMdev, openMdev } from '../../../test/vmm/open-mdev.js';
import {
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFree,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidInspect,
  ioasidPut,
  ioasidReports,
  ioasidSetAlloc,
  ioasidTestBench,
} from '../../ioasid/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_GENCAP_REG,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQ_STATE,
  DSA_WQCAP_REG,
  DSA_WQCFG,
  DSA_COMMAND_ERROR as ERROR,
  encode,
  type Field,
} from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';
import { Mdev } from '../index.js';

const [GENCAP, WQCAP, COMMAND, STATUS, SWERROR] = [0x10, 0x20, 0xa0, 0xa8, 0xc0];
const PASID_AT = DSA_TABLE.WQCFG + 8;
const { SUCCESS, WQ_PASID_ENABLE, WQ_NOT_DISABLED, WQS_NOT_ENABLED } = ERROR;

function field(mdev: Mdev, offset: number, of: Field): number {
  const words = Int32Array.from({ length: 16 }, (_, i) => mdev.read32(offset + i * 4));
  return of.get(words, 0);
}

const wqcfg = (mdev: Mdev, of: Field): number => field(mdev, DSA_TABLE.WQCFG, of);

/** What the real queue's configuration says. */
function real({ idxd }: OpenMdev, of: Field): number {
  const { registers } = idxd;
  return of.get(registers.readAt(registers.wqcfgAt(1), DSA_WQCFG.bytes), 0);
}

function submit(mdev: Mdev, command: number, operand: number): void {
  mdev.write32(COMMAND, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0);
}

/** Has a command carried out; its error. */
function run({ host, mdev }: OpenMdev, command: number, operand = 0): number {
  submit(mdev, command, operand);
  host.runAll();
  return field(mdev, STATUS, DSA_CMDSTS_REG.ERR);
}

/** The guest names a PASID in the configuration of its queue. */
function name(mdev: Mdev, pasid: number, enabled = 1): void {
  mdev.write32(PASID_AT, encode(DSA_WQCFG, { PASID: pasid, PASID_EN: enabled })[2] ?? 0);
}

/** A host PASID of the set that is `spid` in it, and is bound through the device; its number. */
function bind({ set, mdev }: OpenMdev, spid: number): number {
  const id = allocate(set, spid);
  mdev.bound({ guest: GuestPasid.of(spid), host: Pasid.of(id), set });
  return id;
}

function allocate(set: IoasidSet, spid: number): number {
  const id = value(ioasidAlloc(set, 700, 800));
  expect(ioasidAttachSpid(set, id, spid)).toBeUndefined();
  return id;
}

/** As a binding's end does. */
function unbind({ set, mdev }: OpenMdev, id: number): void {
  mdev.unbound(Pasid.of(id));
  ioasidDetachSpid(set, id);
}

const holders = ({ set }: OpenMdev, id: number): number =>
  value(ioasidInspect(set.core, id)).holders.reduce((sum, { count }) => sum + count, 0);

/** With guest PASID 101 bound, named and enabled. */
function enabled(): OpenMdev & { readonly id: number } {
  const it = openMdev(1);
  const id = bind(it, 101);
  name(it.mdev, 101);
  expect([run(it, CMD.ENABLE_DEVICE), run(it, CMD.ENABLE_WQ)]).toEqual([SUCCESS, SUCCESS]);
  return { ...it, id };
}

describe('a virtual accelerator on a dedicated queue', () => {
  test('says so, and that its configuration is fixed but for the PASID', () => {
    const { mdev } = openMdev(1);
    const { SHARED, DEDICATED, WQS } = DSA_WQCAP_REG;
    const seen = [SHARED, DEDICATED, WQS].map((of) => field(mdev, WQCAP, of));
    expect([field(mdev, GENCAP, DSA_GENCAP_REG.CONFIG), ...seen]).toEqual([0, 0, 1, 1]);
    const before = [DSA_WQCFG.MODE, DSA_WQCFG.PRIORITY, DSA_WQCFG.SIZE].map((of) => wqcfg(mdev, of));
    mdev.write32(DSA_TABLE.WQCFG, 3);
    mdev.write32(PASID_AT, -1);
    const after = [DSA_WQCFG.MODE, DSA_WQCFG.PRIORITY, DSA_WQCFG.SIZE].map((of) => wqcfg(mdev, of));
    expect(after).toEqual(before);
    const { PASID, PASID_EN, PRIV } = DSA_WQCFG;
    expect([PASID, PASID_EN, PRIV].map((of) => wqcfg(mdev, of))).toEqual([0xfffff, 1, 0]);
  });

  test('has the real queue work with the number behind the one that the guest names', () => {
    const it = enabled();
    const { id, mdev } = it;
    expect(id).not.toBe(101);
    expect([real(it, DSA_WQCFG.PASID), real(it, DSA_WQCFG.PASID_EN)]).toEqual([id, 1]);
    expect([real(it, DSA_WQCFG.STATE), wqcfg(mdev, DSA_WQCFG.STATE)]).toEqual([1, 1]);
    expect(wqcfg(mdev, DSA_WQCFG.PASID)).toBe(101);
    // What is enabled cannot be changed.
    name(mdev, 55);
    expect([wqcfg(mdev, DSA_WQCFG.PASID), run(it, CMD.ENABLE_WQ)]).toEqual([101, WQ_NOT_DISABLED]);
    expect([run(it, CMD.DRAIN_WQ, 1), run(it, CMD.ABORT_WQ, 1), run(it, CMD.DISABLE_WQ, 1)]).toEqual([
      0, 0, 0,
    ]);
    expect([real(it, DSA_WQCFG.PASID), real(it, DSA_WQCFG.STATE)]).toEqual([0, 0]);
    expect(run(it, CMD.DRAIN_WQ, 1)).toBe(WQS_NOT_ENABLED);
    expect(run(it, CMD.ENABLE_WQ)).toBe(SUCCESS);
  });

  test.each<[string, (it: OpenMdev) => void]>([
    ['no PASID where nothing stands for that', ({ mdev }) => name(mdev, 101, 0)],
    ['PASID 0', ({ mdev }) => name(mdev, 0)],
    ["a PASID that is nobody's", ({ mdev }) => name(mdev, 333)],
    ["the host's number", (it) => name(it.mdev, bind(it, 101))],
    [
      'a PASID that is bound through another device of its VM',
      ({ set, mdev }) => {
        allocate(set, 77);
        name(mdev, 77);
      },
    ],
    [
      'a PASID of another VM',
      ({ host, mdev }) => {
        allocate(value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 })), 88);
        name(mdev, 88);
      },
    ],
    [
      'a PASID whose end has begun',
      (it) => {
        const id = bind(it, 101);
        name(it.mdev, 101);
        it.mdev.unbound(Pasid.of(id));
      },
    ],
  ])('is not enabled with %s', (_, prepare) => {
    const it = openMdev(1);
    run(it, CMD.ENABLE_DEVICE);
    prepare(it);
    expect(run(it, CMD.ENABLE_WQ)).toBe(WQ_PASID_ENABLE);
    expect([real(it, DSA_WQCFG.STATE), wqcfg(it.mdev, DSA_WQCFG.STATE)]).toEqual([0, 0]);
    name(it.mdev, 0, 0);
    expect(ioasidReports(it.host.ioasids).flatMap((report) => report.holders)).toEqual([]);
  });

  test('holds what its configuration names, once, and nothing else', () => {
    const it = openMdev(1);
    const [first, second] = [bind(it, 101), bind(it, 55)];
    const held = (): number[] => [holders(it, first), holders(it, second)];
    name(it.mdev, 101);
    name(it.mdev, 101);
    expect(held()).toEqual([1, 0]);
    name(it.mdev, 55);
    expect(held()).toEqual([0, 1]);
    name(it.mdev, 55, 0);
    expect(held()).toEqual([0, 0]);
  });

  test('can be given a PASID before that is bound', () => {
    const it = openMdev(1);
    name(it.mdev, 101);
    const id = bind(it, 101);
    run(it, CMD.ENABLE_DEVICE);
    expect([holders(it, id), run(it, CMD.ENABLE_WQ), holders(it, id)]).toEqual([0, SUCCESS, 1]);
  });

  test.each([
    ['unbound', (it: OpenMdev, id: number) => unbind(it, id)],
    ['freed', ({ set }: OpenMdev, id: number) => void ioasidFree(set, id)],
  ])('is disabled when its PASID is %s, and has let go of it', (_, end) => {
    const it = enabled();
    end(it, it.id);
    it.host.runAll();
    expect([real(it, DSA_WQCFG.STATE), real(it, DSA_WQCFG.PASID)]).toEqual([0, 0]);
    expect(wqcfg(it.mdev, DSA_WQCFG.STATE)).toBe(DSA_WQ_STATE.DISABLED);
    ioasidDetachSpid(it.set, it.id);
    ioasidFree(it.set, it.id);
    it.host.runAll();
    expect(ioasidAlloc(it.set, it.id, it.id)).toBe(it.id);
  });

  test('lets go of a PASID that it was not enabled with', () => {
    const it = openMdev(1);
    const id = bind(it, 101);
    name(it.mdev, 101);
    unbind(it, id);
    ioasidFree(it.set, id);
    it.host.runAll();
    expect(ioasidAlloc(it.set, id, id)).toBe(id);
  });

  test('is drained of a PASID that goes from this device alone', () => {
    const it = enabled();
    it.mdev.unbound(Pasid.of(it.id));
    expect(it.host.run(it.mdev.drain(Pasid.of(it.id)))).toBeUndefined();
    expect([real(it, DSA_WQCFG.STATE), wqcfg(it.mdev, DSA_WQCFG.STATE), holders(it, it.id)]).toEqual([
      0, 0, 0,
    ]);
  });

  test('does not care about the end of another PASID', () => {
    const it = enabled();
    const other = bind(it, 55);
    unbind(it, other);
    ioasidFree(it.set, other);
    it.host.runAll();
    expect([real(it, DSA_WQCFG.STATE), holders(it, it.id)]).toEqual([1, 1]);
  });

  test('gives back its own reference, when another device of its VM names the same PASID', () => {
    const it = enabled();
    const other = value(ioasidHolderAlloc(it.host.ioasids, 'other device'));
    expect(ioasidGet(it.set, it.id, other)).toBeUndefined();
    it.mdev.unbound(Pasid.of(it.id));
    it.host.run(it.mdev.drain(Pasid.of(it.id)));
    it.host.run(it.mdev.drain(Pasid.of(it.id)));
    expect(holders(it, it.id)).toBe(1);
    ioasidPut(it.set, it.id, other);
  });

  test("waits for its own work only, and abandons no other's", () => {
    const it = enabled();
    const all = vi.spyOn(it.idxd, 'quiescePasid');
    const [, wq] = it.idxd.wqs;
    if (wq === undefined) throw new Error('no queue');
    const [drain, abort] = [vi.spyOn(wq, 'drain'), vi.spyOn(wq, 'abort')];
    run(it, CMD.DRAIN_PASID, 101);
    run(it, CMD.ABORT_PASID, it.id);
    expect([drain.mock.calls.length, abort.mock.calls.length]).toEqual([1, 0]);
    it.host.run(it.mdev.reset());
    expect([abort.mock.calls.length, all.mock.calls.length]).toEqual([1, 0]);
  });

  test.each([
    ['reset', CMD.RESET_WQ, 1],
    ['reset with its device', CMD.RESET_DEVICE, 0],
  ])('names nothing any more when it is %s', (_, command, operand) => {
    const it = enabled();
    expect(run(it, command, operand)).toBe(SUCCESS);
    const seen = [DSA_WQCFG.PASID, DSA_WQCFG.PASID_EN, DSA_WQCFG.STATE].map((of) => wqcfg(it.mdev, of));
    expect([...seen, real(it, DSA_WQCFG.STATE), holders(it, it.id)]).toEqual([0, 0, 0, 0, 0]);
  });

  test('stands still, and goes on with the same PASID, or not if that has gone', () => {
    const it = enabled();
    expect(it.host.run(it.mdev.suspend())).toBeUndefined();
    expect([real(it, DSA_WQCFG.STATE), wqcfg(it.mdev, DSA_WQCFG.STATE)]).toEqual([0, 1]);
    it.host.run(it.mdev.resume());
    expect([real(it, DSA_WQCFG.STATE), real(it, DSA_WQCFG.PASID)]).toEqual([1, it.id]);
    it.host.run(it.mdev.suspend());
    unbind(it, it.id);
    it.host.runAll();
    it.host.run(it.mdev.resume());
    expect([real(it, DSA_WQCFG.STATE), wqcfg(it.mdev, DSA_WQCFG.STATE)]).toEqual([0, 0]);
  });

  test('is told of nothing when its VM has given it up, and another VM may have it', () => {
    const it = enabled();
    const { host, mdev, set, idxd } = it;
    const told = (): boolean => JSON.stringify(ioasidTestBench(host.ioasids).dump()).includes('vdcm mdev');
    expect(told()).toBe(true);
    host.run(mdev.close());
    expect(told()).toBe(false);
    ioasidDetachSpid(set, it.id);
    ioasidFree(set, it.id);
    host.runAll();
    expect(ioasidAlloc(set, it.id, it.id)).toBe(it.id);
    expect([mdev.open(set, () => {}), real(it, DSA_WQCFG.STATE)]).toEqual([undefined, 0]);
    expect(Mdev.create(host.kernel.context, idxd, { name: 'second', wq: 1 })).toMatchObject({
      errno: 'EBUSY',
    });
    host.run(mdev.remove());
    expect([mdev.read32(GENCAP), idxd.wqs[1]?.clients.value]).toEqual([-1, 0]);
  });
});

/** With a default PASID, which is not of the VM's set, and the queue enabled without PASIDs. */
function withDefault(): OpenMdev & { readonly id: number } {
  const it = openMdev(1);
  const { pasids } = it.host.kernel;
  const id = value(ioasidAlloc(pasids, 900, 999));
  it.mdev.bound({ guest: undefined, host: Pasid.of(id), set: pasids });
  expect([run(it, CMD.ENABLE_DEVICE), run(it, CMD.ENABLE_WQ)]).toEqual([SUCCESS, SUCCESS]);
  return { ...it, id };
}

describe('a dedicated queue whose guest uses no PASIDs', () => {
  const { PASID, PASID_EN, PRIV, STATE } = DSA_WQCFG;

  test('works with what stands for that, without privilege, which the guest does not see', () => {
    const it = withDefault();
    expect([PASID, PASID_EN, PRIV, STATE].map((of) => real(it, of))).toEqual([it.id, 1, 0, 1]);
    expect([PASID, PASID_EN, PRIV, STATE].map((of) => wqcfg(it.mdev, of))).toEqual([0, 0, 0, 1]);
  });

  test('is told of its errors, which name no PASID of its own', () => {
    const it = withDefault();
    const words = encode(DSA_SWERROR_REG, { VALID: 1, DESC_VALID: 1, ERROR: 0x10, WQ: 1, PASID: it.id });
    expect(it.mdev.reported(words)).toBe(true);
    const { VALID, PASID: NAMED, WQ } = DSA_SWERROR_REG;
    expect([VALID, NAMED, WQ].map((of) => field(it.mdev, SWERROR, of))).toEqual([1, 0, 0]);
    expect(it.mdev.reported(encode(DSA_SWERROR_REG, { VALID: 1, DESC_VALID: 1, WQ: 0 }))).toBe(false);
  });

  test('holds it while it is enabled', () => {
    const it = withDefault();
    expect(holders(it, it.id)).toBe(1);
    expect(run(it, CMD.DISABLE_WQ, 1)).toBe(SUCCESS);
    expect([holders(it, it.id), real(it, PASID), real(it, PASID_EN)]).toEqual([0, 0, 0]);
    expect([run(it, CMD.ENABLE_WQ), real(it, PASID), holders(it, it.id)]).toEqual([SUCCESS, it.id, 1]);
  });

  test('has it by no number of its own: PASID 0 is nothing that it could drain', () => {
    const it = withDefault();
    const [, wq] = it.idxd.wqs;
    if (wq === undefined) throw new Error('no queue');
    const [drain, all] = [vi.spyOn(wq, 'drain'), vi.spyOn(it.idxd, 'quiescePasid')];
    run(it, CMD.DRAIN_PASID, 0);
    run(it, CMD.DRAIN_PASID, it.id);
    expect([drain.mock.calls.length, all.mock.calls.length]).toEqual([0, 0]);
    run(it, CMD.DRAIN_WQ, 1);
    expect([drain.mock.calls.length, all.mock.calls.length]).toEqual([1, 0]);
  });

  test('is disabled when it goes, by its own number, and waits for no other queue that has it', () => {
    const it = withDefault();
    const all = vi.spyOn(it.idxd, 'quiescePasid');
    it.mdev.unbound(Pasid.of(it.id));
    expect(it.host.run(it.mdev.drain(Pasid.of(it.id)))).toBeUndefined();
    expect([real(it, STATE), real(it, PASID), wqcfg(it.mdev, STATE), holders(it, it.id)]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(all).not.toHaveBeenCalled();
    expect(run(it, CMD.ENABLE_WQ)).toBe(WQ_PASID_ENABLE);
  });

  test('can name a PASID instead, and go back', () => {
    const it = withDefault();
    const id = bind(it, 101);
    run(it, CMD.DISABLE_WQ, 1);
    name(it.mdev, 101);
    expect([run(it, CMD.ENABLE_WQ), real(it, PASID), holders(it, it.id)]).toEqual([SUCCESS, id, 0]);
    run(it, CMD.DISABLE_WQ, 1);
    name(it.mdev, 0, 0);
    expect([run(it, CMD.ENABLE_WQ), real(it, PASID), holders(it, id)]).toEqual([SUCCESS, it.id, 0]);
  });

  test.each(['reset', 'close'] as const)('holds nothing after a %s', (what) => {
    const it = withDefault();
    it.host.run(it.mdev[what]());
    expect([real(it, STATE), real(it, PASID), holders(it, it.id)]).toEqual([0, 0, 0]);
  });

  test('stands still and goes on with what stands for it then', () => {
    const it = withDefault();
    it.host.run(it.mdev.suspend());
    it.host.run(it.mdev.resume());
    expect([real(it, STATE), real(it, PASID)]).toEqual([1, it.id]);
    it.host.run(it.mdev.suspend());
    it.mdev.unbound(Pasid.of(it.id));
    it.host.run(it.mdev.resume());
    expect([real(it, STATE), wqcfg(it.mdev, STATE)]).toEqual([0, 0]);
  });
});
