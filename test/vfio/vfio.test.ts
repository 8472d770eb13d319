/**
 * Guest PASIDs on the host's side, with the real unit: what DMA meets, who is told of faults, whose answers count, and
 * that nothing is left of what has ended, in whatever order it does.
 */
import { describe, expect, it } from 'vitest';
import { isRefusal, type Refusal, refuse, type Task } from '../../src/base/index.js';
import { RIGHT } from '../../src/hardware/index.js';
import { ioasidFindBySpid, ioasidInspect, ioasidRegisterNotifier } from '../../src/ioasid/index.js';
import {
  IOMMU_FAULT,
  IOMMU_FAULT_EVENT_WORD,
  IOMMU_FAULT_UNRECOVERABLE,
  VTD_REGISTER,
} from '../../src/spec/index.js';
import { FIRST_RID, must } from '../vtd-driver/lab.js';
import {
  bindBytes,
  freeBytes,
  GUEST_PAGES,
  Host,
  invalidateBytes,
  pageRequestOf,
  TestFunction,
  TestMdev,
  TestShare,
  unmapBytes,
} from './vm.js';

const PAGE = 0x10;
const at = (pasid: number, page = PAGE) => [{ pasid, page }];

/** What a function reads at a page of a PASID; undefined where an access did not pass. */
function reads(host: Host, dma: Parameters<Host['lab']['access']>[0], pasid: number) {
  const accesses = host.lab.access(dma, at(pasid));
  const values = accesses
    .filter(({ isWrite }) => !isWrite)
    .map((each) => (each.passed ? each.value : undefined));
  return [...new Set(values)];
}

function oneDevice(options: ConstructorParameters<typeof Host>[0] = {}) {
  const host = new Host(options);
  const { dma, device } = host.plug();
  const { responses } = dma;
  const [one, two] = [new TestMdev('mdev1', device), new TestMdev('mdev2', device)];
  return { host, dma, device, responses, one, two };
}

/** Two VMs on one function. */
function twoVms(options: ConstructorParameters<typeof Host>[0] = {}) {
  const made = oneDevice(options);
  const vm1 = made.host.newVm('vm1', [made.one]);
  const vm2 = made.host.newVm('vm2', [made.two]);
  vm1.map(PAGE, 0, 0x1111);
  vm2.map(PAGE, 1, 0x2222);
  return { ...made, vm1, vm2 };
}

