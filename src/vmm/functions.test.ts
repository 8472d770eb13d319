/** Devices of a virtual machine that come and go while it runs: what is there afterwards, on both sides. */
import { describe, expect, test } from 'vitest';
import { TestHost, value } from '../../test/vmm/host.js';
import { isRefusal, type Refusal, type Task } from '../base/index.js';
import { ioasidCapacity } from '../ioasid/index.js';
import type { Mdev } from '../kernel/index.js';
import type { Vm, VmDevice } from './index.js';

const [FIRST, SECOND] = [0x28, 0x30];

interface Rig {
  readonly host: TestHost;
  readonly vm: Vm;
  readonly first: Mdev;
  readonly second: Mdev;
}

/** A VM with a share of a shared queue; and the dedicated queue, which nobody has. */
function rig(): Rig {
  const host = new TestHost();
  const [first, second] = [host.newMdev('vm1 first'), host.newMdev('second', 1)];
  const vm = host.newVm('vm1', { devices: [{ name: 'first', at: FIRST, mdev: first }] });
  value(host.run(vm.boot()));
  return { host, vm, first, second };
}

const device = (mdev: Mdev, at = SECOND): VmDevice => ({ name: 'second', at, mdev });

/** Plugs it in, and waits until the guest has it. */
function plug({ host, vm, second }: Rig): void {
  value(host.run(vm.plug(device(second))));
  host.runAll();
}

/** The RIDs that the guest's kernel knows, by its drivers and by its IOMMU. */
const known = ({ vm }: Rig): unknown => [
  vm.kernel.idxds.map(({ pci }) => pci.rid),
  vm.kernel.iommu.devices.map(({ rid }) => rid),
];

const resources = ({ host, vm }: Rig): unknown => ({
  frames: host.kernel.context.frames.inUse,
  ids: ioasidCapacity(host.ioasids),
  guest: vm.kernel.context.frames.inUse,
  tasks: host.tasks.tasks.map(({ name }) => name),
});

/** A process of the guest's that has the queue of a device open. */
function open({ host, vm }: Rig, name: string): { readonly close: () => void } {
  const process = value(vm.kernel.processes.spawn('alice'));
  const idxd = vm.idxd(name);
  if (idxd === undefined) throw new Error(`no ${name}`);
  const fd = value(host.run(idxd.files.open(process, 0)));
  value(host.run(idxd.files.mapPortal(process, fd)));
  return { close: () => void host.run(vm.kernel.processes.close(process, fd)) };
}

describe('a device that is plugged in', () => {
  test('is found by the guest, with its queue, and leaves nothing when it goes', () => {
    const it = rig();
    plug(it);
    value(it.host.run(it.vm.unplug('second')));
    const before = resources(it);
    plug(it);
    expect(known(it)).toEqual([
      [FIRST, SECOND],
      [FIRST, SECOND],
    ]);
    expect(it.vm.idxd('second')?.wqs.map(({ config }) => config.mode)).toEqual(['dedicated']);
    value(it.host.run(it.vm.unplug('second')));
    expect(known(it)).toEqual([[FIRST], [FIRST]]);
    expect(resources(it)).toEqual(before);
  });

  test('has no driver once all interrupt vectors are given out, and goes all the same', () => {
    const it = rig();
    it.vm.kernel.context.nextVector.value = 0x100;
    plug(it);
    expect(known(it)).toEqual([[FIRST], [FIRST, SECOND]]);
    value(it.host.run(it.vm.unplug('second')));
    expect(known(it)).toEqual([[FIRST], [FIRST]]);
  });

  test.each<[string, (it: Rig) => VmDevice, string]>([
    ['where another is', ({ second }) => device(second, FIRST), 'EBUSY'],
    ['where there is no slot', ({ second }) => device(second, 0x100), 'EINVAL'],
    ['at another function', ({ second }) => device(second, SECOND + 1), 'EINVAL'],
    ['that another has', ({ first }) => device(first), 'EBUSY'],
  ])('is refused %s, and nothing has changed', (_what, of, errno) => {
    const it = rig();
    const before = [resources(it), known(it)];
    expect(it.host.run(it.vm.plug(of(it)))).toMatchObject({ errno });
    it.host.runAll();
    expect([resources(it), known(it)]).toEqual(before);
  });

  test('is put back with its host', () => {
    const it = rig();
    it.host.mark([it.vm]);
    const before = [resources(it), known(it)];
    plug(it);
    const then = known(it);
    it.host.restore([it.vm]);
    expect([resources(it), known(it)]).toEqual(before);
    plug(it);
    expect(known(it)).toEqual(then);
  });
});

