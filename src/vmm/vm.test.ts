import { describe, expect, test, vi } from 'vitest';
import { TestHost, value } from '../../test/vmm/host.js';
import { type Refusal, refuse, type Task } from '../base/index.js';
import { ioasidActiveAllocator, ioasidAlloc, ioasidCapacity, ioasidFree } from '../ioasid/index.js';
import type { Vm } from './index.js';

const FIRST_GFN = 0x100;

/** Everything that a VM may not keep. */
const resources = (host: TestHost) => ({
  frames: host.kernel.context.frames.inUse,
  owners: [...host.owners.keys()].sort((a, b) => a - b),
  ids: ioasidCapacity(host.ioasids),
  processes: host.kernel.processes.all.length,
  tasks: host.tasks.tasks.length,
});

function booted(host: TestHost, name: string): Vm {
  const vm = host.newVm(name);
  value(host.run(vm.boot()));
  return vm;
}

const hostFrames = (vm: Vm): number[] =>
  Array.from({ length: vm.options.memory / 4096 }, (_, i) => vm.hostFrame(FIRST_GFN + i) ?? -1);

describe('a virtual machine', () => {
  test('boots the same kernel, which finds its unit, its accelerator and the queue', () => {
    const vm = booted(new TestHost(), 'vm1');
    const devices = vm.kernel.iommu.devices.map(({ rid, pasidBits, ats, pri }) => ({
      rid,
      pasidBits,
      ats,
      pri,
    }));
    expect(devices).toEqual([{ rid: 0x0100, pasidBits: 20, ats: true, pri: true }]);
    expect(vm.idxd('dsa0')?.wqs.map(({ config, isEnabled }) => ({ ...config, isEnabled }))).toEqual([
      {
        mode: 'shared',
        size: 16,
        threshold: 16,
        blockOnFault: true,
        pageRequests: true,
        priority: 1,
        isEnabled: true,
      },
    ]);
    expect(vm.isRunning).toBe(true);
  });

  test.each([false, true])('gets its PASIDs by virtual command; registers of before 3.3: %s', (isOld) => {
    const host = new TestHost();
    const pasids = {
      rest: 'lowest',
      hostMin: 500,
      hostMax: 600,
      pairs: [{ guestPasid: 101, hostPasid: 202 }],
    } as const;
    const vm = host.newVm('vm1', { iommu: { cachingMode: false, oldVirtualCommands: isOld, pasids } });
    value(host.run(vm.boot()));
    const { pasids: guest } = vm.kernel;
    expect(ioasidActiveAllocator(guest.core)).toBe('dmar0 virtual commands');
    const { live } = ioasidCapacity(host.ioasids);
    const inUse = (): number => ioasidCapacity(host.ioasids).live - live;
    expect([ioasidAlloc(guest, 1, 1000), ioasidAlloc(guest, 1, 1000)]).toEqual([101, 1]);
    expect(inUse()).toBe(2);
    expect(ioasidAlloc(guest, 1, 1)).toMatchObject({ errno: 'EIO' });
    expect(inUse()).toBe(2);
    ioasidFree(guest, 101);
    ioasidFree(guest, 1);
    expect(inUse()).toBe(0);
  });

  test('has its memory scattered: neither identity nor one offset, nor another VM', () => {
    const host = new TestHost();
    const [one, two] = [booted(host, 'vm1'), booted(host, 'vm2')];
    const [first, second] = [hostFrames(one), hostFrames(two)];
    expect(new Set([...first, ...second]).size).toBe(first.length + second.length);
    expect(first.every((frame) => frame > 0)).toBe(true);
    const offsets = new Set(first.map((frame, i) => frame - FIRST_GFN - i));
    expect(offsets.size).toBeGreaterThan(first.length / 2);
    expect(first.filter((frame, i) => frame === FIRST_GFN + i).length).toBeLessThan(first.length / 10);
    expect(first.filter((frame, i) => frame === second[i])).toEqual([]);
    expect(hostFrames(booted(new TestHost(), 'vm1'))).toEqual(first);
    expect(hostFrames(booted(new TestHost(2), 'vm1'))).not.toEqual(first);
  });

  test('gives everything back when it is destroyed, and leaves another alone', () => {
    const host = new TestHost();
    const other = booted(host, 'vm1');
    const before = resources(host);
    const vm = booted(host, 'vm2');
    host.run(vm.destroy());
    expect([vm.isGone, vm.hostFrame(FIRST_GFN)]).toEqual([true, undefined]);
    expect(resources(host)).toEqual(before);
    expect(other.isRunning).toBe(true);
    expect(ioasidAlloc(other.kernel.pasids, 1, 1000)).toBe(1);
  });

  test('can be killed at any step of its boot', () => {
    const host = new TestHost();
    // Tables of the accelerator's come with its first VM, and stay.
    host.run(booted(host, 'first').destroy());
    const before = resources(host);
    let steps = 1;
    for (let isRunning = true; isRunning; steps++) {
      const vm = host.newVm(`vm${steps}`);
      const results: (Refusal | undefined)[] = [];
      const boot = function* (): Task {
        results.push(yield* vm.boot());
      };
      host.tasks.spawn('boot', boot());
      isRunning = host.some(steps);
      host.run(vm.destroy());
      expect([resources(host), vm.isGone]).toEqual([before, true]);
      expect(results.every((each) => each === undefined || each.errno === 'ESRCH')).toBe(true);
      expect(results).toHaveLength(1);
    }
    expect(steps).toBeGreaterThan(30);
  });

  test('stands still, and goes on; and can be killed at any step of both', () => {
    const host = new TestHost();
    host.run(booted(host, 'first').destroy());
    const before = resources(host);
    const calm = booted(host, 'calm');
    expect(host.run(calm.resume())).toMatchObject({ errno: 'EINVAL' });
    for (let i = 0; i < 2; i++) value(host.run(calm.pause()));
    const seen: string[] = [];
    const body = function* (): Task {
      yield 'guest';
      seen.push('went on');
    };
    calm.kernel.context.tasks.spawn('work', body());
    host.runAll();
    expect(seen).toEqual([]);
    value(host.run(calm.resume()));
    host.runAll();
    expect(seen).toEqual(['went on']);
    host.run(calm.destroy());
    expect(host.run(calm.pause())).toMatchObject({ errno: 'ESRCH' });
    for (let steps = 1; steps < 30; steps += 2) {
      const vm = booted(host, `vm${steps}`);
      const pauses = function* (): Task {
        if ((yield* vm.pause()) === undefined) yield* vm.resume();
      };
      host.tasks.spawn('pause', pauses());
      host.some(steps);
      host.run(vm.destroy());
      expect([resources(host), vm.isGone]).toEqual([before, true]);
    }
  });

  test('is refused whole when the host has too little, and leaves nothing', () => {
    const host = new TestHost();
    const before = resources(host);
    const vm = host.newVm('vm1', { memory: 256 * 2 ** 20 });
    expect(host.run(vm.boot())).toMatchObject({ errno: 'ENOMEM' });
    expect(resources(host)).toEqual(before);
  });

  test('whose VMM is refused by KVM leaves nothing, VFIO opened before or not', () => {
    const host = new TestHost();
    const before = resources(host);
    vi.spyOn(host.kernel.kvm, 'createVm').mockReturnValue(refuse('ENOMEM', 'no frame'));
    expect(host.run(host.newVm('vm1').boot())).toMatchObject({ errno: 'ENOMEM' });
    expect([resources(host), host.kernel.vfio?.containers]).toEqual([before, 0]);
  });

  test('is put back with its host', () => {
    const host = new TestHost();
    const vm = booted(host, 'vm1');
    host.mark([vm]);
    const { pasids, processes } = vm.kernel;
    const state = () => [vm.isRunning, hostFrames(vm), processes.all.length, vm.kernel.context.frames.inUse];
    const before = state();
    const run = (): unknown => {
      value(processes.spawn('somebody'));
      const id = ioasidAlloc(pasids, 1, 1000);
      host.run(vm.destroy());
      return [id, resources(host)];
    };
    const first = run();
    host.restore([vm]);
    expect(state()).toEqual(before);
    expect(run()).toEqual(first);
  });
});
