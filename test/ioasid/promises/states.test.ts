/** The sentences of the design's part "States", each with its test. */
import { describe, expect, it } from 'vitest';
import {
  type IoasidHolder,
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidCapacity,
  ioasidDetachSpid,
  ioasidFind,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidFree,
  ioasidGet,
  ioasidHeldBy,
  ioasidHolderFree,
  ioasidInspect,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidReports,
  ioasidTable,
  ioasidTakeWork,
} from '../../../src/ioasid/index.js';
import { checkBooks, errno, listener, must, newCore, newHolder, newSet, refused, why } from '../kit.js';

const stateOf = (set: IoasidSet, id: number): string => {
  const report = ioasidInspect(set.core, id);
  return errno(report) === 'ok' ? must(report).state : 'FREE';
};

describe('FREE → IDLE → ACTIVE → FREE_PENDING → FREE', () => {
  it('allocated without a user is IDLE; a reference, a binding or work makes it ACTIVE', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    expect(stateOf(set, id)).toBe('IDLE');
    must(ioasidGet(set, id, kvm));
    expect(stateOf(set, id)).toBe('ACTIVE');
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidPut(set, id, kvm));
    expect(stateOf(set, id)).toBe('ACTIVE');
    must(ioasidDetachSpid(set, id));
    expect(stateOf(set, id)).toBe('IDLE');
    must(ioasidQueueWork(set, id, { holder: kvm, phase: 'drain' }));
    expect(stateOf(set, id)).toBe('ACTIVE');
    const work = must(ioasidTakeWork(kvm));
    expect(work).toMatchObject({ id, phase: 'drain', set, spid: undefined, cookie: 0 });
    if (work !== undefined) expect(ioasidFinishWork(work)).toBe(false);
    expect(stateOf(set, id)).toBe('IDLE');
    expect(ioasidFree(set, id)).toBe(true);
    expect(stateOf(set, id)).toBe('FREE');
  });

  it('`get` and lookup-with-reference on FREE_PENDING are EBUSY; lookup without is not', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    expect(ioasidFree(set, id)).toBe(false);
    expect(stateOf(set, id)).toBe('FREE_PENDING');
    expect(refused(core, () => ioasidGet(set, id, kvm))).toBe('EBUSY');
    expect(refused(core, () => ioasidFindBySpid(set, 101, kvm))).toBe('EBUSY');
    expect(ioasidFind(set, id)).toBe(0);
    expect(ioasidFindBySpid(set, 101)).toBe(id);
  });

  it('`free` twice is not an error and notifies once', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    must(ioasidRegisterNotifier(core, listener(log, { name: 'iommu', priority: 'iommu', events: ['FREE'] })));
    const kvm = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, kvm));
    for (let i = 0; i < 3; i++) expect(ioasidFree(set, id)).toBe(false);
    expect(log).toEqual([`iommu FREE ${id}`]);
    expect(ioasidPut(set, id, kvm)).toBe(true);
    expect(refused(core, () => ioasidFree(set, id))).toBe('ENOENT');
  });

  it('`put` of the last reference reclaims', () => {
    const core = newCore();
    const set = newSet(core);
    const names = ['kvm', 'vdcm', 'iommu', 'vfio'];
    const holders = names.map((name) => newHolder(core, name));
    const id = must(ioasidAlloc(set, 1, 7));
    for (const holder of [...holders, ...holders]) must(ioasidGet(set, id, holder));
    must(ioasidFree(set, id));
    for (const holder of holders) expect(ioasidPut(set, id, holder)).toBe(false);
    // The list of holders, from its end, its middle and its beginning.
    for (const at of [0, 2, 1]) expect(ioasidPut(set, id, holders[at] as IoasidHolder)).toBe(false);
    expect(must(ioasidInspect(core, id)).holders.map(({ holder }) => holder)).toEqual(['vfio']);
    expect(stateOf(set, id)).toBe('FREE_PENDING');
    expect(ioasidPut(set, id, holders[3] as IoasidHolder)).toBe(true);
    expect(stateOf(set, id)).toBe('FREE');
  });
});