describe.each(['unplug', 'pullOut'] as const)('a device that goes: %s', (how) => {
  test("is closed for who has it open, and is nobody's then", () => {
    const it = rig();
    plug(it);
    const file = open(it, 'second');
    value(it.host.run(it.vm[how]('second')));
    it.host.runAll();
    expect(known(it)).toEqual([[FIRST], [FIRST]]);
    // Its process has a descriptor of nothing.
    file.close();
    expect(it.host.run(it.vm[how]('second'))).toMatchObject({ errno: 'ENOENT' });
    const other = it.host.newVm('vm2', { devices: [device(it.second)] });
    value(it.host.run(other.boot()));
    expect(other.idxd('second')?.wqs).toHaveLength(1);
  });

  test('leaves its slot to the next when the guest has let go of it', () => {
    const it = rig();
    plug(it);
    value(it.host.run(it.vm[how]('second')));
    it.host.runAll();
    plug(it);
    expect(known(it)).toEqual([
      [FIRST, SECOND],
      [FIRST, SECOND],
    ]);
    open(it, 'second');
  });

  test('does not keep the end of its machine waiting, whenever that comes', () => {
    for (let steps = 1; steps < 400; steps += 13) {
      const it = rig();
      plug(it);
      open(it, 'second');
      open(it, 'first');
      const results: (Refusal | undefined)[] = [];
      const goes = function* (): Task {
        results.push(yield* it.vm[how]('second'));
      };
      it.host.tasks.spawn('goes', goes());
      it.host.some(steps);
      it.host.run(it.vm.destroy());
      expect([it.vm.isGone, it.host.tasks.tasks]).toEqual([true, []]);
      expect(results.every((each) => !isRefusal(each) || each.errno === 'ESRCH')).toBe(true);
      expect(ioasidCapacity(it.host.ioasids)).toMatchObject({ live: 0 });
    }
  });
});

test('registers of what is gone say nothing, and nobody is asked for what has no slot', () => {
  const it = rig();
  const { mmio, pci } = it.vm.kernel.context.platform;
  const registers = it.vm.kernel.idxds[0]?.pci.bar(0) ?? 0;
  expect(mmio.read32(registers)).not.toBe(-1);
  value(it.host.run(it.vm.pullOut('first')));
  expect([mmio.read32(registers), pci.read(FIRST, 0, 2)]).toEqual([-1, 0xffff]);
  mmio.write32(registers + 0xa0, -1);
  const far = it.host.newVm('vm2');
  value(it.host.run(far.boot()));
  expect(it.host.run(far.unplug('dsa0'))).toMatchObject({ errno: 'EOPNOTSUPP' });
  value(it.host.run(far.pullOut('dsa0')));
});

describe("a parent's end", () => {
  test('asks the machines that have its parts for them first', () => {
    const it = rig();
    plug(it);
    open(it, 'first');
    open(it, 'second');
    const [idxd] = it.host.kernel.idxds;
    value(it.host.run(it.host.kernel.removeFunction(idxd?.pci.rid ?? 0)));
    it.host.runAll();
    expect(known(it)).toEqual([[], []]);
    expect([it.host.kernel.idxds, it.host.kernel.iommu.devices]).toEqual([[], []]);
    expect(it.first.open(it.vm.set, () => {})).toMatchObject({ errno: 'ENODEV' });
  });

  test('closes it for processes of its own, whose descriptors stand for nothing then', () => {
    const host = new TestHost();
    const { processes } = host.kernel;
    const [idxd] = host.kernel.idxds;
    if (idxd === undefined) throw new Error('no accelerator');
    const process = value(processes.spawn('alice'));
    const fd = value(host.run(idxd.files.open(process, 0)));
    value(host.run(idxd.files.mapPortal(process, fd)));
    value(host.run(host.kernel.removeFunction(idxd.pci.rid)));
    expect(host.run(idxd.files.open(process, 0))).toMatchObject({ errno: 'ENODEV' });
    expect(host.run(idxd.files.mapPortal(process, fd))).toMatchObject({ errno: 'ENODEV' });
    value(host.run(processes.close(process, fd)));
    host.run(processes.kill(process));
    expect(ioasidCapacity(host.ioasids)).toMatchObject({ live: 0 });
  });
});
