/** The sentences of the design's part "Notifications" on handlers, each with its test. */
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Bug } from '../../../src/base/index.js';
import {
  type IoasidEvent,
  type IoasidNotifier,
  ioasidAdjustSet,
  ioasidAlloc,
  ioasidAttachData,
  ioasidAttachSpid,
  ioasidCapacity,
  ioasidControllerAlloc,
  ioasidControllerFree,
  ioasidControllerSetMax,
  ioasidDetachData,
  ioasidDetachSpid,
  ioasidFailures,
  ioasidFind,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidFree,
  ioasidFreeAllInSet,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidMoveSet,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterAllocator,
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidTakeWork,
  ioasidUnregisterAllocator,
  ioasidUnregisterNotifier,
  ioasidUserAlloc,
  ioasidUserFree,
  ioasidUserSetMax,
} from '../../../src/ioasid/index.js';
import { checkBooks, errno, listener, must, newCore, newHolder, newSet } from '../kit.js';

describe('a handler runs atomically', () => {
  it('may look, get, put and queue work; all else is EDEADLK, and nothing changes', () => {
    const core = newCore({ capacity: 16 });
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const controller = must(ioasidControllerAlloc(core, { name: 'vms' }));
    const user = must(ioasidUserAlloc(core, { name: 'alice', max: 1 }));
    const idle = listener([], { name: 'idle', priority: 'last' });
    const subscription = must(ioasidRegisterNotifier(core, idle));
    const ops = { name: 'vcmd', alloc: () => 1, free: () => undefined };
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidQueueWork(set, id, { holder: kvm, phase: 'stop' }));
    const work = must(ioasidTakeWork(kvm));
    if (work === undefined) throw new Error('there is work');
    const forbidden: Record<string, () => unknown> = {
      alloc: () => ioasidAlloc(set, 1, 7),
      free: () => ioasidFree(set, id),
      freeAll: () => ioasidFreeAllInSet(set),
      attach: () => ioasidAttachSpid(set, id, 102),
      detach: () => ioasidDetachSpid(set, id),
      attachData: () => ioasidAttachData(set, id, 1),
      detachData: () => ioasidDetachData(set, id),
      setAlloc: () => ioasidSetAlloc(core, { type: 'none', quota: 1 }),
      setFree: () => ioasidSetFree(set),
      adjust: () => ioasidAdjustSet(set, 4),
      register: () => ioasidRegisterNotifier(core, { ...idle }),
      registerOnSet: () => ioasidRegisterNotifier(set, { ...idle }),
      registerMm: () => ioasidRegisterNotifierMm(core, { name: 'vm' }, idle),
      unregister: () => ioasidUnregisterNotifier(subscription),
      registerAllocator: () => ioasidRegisterAllocator(core, ops),
      unregisterAllocator: () => ioasidUnregisterAllocator(core, ops),
      controller: () => ioasidControllerAlloc(core, { name: 'more' }),
      controllerMax: () => ioasidControllerSetMax(controller, 1),
      controllerFree: () => ioasidControllerFree(controller),
      move: () => ioasidMoveSet(set, controller),
      user: () => ioasidUserAlloc(core, { name: 'bob', max: 1 }),
      userMax: () => ioasidUserSetMax(user, 2),
      userFree: () => ioasidUserFree(user),
      holder: () => ioasidHolderAlloc(core, 'more'),
      holderFree: () => ioasidHolderFree(vdcm),
      take: () => ioasidTakeWork(kvm),
      finish: () => ioasidFinishWork(work),
    };
    const answers: Record<string, string> = {};
    const also = (): void => {
      for (const [name, call] of Object.entries(forbidden)) answers[name] = errno(call());
      answers['get'] = errno(ioasidGet(set, id, vdcm));
      answers['put'] = errno(ioasidPut(set, id, vdcm));
      answers['find'] = errno(ioasidFind(set, id));
      answers['findBySpid'] = errno(ioasidFindBySpid(set, 101));
      answers['queue'] = errno(ioasidQueueWork(set, id, { holder: vdcm, phase: 'stop' }));
    };
    must(ioasidFinishWork(work));
    must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu', events: ['BIND'], also })));
    must(ioasidAttachSpid(set, id, 101));
    const allowed = { get: 'ok', put: 'ok', find: 'ok', findBySpid: 'ok', queue: 'ok' };
    const expected = Object.fromEntries(Object.keys(forbidden).map((name) => [name, 'EDEADLK']));
    expect(answers).toEqual({ ...expected, ...allowed });
    checkBooks(core);
  });

  it('an allocator may not even get and put', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const answers: string[] = [];
    const ops = {
      name: 'vcmd',
      alloc: (min: number) => {
        answers.push(
          errno(ioasidGet(set, 1, kvm)),
          errno(ioasidPut(set, 1, kvm)),
          errno(ioasidAlloc(set, 1, 7)),
        );
        answers.push(errno(ioasidQueueWork(set, 1, { holder: kvm, phase: 'stop' })));
        return min;
      },
      free: () => {
        answers.push(errno(ioasidFree(set, 1)));
      },
    };
    must(ioasidRegisterAllocator(core, ops));
    must(ioasidFree(set, must(ioasidAlloc(set, 1, 7))));
    expect(answers).toEqual(['EDEADLK', 'EDEADLK', 'EDEADLK', 'EDEADLK', 'EDEADLK']);
  });

  it('an allocator whose `free` throws is reported, and the id is reclaimed', () => {
    const core = newCore();
    const set = newSet(core);
    const free = (): void => {
      throw new Error('VCRSP says no');
    };
    must(ioasidRegisterAllocator(core, { name: 'vcmd', alloc: (min) => min, free }));
    expect(ioasidFree(set, must(ioasidAlloc(set, 4, 7)))).toBe(true);
    expect(ioasidFailures(core).first).toMatchObject([{ of: 'vcmd', in: 'free', id: 4 }]);
    expect(ioasidAlloc(set, 4, 7)).toBe(4);
    checkBooks(core);
  });

  it('one that throws does not keep the others from hearing, and is reported', () => {
    const reported: string[] = [];
    const core = newCore({ report: (failure) => reported.push(`${failure.of} ${failure.in} ${failure.id}`) });
    const set = newSet(core);
    const log: string[] = [];
    const also = (): void => {
      throw new Error('no room');
    };
    must(ioasidRegisterNotifier(core, listener(log, { name: 'iommu', priority: 'iommu', also })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu', also })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'vdcm', priority: 'device' })));
    expect(ioasidAlloc(set, 1, 7)).toBe(1);
    expect(log).toEqual(['kvm ALLOC 1', 'iommu ALLOC 1', 'vdcm ALLOC 1']);
    expect(reported).toEqual(['kvm ALLOC 1', 'iommu ALLOC 1']);
    const { count, first } = ioasidFailures(core);
    expect(count).toBe(2);
    expect(first.map((failure) => [failure.of, String(failure.error)])).toEqual([
      ['kvm', 'Error: no room'],
      ['iommu', 'Error: no room'],
    ]);
    for (let i = 0; i < 40; i++) ioasidFree(set, must(ioasidAlloc(set, 1, 7)));
    expect(ioasidFailures(core).count).toBe(82);
    expect(ioasidFailures(core).first.length).toBe(64);
  });

  it('a broken invariant that a handler finds ends the run, after the others have heard', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    const also = (): void => {
      throw new Bug('a handler of ours');
    };
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu', also })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'vdcm', priority: 'device' })));
    expect(() => ioasidAlloc(set, 1, 7)).toThrow('a handler of ours');
    expect(log).toEqual(['kvm ALLOC 1', 'vdcm ALLOC 1']);
    checkBooks(core);
  });

  it('an event cannot be changed for those who hear it next', () => {
    expectTypeOf<IoasidEvent>().toEqualTypeOf<Readonly<IoasidEvent>>();
  });
});

