/** The sentences of the design's part "Notifications", each with its test. */
import { describe, expect, it } from 'vitest';
import { Bug } from '../../../src/base/index.js';
import {
  type IoasidEvent,
  type IoasidHolder,
  type IoasidSet,
  ioasidAdjustSet,
  ioasidAlloc,
  ioasidAttachData,
  ioasidAttachSpid,
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
  ioasidInspect,
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
  type NotifierPriority,
  type Phase,
} from '../../../src/ioasid/index.js';
import { checkBooks, errno, listener, must, newCore, newHolder, newSet, refused } from '../kit.js';

describe('two scopes', () => {
  it('the system-wide chain hears all sets, a set’s chain its own', () => {
    const core = newCore();
    const [vm1, vm2] = [newSet(core), newSet(core)];
    const log: string[] = [];
    must(ioasidRegisterNotifier(core, listener(log, { name: 'iommu', priority: 'iommu' })));
    must(ioasidRegisterNotifier(vm1, listener(log, { name: 'kvm1', priority: 'cpu' })));
    must(ioasidAlloc(vm1, 1, 7));
    must(ioasidAlloc(vm2, 1, 7));
    expect(log).toEqual(['kvm1 ALLOC 1', 'iommu ALLOC 1', 'iommu ALLOC 2']);
  });

  it('one announcement per transition', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const log: string[] = [];
    must(ioasidRegisterNotifier(core, listener(log, { name: 'all', priority: 'last' })));
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    must(ioasidFree(set, id));
    must(ioasidDetachSpid(set, id));
    must(ioasidPut(set, id, kvm));
    expect(log).toEqual(['all ALLOC 1', 'all BIND 1/101', 'all FREE 1/101', 'all UNBIND 1/101']);
  });

  it('FREE of an id that nobody uses is announced to nobody', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    must(ioasidRegisterNotifier(core, listener(log, { name: 'all', priority: 'last', events: ['FREE'] })));
    must(ioasidFree(set, must(ioasidAlloc(set, 1, 7))));
    expect(log).toEqual([]);
  });

  it('an event carries the private data and the set', () => {
    const core = newCore();
    const set = newSet(core);
    const seen: IoasidEvent[] = [];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachData(set, id, 42));
    const notify = (event: IoasidEvent): void => {
      seen.push({ ...event });
    };
    must(ioasidRegisterNotifier(set, { name: 'kvm', priority: 'cpu', notify }));
    must(ioasidAttachSpid(set, id, 101));
    expect(seen).toEqual([{ kind: 'BIND', id, spid: 101, set, data: 42 }]);
  });
});

describe('late and early subscribers', () => {
  it('one may register for a token whose set is not there yet, and is put on its chain when it is', () => {
    const core = newCore();
    const [token, other] = [{ name: 'vm1' }, { name: 'vm2' }];
    const log: string[] = [];
    const kvm = listener(log, { name: 'kvm', priority: 'cpu' });
    const subscription = must(ioasidRegisterNotifierMm(core, token, kvm));
    must(ioasidRegisterNotifierMm(core, other, kvm));
    expect(refused(core, () => ioasidRegisterNotifierMm(core, token, kvm))).toBe('EEXIST');
    must(ioasidAlloc(must(ioasidSetAlloc(core, { type: 'none', token, quota: 1 })), 1, 7));
    expect(log).toEqual([]);
    const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }));
    expect(refused(core, () => ioasidRegisterNotifier(set, kvm))).toBe('EEXIST');
    must(ioasidAlloc(set, 1, 7));
    expect(log).toEqual(['kvm ALLOC 2']);
    must(ioasidUnregisterNotifier(subscription));
    must(ioasidFree(set, 2));
    must(ioasidAlloc(set, 1, 7));
    expect(log).toEqual(['kvm ALLOC 2']);
  });

  it('and waits for the next set of that token when that one goes', () => {
    const core = newCore();
    const token = { name: 'vm1' };
    const log: string[] = [];
    must(ioasidRegisterNotifierMm(core, token, listener(log, { name: 'kvm', priority: 'cpu' })));
    for (let life = 0; life < 2; life++) {
      const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }));
      must(ioasidAlloc(set, 1, 7));
      must(ioasidSetFree(set));
    }
    expect(log).toEqual(['kvm ALLOC 1', 'kvm ALLOC 1']);
  });

  it('registering on a set that already has bound ids replays BIND for each to that subscriber alone', () => {
    const core = newCore();
    const [token, log] = [{ name: 'vm1' }, [] as string[]];
    const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 5 }));
    for (let i = 0; i < 4; i++) must(ioasidAlloc(set, 1, 7));
    for (const id of [3, 1, 4]) must(ioasidAttachSpid(set, id, 100 + id));
    must(ioasidFree(set, 4));
    must(ioasidRegisterNotifier(set, listener([], { name: 'old', priority: 'cpu' })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'vdcm', priority: 'device' })));
    must(ioasidRegisterNotifierMm(core, token, listener(log, { name: 'kvm', priority: 'cpu' })));
    must(ioasidRegisterNotifier(set, listener(log, { name: 'deaf', priority: 'cpu', events: ['FREE'] })));
    // Id 4 is being freed: dying is final, and is no news for who has not heard of it.
    expect(log).toEqual(['vdcm BIND 1/101', 'vdcm BIND 3/103', 'kvm BIND 1/101', 'kvm BIND 3/103']);
  });

  it('unregistering works after the set is gone, and once', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = must(ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu' })));
    must(ioasidSetFree(set));
    must(ioasidUnregisterNotifier(kvm));
    expect(refused(core, () => ioasidUnregisterNotifier(kvm))).toBe('ENOENT');
    const again = listener([], { name: 'kvm', priority: 'cpu' });
    expect(refused(core, () => ioasidRegisterNotifier(set, again))).toBe('ENOENT');
  });

  it('who registers with an unknown priority or event is refused', () => {
    const core = newCore();
    const odd = (of: object) => ({ ...listener([], { name: 'odd', priority: 'cpu' }), ...of });
    expect(refused(core, () => ioasidRegisterNotifier(core, odd({ priority: 'gpu' })))).toBe('EINVAL');
    expect(refused(core, () => ioasidRegisterNotifier(core, odd({ events: ['MOVE'] })))).toBe('EINVAL');
  });
});