describe('a reference is held in the name of a user', () => {
  it('`put` by who holds none is EINVAL', () => {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, kvm));
    expect(refused(core, () => ioasidPut(set, id, vdcm))).toBe('EINVAL');
    must(ioasidPut(set, id, kvm));
    expect(refused(core, () => ioasidPut(set, id, kvm))).toBe('EINVAL');
  });

  it('a holder that holds is not forgotten; a forgotten one holds nothing', () => {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, kvm));
    must(ioasidQueueWork(set, id, { holder: vdcm, phase: 'drain' }));
    for (const holder of [kvm, vdcm]) expect(refused(core, () => ioasidHolderFree(holder))).toBe('EBUSY');
    must(ioasidPut(set, id, kvm));
    must(ioasidHolderFree(kvm));
    for (const call of [
      () => ioasidGet(set, id, kvm),
      () => ioasidPut(set, id, kvm),
      () => ioasidQueueWork(set, id, { holder: kvm, phase: 'stop' }),
      () => ioasidTakeWork(kvm),
      () => ioasidHolderFree(kvm),
      () => ioasidHeldBy(kvm),
    ]) {
      expect(refused(core, call)).toBe('ENOENT');
    }
  });

  it('the core holds its own while it announces, so that a put cannot pull the id from under the next', () => {
    const core = newCore();
    const set = newSet(core);
    const [kvm, vdcm] = [newHolder(core, 'kvm'), newHolder(core, 'vdcm')];
    const log: string[] = [];
    const puts = (name: string, holder: IoasidHolder) =>
      listener(log, {
        name,
        priority: 'cpu',
        events: ['FREE'],
        also: ({ id, set: of }) => {
          log.push(
            `${name} put ${of === undefined ? 'nothing' : must(ioasidPut(of, id, holder))} ${stateOf(set, id)}`,
          );
        },
      });
    must(ioasidRegisterNotifier(set, puts('kvm', kvm)));
    must(ioasidRegisterNotifier(set, puts('vdcm', vdcm)));
    must(ioasidRegisterNotifier(core, listener(log, { name: 'last', priority: 'last', events: ['FREE'] })));
    const id = must(ioasidAlloc(set, 1, 7));
    for (const holder of [kvm, vdcm]) must(ioasidGet(set, id, holder));
    expect(ioasidFree(set, id)).toBe(true);
    expect(log).toEqual([
      'kvm FREE 1',
      'kvm put false FREE_PENDING',
      'vdcm FREE 1',
      'vdcm put false FREE_PENDING',
      'last FREE 1',
    ]);
  });
});

describe('what holds an id can be asked', () => {
  it('who, since which step, in which phase, what it waits for; as a table', () => {
    let step = 10;
    const core = newCore({ capacity: 1024, step: () => step++ });
    const set = newSet(core, { type: 'mm', token: { name: 'vm1' } });
    const [kvm, vdcm, iommu] = ['kvm:vm1', 'vdcm:vdev0', 'iommu0'].map((name) => newHolder(core, name)) as [
      IoasidHolder,
      IoasidHolder,
      IoasidHolder,
    ];
    const id = must(ioasidAlloc(set, 201, 201));
    must(ioasidAttachSpid(set, id, 101));
    for (const holder of [kvm, vdcm, vdcm]) must(ioasidGet(set, id, holder));
    must(ioasidAlloc(set, 1, 7));
    must(ioasidFree(set, id));
    must(ioasidQueueWork(set, id, { holder: iommu, phase: 'clear' }));
    must(ioasidQueueWork(set, id, { holder: vdcm, phase: 'drain', cookie: 7 }));
    const report = must(ioasidInspect(core, id));
    expect(report).toMatchObject({ state: 'FREE_PENDING', spid: 101, bound: 1, phase: 'clear', since: 15 });
    expect(report.holders).toEqual([
      { holder: 'vdcm:vdev0', count: 2, since: 13 },
      { holder: 'kvm:vm1', count: 1, since: 12 },
    ]);
    expect(report.waitsFor).toEqual([
      'iommu0 to clear (ready, since step 16)',
      'vdcm:vdev0 to drain (waits for the next round, since step 17)',
      'SPID 101 to be detached (1 device)',
      'vdcm:vdev0 to put 2 references (since step 13)',
      'kvm:vm1 to put 1 reference (since step 12)',
    ]);
    expect(ioasidTable(ioasidReports(core, set))).toBe(
      [
        'ID   SET          SPID  STATE         SINCE  PHASE  HELD BY                 WAITS FOR',
        '1    set 1 (vm1)  -     IDLE          14     none   -                       -',
        `201  set 1 (vm1)  101   FREE_PENDING  15     clear  vdcm:vdev0 x2, kvm:vm1  ${report.waitsFor[0]}`,
        ...report.waitsFor.slice(1).map((each) => `${' '.repeat(76)}${each}`),
        '',
      ].join('\n'),
    );
    expect(must(ioasidHeldBy(iommu)).map((each) => each.id)).toEqual([id]);
    expect(must(ioasidHeldBy(kvm)).map((each) => each.id)).toEqual([id]);
    expect(ioasidHeldBy(newHolder(core, 'vdcm:vdev1'))).toEqual([]);
    expect(why(ioasidInspect(core, 5))).toBe('IOASID 5 is free');
    expect(errno(ioasidInspect(core, -5))).toBe('EINVAL');
  });

  it('a name that would break a line of the table, or steer the terminal, is shown as codes', () => {
    const core = newCore();
    const set = newSet(core, { token: { name: 'vm\n1' } });
    must(ioasidGet(set, must(ioasidAlloc(set, 1, 7)), newHolder(core, '\u001b[2J\u009b')));
    expect(ioasidTable(ioasidReports(core))).toBe(
      [
        'ID  SET              SPID  STATE   SINCE  PHASE  HELD BY      WAITS FOR',
        '1   set 1 (vm\\x0a1)  -     ACTIVE  2      none   \\x1b[2J\\x9b  -',
        '',
      ].join('\n'),
    );
  });

  it('in phase reclaim, only references and bindings are left to wait for', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    expect(must(ioasidInspect(core, id))).toMatchObject({
      phase: 'reclaim',
      waitsFor: ['kvm to put 1 reference (since step 1)'],
    });
  });
});