describe('whoever made the core is called under its lock', () => {
  it('a replay that went another way in a handler is not taken for the handler’s failure', () => {
    const mismatch = new Error('the recorded run was not asked that');
    const choose = (_n: number, what: string): number => {
      if (what === 'ioasid: reference') throw mismatch;
      return 0;
    };
    const core = newCore({ faults: { choose } });
    const [set, kvm] = [newSet(core), newHolder(core, 'kvm')];
    const log: string[] = [];
    for (const name of ['swallows', 'passes on']) {
      const also: IoasidNotifier['notify'] = ({ id }) => {
        try {
          ioasidGet(set, id, kvm);
        } catch (error) {
          if (name === 'passes on') throw error;
        }
      };
      must(ioasidRegisterNotifier(set, listener(log, { name, priority: 'cpu', also })));
    }
    core.mark();
    expect(() => ioasidAlloc(set, 1, 7)).toThrow(mismatch);
    expect(log).toEqual(['swallows ALLOC 1', 'passes on ALLOC 1']);
    expect(ioasidFailures(core).count).toBe(0);
    core.restore();
    expect(ioasidCapacity(core).live).toBe(0);
  });

  it('a report that throws keeps nobody from hearing, and the lock is free after it', () => {
    const report = (): void => {
      throw new Error('the disk is full');
    };
    const core = newCore({ report });
    const set = newSet(core);
    const log: string[] = [];
    const also = (): void => {
      throw new Error('no room');
    };
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu', also })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'vdcm', priority: 'device' })));
    expect(() => ioasidAlloc(set, 1, 7)).toThrow('the disk is full');
    expect(log).toEqual(['kvm ALLOC 1', 'vdcm ALLOC 1']);
    expect(ioasidFree(set, 1)).toBe(true);
    checkBooks(core);
  });

  it('the trace, the faults and the report may look, and no more', () => {
    const answers: string[] = [];
    let probe = (): unknown => undefined;
    const asks = (who: string) => (): number => answers.push(`${who} ${errno(probe())}`) * 0;
    const report = asks('report');
    const core = newCore({ trace: asks('trace'), faults: { choose: asks('faults') }, report });
    const set = newSet(core);
    const also = (): void => {
      throw new Error('no room');
    };
    must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu', also })));
    answers.length = 0;
    probe = () => ioasidFree(set, 1);
    must(ioasidAlloc(set, 1, 7));
    expect(answers).toEqual(['faults EDEADLK', 'trace EDEADLK', 'trace EDEADLK', 'report EDEADLK']);
    checkBooks(core);
  });
});