describe.each([{ ats: false }, { ats: true }])('DMA by guest PASIDs, $ats', (options) => {
  it('meets the VM that the host PASID is of, with crossed numbers', () => {
    const { host, dma, one, two, vm1, vm2 } = twoVms(options);
    vm1.allocAndBind(one, 101, 202);
    vm2.allocAndBind(two, 202, 101);
    expect(reads(host, dma, 202)).toEqual([0x1111]);
    expect(reads(host, dma, 101)).toEqual([0x2222]);
    expect([vm1, vm2].map(({ container }) => ioasidFindBySpid(container.set, 101))).toEqual([
      202,
      expect.objectContaining({ errno: 'ENOENT' }),
    ]);
    expect(host.lab.faults).toBe(0);
  });

  it('meets both VMs where they have the same number', () => {
    const { host, dma, one, two, vm1, vm2 } = twoVms(options);
    vm1.allocAndBind(one, 101, 300);
    vm2.allocAndBind(two, 101, 400);
    expect([reads(host, dma, 300), reads(host, dma, 400)]).toEqual([[0x1111], [0x2222]]);
    expect(reads(host, dma, 101)).toEqual([undefined]);
  });

  it('meets what the guest says that it has changed', () => {
    const { host, dma, one, vm1 } = twoVms(options);
    vm1.allocAndBind(one, 101, 202);
    expect(reads(host, dma, 202)).toEqual([0x1111]);
    vm1.map(PAGE, 2, 0x3333);
    must(host.run(vm1.container.invalidate(one, invalidateBytes(101, PAGE))));
    expect(reads(host, dma, 202)).toEqual([0x3333]);
    // Nobody's: nothing is cached of it.
    expect(host.run(vm1.container.invalidate(one, invalidateBytes(202, PAGE)))).toBeUndefined();
  });

  it('meets no memory of the VM that has been unmapped, though it is the table', () => {
    const { host, dma, one, vm1 } = twoVms(options);
    vm1.allocAndBind(one, 101, 202);
    expect(reads(host, dma, 202)).toEqual([0x1111]);
    const argument = unmapBytes(0, GUEST_PAGES);
    must(host.run(vm1.container.unmapDma(argument)));
    expect(argument).toEqual(unmapBytes(0, GUEST_PAGES));
    expect(reads(host, dma, 202)).toEqual([undefined]);
  });

  it('meets the same memory when the process takes its pages away, which nobody else is given', () => {
    const { host, dma, one, vm1 } = twoVms(options);
    vm1.allocAndBind(one, 101, 202);
    const { frames } = host.lab.bench.kernel.context;
    const before = frames.inUse;
    must(host.run(vm1.process.mm.munmap(vm1.base, GUEST_PAGES)));
    expect(frames.inUse).toBe(before);
    expect(reads(host, dma, 202)).toEqual([0x1111]);
    must(host.run(vm1.container.unmapDma(unmapBytes(0, GUEST_PAGES))));
    expect(frames.inUse).toBeLessThanOrEqual(before - GUEST_PAGES);
  });

  it('of a whole function carries what the guest has put into it, and the memory without', () => {
    const { host, dma, device } = oneDevice(options);
    const whole = new TestFunction('whole', device);
    const vm = host.newVm('vm1', [whole]);
    vm.map(PAGE, 0, 0x1111);
    vm.write(PAGE * 4096, Int32Array.of(0x4444));
    vm.allocAndBind(whole, 101, 202);
    expect([reads(host, dma, 101), reads(host, dma, 202), reads(host, dma, 0)]).toEqual([
      [0x1111],
      [undefined],
      [0x4444],
    ]);
    vm.end();
    expect([reads(host, dma, 101), reads(host, dma, 0)]).toEqual([[undefined], [undefined]]);
  });
});