describe('the four lives end alike', () => {
  const lives: Record<string, readonly ('bind' | 'dma' | 'unbind')[]> = {
    'alloc → free': [],
    'alloc → bind → DMA → unbind → free': ['bind', 'dma', 'unbind'],
    'alloc → bind → free': ['bind'],
    'alloc → bind → DMA → free': ['bind', 'dma'],
  };
  for (const [name, steps] of Object.entries(lives)) {
    it(name, () => {
      const core = newCore();
      const set = newSet(core);
      const [vdcm, iommu] = [newHolder(core, 'vdcm'), newHolder(core, 'iommu')];
      // The IOMMU driver hears FREE system-wide, and detaches from deferred work, which makes UNBIND; the device
      // lets go when it hears that, from work of its own.
      const log: string[] = [];
      const queue =
        (holder: IoasidHolder, phase: 'stop' | 'drain') =>
        (event: { set: IoasidSet | undefined; id: number }) => {
          if (event.set !== undefined) must(ioasidQueueWork(event.set, event.id, { holder, phase }));
        };
      must(
        ioasidRegisterNotifier(
          core,
          listener(log, { name: 'iommu', priority: 'iommu', events: ['FREE'], also: queue(iommu, 'stop') }),
        ),
      );
      must(
        ioasidRegisterNotifier(
          set,
          listener(log, { name: 'vdcm', priority: 'device', events: ['UNBIND'], also: queue(vdcm, 'drain') }),
        ),
      );
      const id = must(ioasidAlloc(set, 1, 7));
      let dma = false;
      const unbind = (): void => {
        must(ioasidDetachSpid(set, id));
      };
      const work = (): void => {
        for (const holder of [iommu, vdcm, iommu, vdcm]) {
          const item = must(ioasidTakeWork(holder));
          if (item === undefined) continue;
          if (item.phase === 'stop' && item.spid !== undefined) unbind();
          if (item.phase === 'drain' && dma) must(ioasidPut(set, id, vdcm));
          must(ioasidFinishWork(item));
        }
      };
      for (const step of steps) {
        if (step === 'bind') must(ioasidAttachSpid(set, id, 101));
        if (step === 'dma') must(ioasidGet(set, id, vdcm));
        if (step === 'unbind') unbind();
        dma ||= step === 'dma';
        if (step === 'unbind') work();
      }
      must(ioasidFree(set, id));
      work();
      expect(stateOf(set, id)).toBe('FREE');
      expect(ioasidCapacity(core).live).toBe(0);
      expect(log.filter((line) => line.includes('UNBIND')).length).toBe(steps.length === 0 ? 0 : 1);
      for (const holder of [vdcm, iommu]) must(ioasidHolderFree(holder));
      checkBooks(core);
    });
  }
});
