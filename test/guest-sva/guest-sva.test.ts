/**
 * Shared virtual addressing in guests, whole: a guest's process opens the queue of a virtual accelerator, its PASID
 * comes by virtual command, the host nests its page table, KVM translates its ENQCMD, its faults are served by the
 * guest; and nothing is left of a VM that has gone.
 */
import { describe, expect, test } from 'vitest';
import { ioasidCapacity } from '../../src/ioasid/index.js';
import type { Vm } from '../../src/vmm/index.js';
import { TestHost, value } from '../vmm/host.js';
import { startCopy } from './copier.js';

const SUCCESS = 1;
const bytesOf = (seed: number): Uint8Array => Uint8Array.from({ length: 6000 }, (_, i) => (i * seed) % 251);

interface Pair {
  readonly guestPasid: number;
  readonly hostPasid: number;
}

function boot(host: TestHost, name: string, pairs: readonly Pair[], cachingMode = true): Vm {
  const pasids = { rest: 'lowest', hostMin: 1000, hostMax: 2000, pairs } as const;
  const vm = host.newVm(name, { iommu: { cachingMode, pasids } });
  value(host.run(vm.boot()));
  return vm;
}

const resources = (host: TestHost) => ({
  frames: host.kernel.context.frames.inUse,
  ids: ioasidCapacity(host.ioasids),
  processes: host.kernel.processes.all.length,
  tasks: host.tasks.tasks.map(({ name }) => name),
});

/** Both have used their PASIDs once: tables of devices and VMs grow when they are used first, and stay. */
function crossed(host: TestHost, cachingMode: boolean): readonly [Vm, Vm] {
  const one = boot(host, 'vm1', [{ guestPasid: 101, hostPasid: 202 }], cachingMode);
  const two = boot(host, 'vm2', [{ guestPasid: 202, hostPasid: 101 }], cachingMode);
  for (const vm of [one, two]) startCopy(vm, 'first', bytesOf(1));
  host.runAll();
  return [one, two];
}