describe('faults', () => {
  it('reach the guest as its own PASID, and answers the device as the host knows it', () => {
    const { host, device, responses, one, two, vm1, vm2 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    vm2.allocAndBind(two, 202, 101);
    const [told, others] = [vm1.listen(one), vm2.listen(two)];
    host.request(device, 202, { page: 0x12, isLast: false });
    expect(told).toEqual([]);
    host.request(device, 202, { page: 0x13 });
    expect(told.map(pageRequestOf)).toEqual([
      { pasid: 101, group: 3, page: 0x12 },
      { pasid: 101, group: 3, page: 0x13 },
    ]);
    expect([others, responses]).toEqual([[], []]);
    expect(vm1.answer(one, 101, 3)).toBeUndefined();
    expect(responses).toMatchObject([{ rid: device.rid, pasid: 202, group: 3, code: 0 }]);
  });

  it('are answered by nobody but whom they are of, and once', () => {
    const { host, device, responses, one, two, vm1, vm2 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    vm2.allocAndBind(two, 202, 101);
    for (const [vm, mdev] of [[vm1, one] as const, [vm2, two] as const]) vm.listen(mdev);
    host.request(device, 202);
    const dropped = expect.objectContaining({ errno: 'EINVAL' });
    // Another group, another PASID, the host's number, another VM.
    expect(vm1.answer(one, 101, 4)).toEqual(dropped);
    expect(vm1.answer(one, 102, 3)).toEqual(dropped);
    expect(vm1.answer(one, 202, 3)).toEqual(dropped);
    expect(vm2.answer(two, 202, 3)).toEqual(dropped);
    expect(responses).toEqual([]);
    // Response Failure would stop the other VM too.
    expect(vm1.answer(one, 101, 3, 2)).toBeUndefined();
    expect(vm1.answer(one, 101, 3)).toEqual(dropped);
    expect(responses).toMatchObject([{ pasid: 202, code: 1 }]);
    const kinds = host.lab.bench.events.filter(({ kind }) => kind === 'guest:response-dropped');
    expect(kinds).toHaveLength(5);
  });

  it.each([
    ['the guest unbinds', (vm: ReturnType<Host['newVm']>, one: TestMdev) => must(vm.unbind(one, 101, 202))],
    ['the guest frees', (vm: ReturnType<Host['newVm']>) => must(vm.container.pasidRequest(freeBytes(202)))],
    ['the VM ends', (vm: ReturnType<Host['newVm']>) => vm.end()],
  ])('that are outstanding, and that still come, the host answers when %s', (_what, ends) => {
    const { host, device, responses, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    const told = vm1.listen(one);
    host.request(device, 202);
    ends(vm1, one);
    host.lab.bench.runAll();
    host.request(device, 202, { group: 4 });
    expect(told).toHaveLength(1);
    expect(responses).toMatchObject([
      { pasid: 202, group: 3, code: 1 },
      { pasid: 202, group: 4, code: 1 },
    ]);
    expect(host.resources.tasks).toEqual([]);
  });

  /** Two parts of one function in one VM, on one PASID, and a request that the first of them is told of. */
  function shared() {
    const made = oneDevice();
    const vm = made.host.newVm('vm1', [made.one, made.two]);
    vm.map(PAGE, 0, 0x1111);
    vm.allocAndBind(made.one, 101, 202);
    must(vm.bind(made.two, 101, 202));
    const [first, second] = [vm.listen(made.one), vm.listen(made.two)];
    made.host.request(made.device, 202, { page: 0x12, isLast: false });
    made.host.request(made.device, 202, { page: 0x13 });
    expect([first.length, second.length]).toEqual([2, 0]);
    return { ...made, vm, first, second };
  }

  it.each([
    [
      'does not know the page',
      (vm: ReturnType<Host['newVm']>, one: TestMdev) => must(vm.answer(one, 101, 3, 1)),
    ],
    ['is unbound', (vm: ReturnType<Host['newVm']>, one: TestMdev) => must(vm.unbind(one, 101, 202))],
  ])('of one PASID are told to the next device that has it when the first %s', (_what, leaves) => {
    const { device, responses, one, two, vm, second } = shared();
    leaves(vm, one);
    expect(second.map(pageRequestOf)).toEqual([
      { pasid: 101, group: 3, page: 0x12 },
      { pasid: 101, group: 3, page: 0x13 },
    ]);
    expect(responses).toEqual([]);
    // Who was asked before has no say any more.
    expect(vm.answer(one, 101, 3)).toMatchObject({ errno: 'EINVAL' });
    expect(vm.answer(two, 101, 3)).toBeUndefined();
    expect(responses).toMatchObject([{ rid: device.rid, pasid: 202, group: 3, code: 0 }]);
  });

  it('that none of the devices of one PASID knows are answered when the last was asked, each once', () => {
    const { host, device, responses, one, two, vm, first, second } = shared();
    must(vm.answer(one, 101, 3, 1));
    expect(vm.answer(two, 101, 3, 1)).toBeUndefined();
    expect([first.length, second.length]).toEqual([2, 2]);
    expect(responses).toMatchObject([{ pasid: 202, group: 3, code: 1 }]);
    host.request(device, 202, { group: 5 });
    must(vm.container.pasidRequest(freeBytes(202)));
    host.lab.bench.runAll();
    expect(responses.map(({ group, code }) => [group, code])).toEqual([
      [3, 1],
      [5, 1],
    ]);
    expect([first.length, second.length]).toEqual([3, 2]);
  });

  it('that are still in the queue of the unit when a PASID ends reach no next owner of its number (E4)', () => {
    const { host, device, responses, one, two, vm1, vm2 } = twoVms({ ats: true, pri: true });
    vm1.allocAndBind(one, 101, 202);
    const before = vm1.listen(one);
    const [unit] = host.lab.bench.units;
    // Masked: nobody looks into the queue for the sake of an interrupt.
    unit?.write32(VTD_REGISTER.PECTL.offset, 1 << 31);
    const rights = RIGHT.READ | RIGHT.USER;
    unit?.requestPage({ rid: device.rid, pasid: 202, page: 0x10, rights, group: 3, isLast: true });
    must(vm1.unbind(one, 101, 202));
    must(vm1.container.pasidRequest(freeBytes(202)));
    vm2.allocAndBind(two, 101, 202);
    const next = vm2.listen(two);
    unit?.write32(VTD_REGISTER.PECTL.offset, 0);
    host.lab.bench.runAll();
    expect([before, next]).toEqual([[], []]);
    expect(responses).toMatchObject([{ pasid: 202, group: 3, code: 1 }]);
  });

  it('are answered at once where no guest listens', () => {
    const { host, device, responses, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    host.request(device, 202);
    expect(responses).toMatchObject([{ pasid: 202, group: 3, code: 1 }]);
  });

  it('that nobody can serve are told too, by the guest PASID', () => {
    const { host, dma, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    const told = vm1.listen(one);
    host.lab.access(dma, at(202, 0x17), 1);
    const [fault = new Int32Array(16)] = told;
    const u = IOMMU_FAULT_UNRECOVERABLE;
    const word = IOMMU_FAULT_EVENT_WORD;
    expect([told.length, IOMMU_FAULT.TYPE.get(fault, 0)]).toEqual([1, 1]);
    expect([u.PASID.get(fault, word), u.REASON.get(fault, word)]).toEqual([101, 5]);
    expect(u.ADDR.getBig(fault, word)).toBe(0x17000n);
  });
});

describe('an end', () => {
  const ENDS: readonly [string, (of: ReturnType<typeof twoVms>) => void][] = [
    [
      'unbind, free',
      ({ vm1, one }) => {
        must(vm1.unbind(one, 101, 202));
        expect(vm1.container.pasidRequest(freeBytes(202))).toBe(0);
      },
    ],
    ['free', ({ vm1 }) => void vm1.container.pasidRequest(freeBytes(202))],
    [
      'free twice',
      ({ vm1 }) => {
        expect(vm1.container.pasidRequest(freeBytes(202))).toBe(0);
        expect(vm1.container.pasidRequest(freeBytes(202))).toBe(0);
      },
    ],
    [
      'free, unbind',
      ({ vm1, one }) => {
        must(vm1.container.pasidRequest(freeBytes(202)));
        expect(vm1.unbind(one, 101, 202)).toBeUndefined();
      },
    ],
    ['a range freed', ({ vm1 }) => void must(vm1.container.pasidRequest(freeBytes(1, 2 ** 31)))],
    ['nothing but the end of the VM', () => {}],
  ];

  it.each(ENDS)('by %s leaves nothing: the id is back, and tables are empty', (_what, ends) => {
    const made = twoVms({ ats: true });
    const { host, dma, vm1, vm2, one, two } = made;
    vm2.allocAndBind(two, 101, 203);
    const before = host.resources;
    const extra = new TestMdev('mdev3', one.iommu);
    const vm3 = host.newVm('vm3', [extra]);
    vm3.end();
    expect(host.resources).toEqual(before);
    vm1.map(PAGE, 0, 0x1111);
    vm1.allocAndBind(one, 101, 202);
    expect(reads(host, dma, 202)).toEqual([0x1111]);
    ends(made);
    host.lab.bench.runAll();
    if (_what !== 'nothing but the end of the VM') {
      expect(reads(host, dma, 202)).toEqual([undefined]);
      expect(host.resources).toEqual(before);
      expect(one.drained).toEqual([202]);
      // The number is as good as new.
      vm1.allocAndBind(one, 101, 202);
    }
    vm1.end();
    expect(reads(host, dma, 202)).toEqual([undefined]);
    expect(reads(host, dma, 203)).toEqual([0x2222]);
    vm2.end();
    expect(host.resources.ids.available).toBe(before.ids.available + 2000);
    expect(host.resources).toMatchObject({ containers: 0, tasks: [], ids: { live: 0 } });
  });

  it('comes to whom it concerns once, however many devices there are', () => {
    const { host, one, two, device } = oneDevice();
    const far = new TestMdev('far', host.plug(FIRST_RID + 0x10).device);
    const vm = host.newVm('vm1', [one, two, far]);
    vm.map(PAGE, 0, 0x1111);
    const told: string[] = [];
    must(
      ioasidRegisterNotifier(vm.container.set, {
        ...{ name: 'kvm', priority: 'cpu', events: ['BIND', 'UNBIND'] },
        notify: ({ kind, id, spid }) => {
          const entry = device.attachments.get(id as never)?.entry;
          told.push(`${kind} ${id} ${spid} ${entry}`);
        },
      }),
    );
    vm.allocAndBind(one, 101, 202);
    for (const each of [two, far]) must(vm.bind(each, 101, 202));
    expect(told).toEqual(['BIND 202 101 present']);
    for (const each of [far, one]) must(vm.unbind(each, 101, 202));
    expect(device.attachments.has(202 as never)).toBe(true);
    must(vm.unbind(two, 101, 202));
    expect(told).toEqual(['BIND 202 101 present', 'UNBIND 202 101 present']);
    expect([one, two, far].map(({ drained }) => drained)).toEqual([[202], [202], [202]]);
  });

  it('is drained where it is not bound too: the CPUs translate it for all devices of the VM', () => {
    const { host, device, one } = oneDevice();
    const [share, other] = [new TestShare('share', device), new TestShare('other', device)];
    const vm = host.newVm('vm1', [one, share, other]);
    vm.allocAndBind(one, 101, 202);
    must(vm.bind(other, 101, 202));
    must(vm.unbind(other, 101, 202));
    expect([share.strays, other.strays]).toEqual([[202], []]);
    must(vm.unbind(one, 101, 202));
    expect([share.strays, other.strays, other.drained]).toEqual([[202, 202], [202], [202]]);
    vm.bind(one, 101, 202);
    share.refusal = refuse('EIO', 'it does not drain');
    expect(vm.unbind(one, 101, 202)).toMatchObject({ errno: 'EIO' });
  });

  it('waits for the device, and a guest that binds anew waits for it', () => {
    const { host, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    one.isBusy = true;
    const done: string[] = [];
    const { tasks } = host.lab.bench;
    const note = function* (what: string, task: Task<Refusal | undefined>): Task {
      const result = yield* task;
      done.push(isRefusal(result) ? `${what} ${result.errno}` : what);
    };
    tasks.spawn('unbind', note('unbind', vm1.container.unbindGpasid(one, bindBytes(101, 202))));
    host.lab.bench.runAll();
    tasks.spawn('bind', note('bind', vm1.container.bindGpasid(one, bindBytes(101, 202))));
    host.lab.bench.runAll();
    expect(done).toEqual([]);
    one.isBusy = false;
    one.idle.wakeAll();
    host.lab.bench.runAll();
    expect(done).toEqual(['unbind', 'bind']);
  });

  it('is waited for by who wants what is cached forgotten', () => {
    const { host, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    one.isBusy = true;
    must(vm1.container.pasidRequest(freeBytes(202)));
    host.lab.bench.runAll();
    const { tasks } = host.lab.bench;
    const invalidation = tasks.spawn('invalidate', vm1.container.invalidate(one, invalidateBytes(101, PAGE)));
    host.lab.bench.runAll();
    expect(invalidation.state).not.toBe('ended');
    one.isBusy = false;
    one.idle.wakeAll();
    host.lab.bench.runAll();
    expect([invalidation.state, one.drained]).toEqual(['ended', [202]]);
  });

  it('answers what is outstanding while the device is drained: it waits for that', () => {
    const { host, device, responses, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    vm1.listen(one);
    host.request(device, 202);
    one.isBusy = true;
    must(vm1.container.pasidRequest(freeBytes(202)));
    host.lab.bench.runAll();
    expect([responses.map(({ code }) => code), one.drained]).toEqual([[1], []]);
    one.isBusy = false;
    one.idle.wakeAll();
    host.lab.bench.runAll();
    expect(one.drained).toEqual([202]);
  });

  it('that hardware does not confirm keeps the id, and can be tried again', () => {
    const { host, dma, one, vm1 } = twoVms({ ats: true });
    vm1.allocAndBind(one, 101, 202);
    dma.deaf = 1000;
    expect(vm1.unbind(one, 101, 202)).toMatchObject({ errno: 'EIO' });
    // What may still be cached is not said to be forgotten.
    expect(host.run(vm1.container.invalidate(one, invalidateBytes(101, PAGE)))).toMatchObject({
      errno: 'EIO',
    });
    expect(vm1.container.pasidRequest(freeBytes(202))).toBe(0);
    host.lab.bench.runAll();
    expect(ioasidInspect(host.lab.bench.ioasids, 202)).toMatchObject({ holders: [{ holder: 'vfio mdev1' }] });
    dma.deaf = 0;
    expect(vm1.unbind(one, 101, 202)).toBeUndefined();
    expect(ioasidFindBySpid(vm1.container.set, 101)).toMatchObject({ errno: 'ENOENT' });
    vm1.allocAndBind(one, 101, 202);
  });

  it('that the device does not confirm keeps the id, though nothing reaches memory', () => {
    const { host, dma, one, vm1 } = twoVms();
    vm1.allocAndBind(one, 101, 202);
    one.refusal = refuse('EIO', 'it does not drain');
    expect(vm1.unbind(one, 101, 202)).toMatchObject({ errno: 'EIO' });
    expect(reads(host, dma, 202)).toEqual([undefined]);
    expect(vm1.bind(one, 101, 202)).toMatchObject({ errno: 'EBUSY' });
    one.refusal = undefined;
    expect(vm1.unbind(one, 101, 202)).toBeUndefined();
  });
});

describe('at any step', () => {
  it('a VM that is killed while it binds, unbinds or frees leaves nothing', () => {
    const { host, one, two, vm1, vm2 } = twoVms({ ats: true });
    vm2.allocAndBind(two, 101, 203);
    vm1.allocAndBind(one, 101, 202);
    must(vm1.unbind(one, 101, 202));
    host.lab.bench.mark();
    vm1.end();
    const without = host.resources;
    let rounds = 0;
    for (let steps = 0, isRunning = true; isRunning; steps++) {
      host.lab.bench.restore();
      const { container } = vm1;
      const guest = function* (): Task {
        must(yield* container.bindGpasid(one, bindBytes(101, 202)));
        must(yield* container.unbindGpasid(one, bindBytes(101, 202)));
        must(yield* container.bindGpasid(one, bindBytes(101, 202)));
        must(container.pasidRequest(freeBytes(202)));
        must(yield* container.unbindGpasid(one, bindBytes(101, 202)));
      };
      const task = host.lab.bench.tasks.spawn('guest', guest());
      host.lab.bench.some(steps);
      isRunning = task.state !== 'ended';
      rounds++;
      host.lab.bench.tasks.kill(task);
      vm1.end();
      expect([steps, host.resources]).toEqual([steps, without]);
    }
    expect(rounds).toBeGreaterThan(15);
  });
});
