/**
 * Faults of the 2020-21 series and what was found in its review, A1 to A19, each as the trace that shows it, and
 * that it cannot happen here. `docs/ioasid.md` says more of each.
 */
import { describe, expect, it } from 'vitest';
import {
  INVALID_IOASID,
  type IoasidSet,
  ioasidAdjustSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidCapacity,
  ioasidDetachSpid,
  ioasidFailures,
  ioasidFind,
  ioasidFindBySpid,
  ioasidFindMmSet,
  ioasidFinishWork,
  ioasidFree,
  ioasidFreeAllInSet,
  ioasidGet,
  ioasidInspect,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterAllocator,
  ioasidRegisterNotifier,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidSetRead,
  ioasidTakeWork,
  ioasidUnregisterAllocator,
  ioasidUnregisterNotifier,
  ioasidUserAlloc,
  type Phase,
} from '../../src/ioasid/index.js';
import { checkBooks, errno, FailNth, listener, must, newCore, newHolder, newSet, refused } from './kit.js';

describe('what the series gets wrong', () => {
  it('A1 the quota comes back when its set goes, however often', () => {
    const core = newCore();
    for (let life = 0; life < 2000; life++) must(ioasidSetFree(newSet(core, { quota: 7 })));
    expect(ioasidCapacity(core).available).toBe(7);
  });

  it('A2 a set that is empty is still its owner’s: alloc, free, alloc', () => {
    const set = newSet(newCore());
    must(ioasidFree(set, must(ioasidAlloc(set, 1, 7))));
    expect(ioasidAlloc(set, 1, 7)).toBe(1);
  });

  it('A3 freeing all does not walk what it frees, also when handlers let go of other ids', () => {
    const core = newCore();
    const set = newSet(core, { quota: 5 });
    const kvm = newHolder(core, 'kvm');
    const ids = [1, 2, 3, 4, 5].map(() => must(ioasidAlloc(set, 1, 7)));
    for (const id of ids) must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, 4));
    must(ioasidFree(set, 2));
    // FREE of the first lets go of all: each that is being freed is reclaimed under the walk.
    const also = (): void => {
      for (const id of ids) ioasidPut(set, id, kvm);
    };
    must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu', events: ['FREE'], also })));
    expect(ioasidFreeAllInSet(set)).toBe(0);
    expect(ioasidSetFree(set)).toBe(true);
    expect(errno(ioasidFreeAllInSet(set))).toBe('ENOENT');
    checkBooks(core);
  });

  it('A4 an alloc that fails after the allocator gave an id hands it back once, and claims nothing', () => {
    const faults = new FailNth();
    const core = newCore({ faults });
    const set = newSet(core);
    const log: string[] = [];
    const ops = { name: 'vcmd', alloc: () => 5, free: (id: number) => log.push(`free ${id}`) };
    must(ioasidRegisterAllocator(core, ops));
    faults.nth = faults.asked + 1;
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('ENOMEM');
    expect(log).toEqual(['free 5']);
    expect(ioasidAlloc(set, 1, 7)).toBe(5);
  });

  it('A5 lookup by SPID does not revive a dying id', () => {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    expect(refused(core, () => ioasidFindBySpid(set, 101, vdcm))).toBe('EBUSY');
    must(ioasidPut(set, id, kvm));
    expect(ioasidDetachSpid(set, id)).toBe(true);
  });

  it('A6 a refused attach leaves no reference on the id that has the SPID', () => {
    const core = newCore();
    const set = newSet(core);
    const [a, b] = [must(ioasidAlloc(set, 1, 7)), must(ioasidAlloc(set, 1, 7))];
    must(ioasidAttachSpid(set, a, 101));
    for (let i = 0; i < 3; i++) expect(refused(core, () => ioasidAttachSpid(set, b, 101))).toBe('EBUSY');
    must(ioasidDetachSpid(set, a));
    expect(ioasidFree(set, a)).toBe(true);
  });

  it('A7 a second free takes no reference and leaves none', () => {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const id = must(ioasidAlloc(set, 1, 7));
    for (const holder of [kvm, vdcm]) must(ioasidGet(set, id, holder));
    for (let i = 0; i < 3; i++) expect(ioasidFree(set, id)).toBe(false);
    expect(must(ioasidInspect(core, id)).holders.length).toBe(2);
    expect(ioasidPut(set, id, kvm)).toBe(false);
    expect(ioasidPut(set, id, vdcm)).toBe(true);
  });

  it('A8 who learnt of an id by BIND, and took no reference, hears FREE and UNBIND', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu' })));
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    expect(ioasidFree(set, id)).toBe(false);
    expect(ioasidDetachSpid(set, id)).toBe(true);
    expect(log.slice(1)).toEqual(['kvm BIND 1/101', 'kvm FREE 1/101', 'kvm UNBIND 1/101']);
  });

  it('A8 and who learnt of it by ALLOC takes a reference there, and hears FREE', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const log: string[] = [];
    const also = ({ kind, id, set: of }: { kind: string; id: number; set: IoasidSet | undefined }): void => {
      if (of === undefined) return;
      if (kind === 'ALLOC') must(ioasidGet(of, id, kvm));
      if (kind === 'FREE') must(ioasidPut(of, id, kvm));
    };
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu', also })));
    expect(ioasidFree(set, must(ioasidAlloc(set, 1, 7)))).toBe(true);
    expect(log).toEqual(['kvm ALLOC 1', 'kvm FREE 1']);
  });

  it('A9 a put by who holds nothing does not spend another’s reference', () => {
    const core = newCore();
    const [set, other] = [newSet(core), newSet(core)];
    const [one, two] = [newHolder(core, 'vdcm:vdev0'), newHolder(core, 'vdcm:vdev1')];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, one));
    must(ioasidFree(set, id));
    expect(refused(core, () => ioasidPut(set, id, two))).toBe('EINVAL');
    expect(refused(core, () => ioasidPut(other, id, one))).toBe('EACCES');
    expect(ioasidPut(set, id, one)).toBe(true);
  });

  it('A10 the order holds for the work, not only for the calls', () => {
    const core = newCore({ order: ['iommu', 'device', 'cpu'] });
    const set = newSet(core);
    const id = must(ioasidAlloc(set, 1, 7));
    const done: string[] = [];
    const workers = (['clear', 'drain', 'stop'] as const).map((phase: Phase) => {
      const holder = newHolder(core, phase);
      const priority = ({ clear: 'iommu', drain: 'device', stop: 'cpu' } as const)[phase];
      const also = (): void => {
        must(ioasidQueueWork(set, id, { holder, phase }));
      };
      must(ioasidRegisterNotifier(set, listener([], { name: phase, priority, events: ['FREE'], also })));
      return holder;
    });
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidFree(set, id));
    must(ioasidDetachSpid(set, id));
    // Queued clear, drain, stop, the worst of orders; each worker does what it is given.
    for (let round = 0; round < 3; round++) {
      for (const holder of workers) {
        const work = must(ioasidTakeWork(holder));
        if (work === undefined) continue;
        done.push(work.phase);
        must(ioasidFinishWork(work));
      }
    }
    expect(done).toEqual(['stop', 'drain', 'clear']);
    expect(errno(ioasidFind(set, id))).toBe('ENOENT');
  });

  it('A11 there is one lock, and who holds it is told, not hung', () => {
    const core = newCore();
    const set = newSet(core);
    const answers: string[] = [];
    const kvm = listener([], { name: 'kvm', priority: 'cpu', events: ['BIND'] });
    const also = (): void => {
      answers.push(errno(ioasidRegisterNotifier(set, kvm)), errno(ioasidSetFree(set)));
    };
    must(ioasidRegisterNotifier(core, listener([], { name: 'iommu', priority: 'iommu', also })));
    must(ioasidAlloc(set, 1, 7));
    expect(answers).toEqual(['EDEADLK', 'EDEADLK']);
    must(ioasidRegisterNotifier(set, kvm));
    must(ioasidSetFree(set));
  });

  it('A12 unregistering after the set is gone touches nothing that is gone', () => {
    const core = newCore();
    const set = newSet(core);
    const subscription = must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu' })));
    must(ioasidSetFree(set));
    const next = newSet(core);
    const log: string[] = [];
    must(ioasidRegisterNotifier(next, listener(log, { name: 'kvm', priority: 'cpu' })));
    must(ioasidUnregisterNotifier(subscription));
    must(ioasidAlloc(next, 1, 7));
    expect(log).toEqual(['kvm ALLOC 1']);
  });

  it('A13 no function of the core sleeps: none is a generator or returns a promise', async () => {
    const all: Record<string, unknown> = await import('../../src/ioasid/index.js');
    const functions = Object.values(all).filter((each) => typeof each === 'function');
    expect(functions.length).toBeGreaterThan(50);
    for (const each of functions) expect(Object.prototype.toString.call(each)).toBe('[object Function]');
  });

  it('A14 a quota of all there is, is what is there when the set is made', () => {
    const core = newCore();
    const sets = [3, undefined, undefined].map((quota) =>
      must(ioasidSetAlloc(core, quota === undefined ? { type: 'none' } : { type: 'none', quota })),
    );
    expect(sets.map((set) => must(ioasidSetRead(set)).quota)).toEqual([3, 4, 0]);
    expect(ioasidCapacity(core).available).toBe(0);
  });

  it('A15 growing a quota asks for the increase only', () => {
    const core = newCore();
    const set = newSet(core, { quota: 6 });
    expect(ioasidAdjustSet(set, 7)).toBeUndefined();
    expect(must(ioasidSetRead(set)).quota).toBe(7);
  });

  it('A16 a failure on one chain is not overwritten by the other', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const also = (): void => {
      throw new Error('not cleaned up');
    };
    must(
      ioasidRegisterNotifier(
        core,
        listener([], { name: 'iommu', priority: 'iommu', events: ['FREE'], also }),
      ),
    );
    must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'last', events: ['FREE'] })));
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    expect(ioasidFailures(core).first.map((failure) => [failure.of, failure.in, failure.id])).toEqual([
      ['iommu', 'FREE', id],
    ]);
  });

  it('A17 no switch of allocators orphans live ids', () => {
    const core = newCore();
    const set = newSet(core);
    const ops = { name: 'vcmd', alloc: (min: number) => min, free: () => undefined };
    must(ioasidRegisterAllocator(core, ops));
    const id = must(ioasidAlloc(set, 3, 7));
    expect(refused(core, () => ioasidUnregisterAllocator(core, ops))).toBe('EBUSY');
    must(ioasidFree(set, id));
    must(ioasidUnregisterAllocator(core, ops));
    must(ioasidAlloc(set, 1, 7));
    expect(refused(core, () => ioasidRegisterAllocator(core, ops))).toBe('EAGAIN');
    expect(errno(ioasidFind(set, INVALID_IOASID))).toBe('EINVAL');
  });

  it('A18 the token is the address space itself: another of the same name finds nothing', () => {
    const core = newCore();
    const [mm, impostor] = [{ name: 'pid 4711' }, { name: 'pid 4711' }];
    const set = must(ioasidSetAlloc(core, { type: 'mm', token: mm, quota: 1 }));
    expect(ioasidFindMmSet(core, mm)).toBe(set);
    expect(errno(ioasidFindMmSet(core, impostor))).toBe('ENOENT');
  });

  it('A19 one user cannot reserve all there is by opening the allocator again and again', () => {
    const core = newCore({ capacity: 1 << 20 });
    const user = must(ioasidUserAlloc(core, { name: 'mallory', max: 4000 }));
    const opened: IoasidSet[] = [];
    for (let open = 0; open < 1048; open++) {
      const set = ioasidSetAlloc(core, { type: 'none', quota: 1000, user });
      if (errno(set) === 'ok') opened.push(must(set));
    }
    expect(opened.length).toBe(4);
    must(ioasidSetAlloc(core, { type: 'none', quota: 1000 }));
    for (const set of opened) must(ioasidSetFree(set));
    expect(ioasidCapacity(core).available).toBe((1 << 20) - 1 - 1000);
  });
});
