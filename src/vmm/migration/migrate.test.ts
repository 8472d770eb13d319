import { describe, expect, test } from 'vitest';
import { type Copied, type CopyingVm, startCopy } from '../../../test/guest-sva/copier.js';
import { TestHost, value } from '../../../test/vmm/host.js';
import { isRefusal, type Refusal, type Task } from '../../base/index.js';
import { ioasidCapacity, ioasidFindBySpid } from '../../ioasid/index.js';
import { type MachineState, migrate, type Vm, type VmOptions } from '../index.js';

const GUEST_PASID = 101;
const SUCCESS = 1;
const MIB = 2 ** 20;
const bytesOf = (seed: number): Uint8Array => Uint8Array.from({ length: 6000 }, (_, i) => (i * seed) % 251);

const iommuOf = (hostPasid: number, pasidBits = 20) => ({
  ...{ cachingMode: true, pasidBits },
  pasids: {
    ...({ rest: 'lowest', hostMin: 1000, hostMax: 2000 } as const),
    pairs: [{ guestPasid: GUEST_PASID, hostPasid }],
  },
});

const resources = (host: TestHost) => ({
  frames: host.kernel.context.frames.inUse,
  ids: ioasidCapacity(host.ioasids),
  processes: host.kernel.processes.all.length,
  tasks: host.tasks.tasks.map(({ name }) => name),
});

/** A VM in which somebody copies, and where it goes. */
class Rig implements CopyingVm {
  readonly host = new TestHost(5);
  vm: Vm;

  constructor() {
    this.vm = this.newVm('vm1', { iommu: iommuOf(202) });
    value(this.host.run(this.vm.boot()));
    // Tables of devices grow when they are used first, and stay.
    this.copy(1);
    this.host.runAll();
  }

  get kernel() {
    return this.vm.kernel;
  }
  get cpus() {
    return this.vm.cpus;
  }
  idxd(name: string) {
    return this.vm.idxd(name);
  }

  newVm(name: string, options: Partial<VmOptions> = {}): Vm {
    return this.host.newVm(name, { iommu: iommuOf(211), ...options });
  }

  copy(seed: number): Copied {
    return startCopy(this, `alice${seed}`, bytesOf(seed)).copied;
  }

  *migrate(to: Vm): Task<Refusal | undefined> {
    const moved = (): void => {
      this.vm = to;
    };
    return yield* migrate(this.vm, to, { moved });
  }

  /** Somebody copies, and the machine stands still once his PASID is bound. */
  copyAndPause(seed: number): Copied {
    const copied = this.copy(seed);
    while (isRefusal(ioasidFindBySpid(this.vm.set, GUEST_PASID))) this.host.some(1);
    value(this.host.run(this.vm.pause()));
    return copied;
  }

  /** What it is, while it stands still. */
  state(): MachineState {
    return value(this.host.run(this.vm.save()));
  }
}

