/** The sentences of the design's part "Notifications" on deferred work, each with its test. */
import { describe, expect, it } from 'vitest';
import {
  type IoasidEvent,
  type IoasidHolder,
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFailures,
  ioasidFinishWork,
  ioasidFree,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidInspect,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidTakeWork,
  type Phase,
} from '../../../src/ioasid/index.js';
import { checkBooks, errno, listener, must, newCore, newHolder, newSet, refused } from '../kit.js';

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

  it('what comes too late for its phase comes in the next round, and so does all that is queued after it', () => {
    const { core, set, kvm, vdcm, iommu, id, queue, take } = machine();
    queue(iommu, 'clear');
    const first = take(iommu);
    queue(kvm, 'stop');
    queue(vdcm, 'drain');
    queue(vdcm, 'clear');
    queue(iommu, 'clear');
    expect([take(kvm), take(vdcm), take(iommu)]).toEqual([undefined, undefined, undefined]);
    if (first !== undefined) must(ioasidFinishWork(first));
    const done: string[] = [];
    for (const holder of [kvm, vdcm, vdcm, iommu]) {
      const work = take(holder);
      done.push(String(work?.phase));
      if (work !== undefined) must(ioasidFinishWork(work));
    }
    expect(done).toEqual(['stop', 'drain', 'clear', 'clear']);
    expect(must(ioasidInspect(core, id)).work).toEqual([]);
    expect(errno(ioasidFree(set, id))).toBe('ok');
  });

  it('a worker is woken when its work is ready, not before', () => {
    const { core, set, kvm, id, queue, take } = machine();
    const woken: string[] = [];
    const vdcm = must(
      ioasidHolderAlloc(core, 'vdcm', () => {
        woken.push(errno(ioasidPut(set, id, kvm)), errno(ioasidInspect(core, id)));
        throw new Error('no worker');
      }),
    );
    queue(kvm, 'stop');
    queue(vdcm, 'drain');
    expect(woken).toEqual([]);
    const stop = take(kvm);
    if (stop !== undefined) must(ioasidFinishWork(stop));
    expect(woken).toEqual(['EDEADLK', 'ok']);
    expect(take(vdcm)).toMatchObject({ phase: 'drain' });
    expect(ioasidFailures(core).first).toMatchObject([{ of: 'vdcm', in: 'wake', id }]);
    checkBooks(core);
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
    for (const odd of ['flush', 'none', 'constructor'].map((name) => name as Phase)) {
      expect(refused(set.core, () => ioasidQueueWork(set, id, { holder: kvm, phase: odd }))).toBe('EINVAL');
    }
    const cookie = 2 ** 31;
    expect(refused(set.core, () => ioasidQueueWork(set, id, { holder: kvm, phase: 'stop', cookie }))).toBe(
      'EINVAL',
    );
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
