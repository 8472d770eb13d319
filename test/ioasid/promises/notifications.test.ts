/** The sentences of the design's part "Notifications" on scopes, subscribers and order, each with its test. */
import { describe, expect, it } from 'vitest';
import {
  type IoasidEvent,
  type IoasidNotifier,
  ioasidAlloc,
  ioasidAttachData,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFree,
  ioasidGet,
  ioasidInspect,
  ioasidPut,
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidStrayNotifiers,
  ioasidUnregisterNotifier,
  type NotifierPriority,
} from '../../../src/ioasid/index.js';
import { listener, must, newCore, newHolder, newSet, refused } from '../kit.js';

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

  it('an event names no SPID of a binding that ended unheard', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidDetachSpid(set, id));
    must(ioasidRegisterNotifier(core, listener(log, { name: 'all', priority: 'last' })));
    must(ioasidAlloc(set, 1, 7));
    expect(log).toEqual(['all ALLOC 2']);
  });

  it('what a handler sees of the id is what is announced: in use from BIND to UNBIND', () => {
    const core = newCore();
    const set = newSet(core);
    const seen: string[] = [];
    const also: IoasidNotifier['notify'] = ({ kind, id }) => {
      seen.push(`${kind} ${must(ioasidInspect(core, id)).state}`);
    };
    must(ioasidRegisterNotifier(core, listener([], { name: 'all', priority: 'last', also })));
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidDetachSpid(set, id));
    expect(must(ioasidInspect(core, id)).state).toBe('IDLE');
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidFree(set, id));
    must(ioasidDetachSpid(set, id));
    expect(seen).toEqual([
      'ALLOC IDLE',
      'BIND ACTIVE',
      'UNBIND ACTIVE',
      'BIND ACTIVE',
      'FREE FREE_PENDING',
      'UNBIND FREE_PENDING',
    ]);
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
    // It is meant to.
    expect(ioasidStrayNotifiers(core)).toEqual([]);
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
    expect(ioasidStrayNotifiers(core)).toEqual([]);
    must(ioasidSetFree(set));
    expect(ioasidStrayNotifiers(core)).toEqual(['kvm']);
    must(ioasidUnregisterNotifier(kvm));
    expect(ioasidStrayNotifiers(core)).toEqual([]);
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