describe('a machine that goes to another VMM', () => {
  test('is there what it was here: its state as one value is the same', () => {
    const rig = new Rig();
    rig.copyAndPause(3);
    const before = rig.state();
    expect(before.iommu?.pasids).toEqual([GUEST_PASID]);
    expect(before.iommu?.bound).toEqual([{ rid: 0x0100, guestPasid: GUEST_PASID }]);
    expect(before.memory.length).toBeGreaterThan(10);
    const there = rig.newVm('there');
    value(rig.host.run(rig.migrate(there)));
    expect(rig.vm).toBe(there);
    expect(rig.state()).toEqual(before);
  });

  test('has another host PASID behind the same guest PASID, and who works with it notices nothing', () => {
    const rig = new Rig();
    const { host, vm: here } = rig;
    const copied = rig.copyAndPause(3);
    expect(ioasidFindBySpid(here.set, GUEST_PASID)).toBe(202);
    const there = rig.newVm('there');
    value(host.run(rig.migrate(there)));
    expect([here.isGone, here.isRunning, there.isRunning, there.isPaused]).toEqual([true, false, true, true]);
    expect(ioasidFindBySpid(there.set, GUEST_PASID)).toBe(211);
    value(host.run(there.resume()));
    host.runAll();
    expect([copied.pasid, copied.status, copied.isClosed]).toEqual([GUEST_PASID, SUCCESS, true]);
    expect(copied.bytes).toEqual(bytesOf(3));
    host.run(there.destroy());
    const never = new Rig();
    never.copyAndPause(3);
    never.host.run(never.vm.destroy());
    expect(resources(host)).toEqual(resources(never.host));
  });

  test('can go at any step of a copy, and back', () => {
    let moves = 0;
    for (let steps = 1, isRunning = true; isRunning; steps += 19) {
      const rig = new Rig();
      const { host } = rig;
      const copied = rig.copy(7);
      isRunning = host.some(steps);
      value(host.run(rig.vm.pause()));
      for (const name of ['there', 'back']) {
        const wasDone = copied.isClosed;
        value(host.run(rig.migrate(rig.newVm(name))));
        expect(copied.isClosed).toBe(wasDone);
        if (!wasDone) moves++;
      }
      value(host.run(rig.vm.resume()));
      host.runAll();
      expect([copied.status, copied.isClosed]).toEqual([SUCCESS, true]);
      expect(copied.bytes).toEqual(bytesOf(7));
    }
    expect(moves).toBeGreaterThan(12);
  });

  test('can be on another host there: other hardware, another kernel, other PASIDs', () => {
    const rig = new Rig();
    const { host, vm: here } = rig;
    const other = new TestHost(9, { beside: host });
    const copied = rig.copyAndPause(5);
    const before = rig.state();
    const there = other.newVm('vm1', { iommu: iommuOf(202) });
    value(host.run(rig.migrate(there)));
    expect(rig.state()).toEqual(before);
    expect([here.isGone, host.kernel.vfio?.containers, other.kernel.vfio?.containers]).toEqual([true, 0, 1]);
    value(host.run(there.resume()));
    host.runAll();
    expect([copied.status, copied.isClosed]).toEqual([SUCCESS, true]);
    expect(copied.bytes).toEqual(bytesOf(5));
    const next = rig.copy(7);
    host.runAll();
    expect([next.pasid, next.bytes]).toEqual([GUEST_PASID, bytesOf(7)]);
  });

  test('goes on while the other is built, and stands still only for a while', () => {
    const rig = new Rig();
    const { host } = rig;
    const results: unknown[] = [];
    const body = function* (): Task {
      results.push(yield* rig.migrate(rig.newVm('there')));
    };
    host.tasks.spawn('migrate', body());
    const copies = [2, 3, 5, 7, 11].map((seed) => {
      const copied = rig.copy(seed);
      host.some(300);
      return [copied, bytesOf(seed)] as const;
    });
    host.runAll();
    expect(results).toEqual([undefined]);
    for (const [copied, bytes] of copies) expect(copied.bytes).toEqual(bytes);
  });

  const unable: readonly (readonly [what: string, options: Partial<VmOptions>, why: RegExp])[] = [
    ['less memory', { memory: MIB }, /its RAM: here 256-511, there 256-767/],
    ['another number of vCPUs', { cpus: 2 }, /its vCPUs: here 2, there 1/],
    ['no device', { devices: [] }, /its devices: here none, there 01:00.0/],
    ['fewer bits of PASID', { iommu: iommuOf(211, 10) }, /offers CAP 0x\w+, ECAP 0x\w+, and was to offer/],
    ['no caching mode', { iommu: { ...iommuOf(211), cachingMode: false } }, /offers CAP/],
    ['page requests left out', { iommu: { ...iommuOf(211), pageRequests: false } }, /offers CAP/],
    ['too small a quota', { quota: 0 }, /quota/],
  ];

  test.each(unable)(
    'is refused by one with %s, and goes on as if nothing had happened',
    (_, options, why) => {
      const rig = new Rig();
      const { host, vm } = rig;
      const copied = rig.copyAndPause(3);
      const before = [resources(host), rig.state()];
      const there = rig.newVm('there', options);
      const refusal = host.run(rig.migrate(there));
      expect(isRefusal(refusal) ? refusal.toString() : 'done').toMatch(why);
      expect([rig.vm, vm.isRunning, there.isGone]).toEqual([vm, true, true]);
      expect([resources(host), rig.state()]).toEqual(before);
      value(host.run(vm.resume()));
      host.runAll();
      expect([copied.status, copied.isClosed]).toEqual([SUCCESS, true]);
      expect(copied.bytes).toEqual(bytesOf(3));
    },
  );

  test('can be killed at any step of it, at either end', () => {
    for (const end of ['here', 'there'] as const) {
      for (let steps = 40; steps < 4000; steps += 390) {
        const rig = new Rig();
        const { host, vm } = rig;
        rig.copy(3);
        const there = rig.newVm('there');
        host.tasks.spawn('migrate', rig.migrate(there));
        host.some(steps);
        host.run((end === 'here' ? vm : there).destroy());
        for (const each of [rig.vm, vm, there]) host.run(each.destroy());
        expect([vm.isGone, host.tasks.tasks.map(({ name }) => name)]).toEqual([true, []]);
        expect([host.kernel.processes.all, host.kernel.vfio?.containers]).toEqual([[], 0]);
      }
    }
  });
});