describe('order of being told', () => {
  const told = (
    order: readonly NotifierPriority[] | undefined,
    registered: readonly NotifierPriority[],
  ): string[] => {
    const core = newCore(order === undefined ? {} : { order });
    const set = newSet(core);
    const log: string[] = [];
    for (const priority of registered) {
      const scope = priority === 'iommu' || priority === 'last' ? core : set;
      must(ioasidRegisterNotifier(scope, listener(log, { name: priority, priority })));
    }
    must(ioasidAlloc(set, 1, 7));
    return log.map((line) => line.split(' ')[0] ?? '');
  };
  const permutations = (list: readonly NotifierPriority[]): NotifierPriority[][] =>
    list.length < 2
      ? [[...list]]
      : list.flatMap((first) =>
          permutations(list.filter((each) => each !== first)).map((rest) => [first, ...rest]),
        );

  it('CPU (KVM) → IOMMU → DEVICE (VDCM), whatever the order of registration, across both chains', () => {
    for (const registered of permutations(['cpu', 'iommu', 'device', 'last'])) {
      expect(told(undefined, registered)).toEqual(['cpu', 'iommu', 'device', 'last']);
    }
  });

  it('it is a parameter', () => {
    for (const order of permutations(['cpu', 'iommu', 'device'])) {
      expect(told(order, ['last', 'device', 'iommu', 'cpu'])).toEqual([...order, 'last']);
    }
  });

  it('among equals, the order of registration', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    const names = ['a', 'b', 'c', 'd'];
    names.forEach((name, at) => {
      must(ioasidRegisterNotifier(at % 2 === 0 ? core : set, listener(log, { name, priority: 'device' })));
    });
    must(ioasidAlloc(set, 1, 7));
    expect(log.map((line) => line[0])).toEqual(names);
  });
});