describe('guest SVA', () => {
  test.each([true, false])(
    'moves bytes of two VMs whose numbers are crossed; caching mode %s',
    (cachingMode) => {
      const host = new TestHost();
      const [one, two] = crossed(host, cachingMode);
      const before = resources(host);
      const first = startCopy(one, 'alice', bytesOf(3));
      const second = startCopy(two, 'bob', bytesOf(7));
      host.runAll();
      expect([first.copied.pasid, second.copied.pasid]).toEqual([101, 202]);
      expect([first.copied.status, second.copied.status]).toEqual([SUCCESS, SUCCESS]);
      expect(first.copied.bytes).toEqual(bytesOf(3));
      expect(second.copied.bytes).toEqual(bytesOf(7));
      expect([first.process.isGone, second.process.isGone]).toEqual([true, true]);
      expect(resources(host)).toEqual(before);
    },
  );

  test('has the same number in both, backed by two', () => {
    const host = new TestHost(3);
    const one = boot(host, 'vm1', [{ guestPasid: 101, hostPasid: 300 }]);
    const two = boot(host, 'vm2', [{ guestPasid: 101, hostPasid: 400 }]);
    const first = startCopy(one, 'alice', bytesOf(11));
    const second = startCopy(two, 'bob', bytesOf(13));
    host.runAll();
    expect([first.copied.pasid, second.copied.pasid]).toEqual([101, 101]);
    expect([first.copied.bytes, second.copied.bytes]).toEqual([bytesOf(11), bytesOf(13)]);
  });

  test('ends with a reset of its VM at any step: nothing of its PASIDs is left, and another VM goes on', () => {
    const host = new TestHost(11);
    const [one, two] = crossed(host, true);
    host.mark([one, two]);
    const before = resources(host);
    // Translation is off: what its devices send without a PASID has a default one again.
    const after = { ...before, ids: { ...before.ids, live: before.ids.live + 1 } };
    let [isRunning, resets] = [true, 0];
    for (let step = 1; isRunning && step < 4000; step += 17) {
      host.restore([one, two]);
      const other = startCopy(one, 'alice', bytesOf(5));
      startCopy(two, 'bob', bytesOf(6));
      isRunning = host.some(step);
      expect(host.run(two.reset())).toBeUndefined();
      expect([two.isRunning, two.isGone, host.run(two.reset())]).toMatchObject([
        false,
        false,
        { errno: 'ESRCH' },
      ]);
      expect([step, other.copied.bytes]).toEqual([step, bytesOf(5)]);
      expect([step, resources(host)]).toEqual([step, after]);
      resets++;
    }
    expect(resets).toBeGreaterThan(10);
  });

  test('ends with a VM that is killed while it is reset', () => {
    const host = new TestHost(13);
    const [one, two] = crossed(host, true);
    host.mark([one, two]);
    host.run(two.destroy());
    const without = resources(host);
    for (let isResetting = true, steps = 0; isResetting; steps++) {
      host.restore([one, two]);
      startCopy(two, 'bob', bytesOf(6));
      host.some(700);
      const reset = host.tasks.spawn('reset', two.reset());
      host.some(steps);
      isResetting = reset.state !== 'ended';
      host.run(two.destroy());
      host.runAll();
      expect([steps, resources(host), two.isGone]).toEqual([steps, without, true]);
    }
  });

  test('goes on when a process of the guest is killed with work in flight', () => {
    const host = new TestHost(7);
    const [one, two] = crossed(host, true);
    host.mark([one, two]);
    const before = resources(host);
    const guestFrames = two.kernel.context.frames.inUse;
    for (let step = 1, isRunning = true; isRunning && step < 4000; step += 11) {
      host.restore([one, two]);
      const other = startCopy(one, 'alice', bytesOf(5));
      const { process } = startCopy(two, 'bob', bytesOf(6));
      isRunning = host.some(step);
      two.kernel.context.tasks.spawn('kill', two.kernel.processes.kill(process));
      host.runAll();
      expect([step, process.isGone, other.copied.bytes]).toEqual([step, true, bytesOf(5)]);
      expect([step, two.kernel.context.frames.inUse, resources(host)]).toEqual([step, guestFrames, before]);
    }
  });

  test('abandons work in flight when the virtual device is reset, and takes work again', () => {
    const host = new TestHost(9);
    const [one, two] = crossed(host, true);
    const { process, copied } = startCopy(two, 'bob', bytesOf(6));
    const other = startCopy(one, 'alice', bytesOf(5));
    for (let steps = 0; copied.pasid === undefined; steps++) expect(host.some(1) && steps < 5000).toBe(true);
    const [device] = two.options.devices;
    if (device === undefined || !('mdev' in device)) throw new Error('no device');
    host.run(device.mdev.reset());
    two.kernel.context.tasks.spawn('kill', two.kernel.processes.kill(process));
    host.runAll();
    expect([other.copied.bytes, process.isGone, host.tasks.tasks]).toEqual([bytesOf(5), true, []]);
    const again = startCopy(two, 'carol', bytesOf(8));
    host.runAll();
    expect(again.copied.bytes).toEqual(bytesOf(8));
  });

  test('leaves nothing of a VM that is killed at any step, and another undisturbed', () => {
    const host = new TestHost(5);
    const [one, two] = crossed(host, true);
    host.mark([one, two]);
    const kept = host.run(two.destroy());
    expect(kept).toBeUndefined();
    const without = resources(host);
    for (let step = 0, isRunning = true; isRunning && step < 4000; step += 7) {
      host.restore([one, two]);
      const other = startCopy(one, 'alice', bytesOf(5));
      startCopy(two, 'bob', bytesOf(6));
      isRunning = host.some(step);
      host.run(two.destroy());
      host.runAll();
      expect([step, other.copied.bytes, other.process.isGone]).toEqual([step, bytesOf(5), true]);
      expect([step, resources(host)]).toEqual([step, without]);
    }
  });
});