describe('being told is not being done: phases', () => {
  const PHASES: readonly Phase[] = ['stop', 'drain', 'clear'];

  function machine() {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm, iommu] = ['kvm', 'vdcm', 'iommu'].map((name) => newHolder(core, name)) as [
      IoasidHolder,
      IoasidHolder,
      IoasidHolder,
    ];
    const id = must(ioasidAlloc(set, 1, 7));
    const phase = (): string => must(ioasidInspect(core, id)).phase;
    const queue = (holder: IoasidHolder, of: Phase): void => {
      must(ioasidQueueWork(set, id, { holder, phase: of }));
    };
    const take = (holder: IoasidHolder) => must(ioasidTakeWork(holder));
    return { core, set, kvm, vdcm, iommu, id, phase, queue, take };
  }

  /** On FREE the handlers queue in the order of being told; here the IOMMU's clear comes before the device's drain. */
  function freed() {
    const all = machine();
    const { core, set, kvm, vdcm, iommu, id } = all;
    const work = [
      ['cpu', kvm, 'stop'],
      ['iommu', iommu, 'clear'],
      ['device', vdcm, 'drain'],
    ] as const;
    for (const [priority, holder, phase] of work) {
      const also = ({ set: of, id: it }: IoasidEvent): void => {
        must(ioasidQueueWork(of as IoasidSet, it, { holder, phase }));
      };
      must(
        ioasidRegisterNotifier(core, listener([], { name: holder.name, priority, events: ['FREE'], also })),
      );
    }
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    must(ioasidPut(set, id, kvm));
    return all;
  }

  it('stop → drain → clear → reclaim: for one id a phase starts when the one before has finished', () => {
    const { core, kvm, vdcm, iommu, id, phase, take } = freed();
    expect(phase()).toBe('stop');
    expect([take(vdcm), take(iommu)]).toEqual([undefined, undefined]);
    const stop = take(kvm);
    expect(stop).toMatchObject({ id, phase: 'stop' });
    expect([take(kvm), take(vdcm), take(iommu)]).toEqual([undefined, undefined, undefined]);
    if (stop !== undefined) expect(ioasidFinishWork(stop)).toBe(false);
    expect(phase()).toBe('drain');
    expect(take(iommu)).toBeUndefined();
    const drain = take(vdcm);
    if (drain !== undefined) must(ioasidFinishWork(drain));
    expect(phase()).toBe('clear');
    const clear = take(iommu);
    if (clear !== undefined) expect(ioasidFinishWork(clear)).toBe(true);
    expect(errno(ioasidInspect(core, id))).toBe('ENOENT');
    checkBooks(core);
  });

  it('items of one phase may run beside each other, and all must finish', () => {
    const { kvm, vdcm, iommu, phase, queue, take } = machine();
    queue(kvm, 'stop');
    queue(vdcm, 'stop');
    queue(iommu, 'drain');
    const [one, two] = [take(kvm), take(vdcm)];
    if (two !== undefined) must(ioasidFinishWork(two));
    expect(phase()).toBe('stop');
    expect(take(iommu)).toBeUndefined();
    if (one !== undefined) must(ioasidFinishWork(one));
    expect(phase()).toBe('drain');
  });

  it('what an UNBIND queues in the stop phase belongs to the same tear-down', () => {
    const { core, set, kvm, iommu, id, queue, take } = machine();
    must(ioasidAttachSpid(set, id, 101));
    const also = ({ id: it }: IoasidEvent): void => {
      must(ioasidQueueWork(set, it, { holder: kvm, phase: 'stop' }));
    };
    must(
      ioasidRegisterNotifier(set, listener([], { name: 'kvm', priority: 'cpu', events: ['UNBIND'], also })),
    );
    queue(iommu, 'stop');
    queue(iommu, 'clear');
    const detach = take(iommu);
    must(ioasidDetachSpid(set, id));
    if (detach !== undefined) must(ioasidFinishWork(detach));
    expect(must(ioasidInspect(core, id)).phase).toBe('stop');
    expect(take(iommu)).toBeUndefined();
    const stop = take(kvm);
    if (stop !== undefined) must(ioasidFinishWork(stop));
    expect(take(iommu)).toMatchObject({ phase: 'clear' });
  });

  it('an announcement past the stop phase begins a tear-down of its own, after the present one', () => {
    const { core, set, kvm, vdcm, iommu, id, queue, take } = machine();
    for (const [holder, of] of [
      [kvm, 'stop'],
      [iommu, 'clear'],
    ] as const) {
      const also = ({ id: it }: IoasidEvent): void => {
        must(ioasidQueueWork(set, it, { holder, phase: of }));
      };
      must(
        ioasidRegisterNotifier(
          set,
          listener([], { name: holder.name, priority: 'cpu', events: ['FREE'], also }),
        ),
      );
    }
    queue(vdcm, 'drain');
    const drain = take(vdcm);
    must(ioasidFree(set, id));
    expect(must(ioasidInspect(core, id)).work.map(({ status }) => status)).toEqual([
      'running',
      'waits for the next round',
      'waits for the next round',
    ]);
    expect([take(kvm), take(iommu)]).toEqual([undefined, undefined]);
    if (drain !== undefined) must(ioasidFinishWork(drain));
    expect(take(iommu)).toBeUndefined();
    const stop = take(kvm);
    if (stop !== undefined) must(ioasidFinishWork(stop));
    const clear = take(iommu);
    if (clear !== undefined) expect(ioasidFinishWork(clear)).toBe(true);
  });

  it('work is finished once, by whoever took it, and keeps its cookie', () => {
    const { set, kvm, id, queue, take } = machine();
    must(ioasidQueueWork(set, id, { holder: kvm, phase: 'clear', cookie: -7 }));
    const work = take(kvm);
    if (work === undefined) throw new Error('there is work');
    expect(work.cookie).toBe(-7);
    must(ioasidFinishWork(work));
    queue(kvm, 'clear');
    const next = take(kvm);
    expect(refused(set.core, () => ioasidFinishWork(work))).toBe('EINVAL');
    if (next !== undefined) must(ioasidFinishWork(next));
    const odd = 'flush' as Phase;
    expect(refused(set.core, () => ioasidQueueWork(set, id, { holder: kvm, phase: odd }))).toBe('EINVAL');
  });

  it('work of the same phase is handed out in the order of being queued', () => {
    const { set, kvm, id, take } = machine();
    for (const phase of [...PHASES].reverse()) {
      for (const cookie of [1, 2]) must(ioasidQueueWork(set, id, { holder: kvm, phase, cookie }));
    }
    const order: string[] = [];
    for (let work = take(kvm); work !== undefined; work = take(kvm)) {
      order.push(`${work.phase} ${work.cookie}`);
      must(ioasidFinishWork(work));
    }
    expect(order).toEqual(['clear 1', 'clear 2', 'stop 1', 'stop 2', 'drain 1', 'drain 2']);
  });
});

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
});
