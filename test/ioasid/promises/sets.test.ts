/** The sentences of the design's part "Sets", each with its test. */
import { describe, expect, it } from 'vitest';
import {
  type IoasidSet,
  ioasidAdjustSet,
  ioasidAlloc,
  ioasidAttachData,
  ioasidAttachSpid,
  ioasidCapacity,
  ioasidControllerAlloc,
  ioasidControllerFree,
  ioasidControllerRead,
  ioasidControllerSetMax,
  ioasidDetachData,
  ioasidDetachSpid,
  ioasidFind,
  ioasidFindMmSet,
  ioasidFindSet,
  ioasidFindSetByToken,
  ioasidFree,
  ioasidFreeAllInSet,
  ioasidGet,
  ioasidMoveSet,
  ioasidPut,
  ioasidQueueWork,
  ioasidSetAlloc,
  ioasidSetForEach,
  ioasidSetFree,
  ioasidSetRead,
  ioasidSets,
  ioasidSpidOf,
  ioasidUserAlloc,
  ioasidUserFree,
  ioasidUserRead,
  ioasidUserSetMax,
} from '../../../src/ioasid/index.js';
import { checkBooks, errno, must, newCore, newHolder, newSet, refused, why } from '../kit.js';

describe('an ioasid_set is a partition of the space with an owner', () => {
  it('token types `none` and `mm`; a token is unique in its type', () => {
    const core = newCore();
    const token = { name: 'vm1' };
    const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }));
    expect(refused(core, () => ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }))).toBe('EEXIST');
    const other = must(ioasidSetAlloc(core, { type: 'none', token, quota: 1 }));
    must(ioasidSetAlloc(core, { type: 'none', quota: 1 }));
    must(ioasidSetAlloc(core, { type: 'none', quota: 1 }));
    expect(ioasidFindMmSet(core, token)).toBe(set);
    expect(ioasidFindSetByToken(core, 'none', token)).toBe(other);
    expect(refused(core, () => ioasidSetAlloc(core, { type: 'mm', quota: 1 }))).toBe('EINVAL');
    expect(refused(core, () => ioasidSetAlloc(core, { type: 'pid' as 'mm', token, quota: 1 }))).toBe(
      'EINVAL',
    );
  });

  it('another set’s id is EACCES, and nothing changes, for every call that names a set', () => {
    const core = newCore();
    const [mine, theirs] = [newSet(core), newSet(core)];
    const holder = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(theirs, 1, 7));
    must(ioasidGet(theirs, id, holder));
    must(ioasidAttachSpid(theirs, id, 101));
    const calls: ((set: IoasidSet, id: number) => unknown)[] = [
      ioasidFree,
      ioasidFind,
      ioasidDetachSpid,
      ioasidSpidOf,
      ioasidDetachData,
      (set, it) => ioasidGet(set, it, holder),
      (set, it) => ioasidPut(set, it, holder),
      (set, it) => ioasidAttachSpid(set, it, 101),
      (set, it) => ioasidAttachData(set, it, 1),
      (set, it) => ioasidQueueWork(set, it, { holder, phase: 'stop' }),
    ];
    for (const call of calls) {
      expect(refused(core, () => call(mine, id))).toBe('EACCES');
      expect(refused(core, () => call(mine, 7))).toBe('ENOENT');
      expect(refused(core, () => call(mine, -1))).toBe('EINVAL');
    }
    must(ioasidSetFree(mine));
    for (const call of calls) expect(refused(core, () => call(mine, id))).toBe('ENOENT');
    expect(ioasidFindSet(core, id)).toBe(theirs);
    expect(refused(core, () => ioasidFindSet(core, 7))).toBe('ENOENT');
    expect(refused(core, () => ioasidFindSet(core, 0.5))).toBe('EINVAL');
  });

  it('can be looked up by token, and walked', () => {
    const core = newCore();
    const token = { name: 'vm1' };
    const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 4 }));
    expect(errno(ioasidFindMmSet(core, { name: 'vm1' }))).toBe('ENOENT');
    for (let i = 0; i < 4; i++) must(ioasidAlloc(set, 1, 7));
    must(ioasidFree(set, 2));
    const walked: number[] = [];
    ioasidSetForEach(set, (id) => {
      walked.push(id);
      if (id === 1) must(ioasidFree(set, 3));
    });
    expect(walked).toEqual([1, 4]);
    expect(ioasidSets(core)).toEqual([set]);
    must(ioasidSetFree(set));
    expect(errno(ioasidSetForEach(set, () => undefined))).toBe('ENOENT');
  });

  it('private data is set once, and found', () => {
    const core = newCore();
    const set = newSet(core);
    const id = must(ioasidAlloc(set, 1, 7));
    expect(ioasidFind(set, id)).toBe(0);
    must(ioasidAttachData(set, id, -5));
    expect(ioasidFind(set, id)).toBe(-5);
    expect(refused(core, () => ioasidAttachData(set, id, 6))).toBe('EBUSY');
    expect(refused(core, () => ioasidAttachData(set, id, 2 ** 31))).toBe('EINVAL');
    must(ioasidDetachData(set, id));
    must(ioasidDetachData(set, id));
    expect(ioasidFind(set, id)).toBe(0);
    must(ioasidAttachData(set, id, 6));
    must(ioasidFree(set, id));
    expect(ioasidFind(set, must(ioasidAlloc(set, 1, 7)))).toBe(0);
  });
});

describe('quota', () => {
  it('is reserved out of the system’s capacity when a set is made, and comes back when the set goes', () => {
    const core = newCore();
    const set = newSet(core, { quota: 5 });
    expect(ioasidCapacity(core)).toEqual({ capacity: 8, available: 2, reserved: 5, live: 0 });
    expect(refused(core, () => newSetAnswer(core, 3))).toBe('ENOSPC');
    must(ioasidSetFree(set));
    expect(ioasidCapacity(core).available).toBe(7);
  });

  const newSetAnswer = (core: ReturnType<typeof newCore>, quota: number): unknown =>
    ioasidSetAlloc(core, { type: 'none', quota });

  it('the sum of quotas plus what is free is the capacity, always: 1 is the core’s own, for id 0', () => {
    const core = newCore({ capacity: 64 });
    const sets: IoasidSet[] = [];
    for (let i = 0; i < 200; i++) {
      const quota = (i * 7) % 11;
      const set = sets[i % 9];
      if (set !== undefined && i % 3 === 0) ioasidSetFree(set);
      else if (set !== undefined) ioasidAdjustSet(set, quota);
      const made = ioasidSetAlloc(core, { type: 'none', quota });
      if (errno(made) === 'ok') sets[i % 9] = must(made);
      const { capacity, available, reserved } = ioasidCapacity(core);
      const quotas = ioasidSets(core).reduce((sum, each) => sum + must(ioasidSetRead(each)).quota, 0);
      expect(available + quotas + 1).toBe(capacity);
      expect(reserved).toBe(quotas);
    }
    checkBooks(core);
  });

  it('`adjust` grows or shrinks it, never below what is in use', () => {
    const core = newCore();
    const set = newSet(core, { quota: 2 });
    for (let i = 0; i < 2; i++) must(ioasidAlloc(set, 1, 7));
    expect(why(ioasidAlloc(set, 1, 7))).toContain('quota of 2');
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('EDQUOT');
    must(ioasidAdjustSet(set, 7));
    must(ioasidAlloc(set, 1, 7));
    expect(refused(core, () => ioasidAdjustSet(set, 8))).toBe('ENOSPC');
    expect(refused(core, () => ioasidAdjustSet(set, 2))).toBe('EBUSY');
    expect(refused(core, () => ioasidAdjustSet(set, -1))).toBe('EINVAL');
    must(ioasidAdjustSet(set, 3));
    expect(ioasidCapacity(core).available).toBe(4);
  });

  it('left out, it is all that no set has reserved', () => {
    const core = newCore();
    newSet(core, { quota: 3 });
    const rest = must(ioasidSetAlloc(core, { type: 'none' }));
    expect(must(ioasidSetRead(rest)).quota).toBe(4);
    const none = must(ioasidSetAlloc(core, { type: 'none' }));
    expect(refused(core, () => ioasidAlloc(none, 1, 7))).toBe('EDQUOT');
  });
});

describe('a hierarchy of controllers as a cgroup has', () => {
  function hierarchy() {
    const core = newCore({ capacity: 64 });
    const vms = must(ioasidControllerAlloc(core, { name: 'vms', max: 3 }));
    const one = must(ioasidControllerAlloc(core, { name: 'vm1', parent: vms, max: 2 }));
    const two = must(ioasidControllerAlloc(core, { name: 'vm2', parent: vms }));
    const set1 = newSet(core, { quota: 10, controller: one });
    const set2 = newSet(core, { quota: 10, controller: two });
    return { core, vms, one, two, set1, set2 };
  }
  const current = (controller: Parameters<typeof ioasidControllerRead>[0]): number =>
    must(ioasidControllerRead(controller)).current;

  it('charges up to the root; each refusal names the limit that was hit, and is an event', () => {
    const { core, vms, one, two, set1, set2 } = hierarchy();
    must(ioasidAlloc(set1, 1, 63));
    const id = must(ioasidAlloc(set1, 1, 63));
    expect([vms, one, two].map(current)).toEqual([2, 2, 0]);
    const own = ioasidAlloc(set1, 1, 63);
    expect(errno(own)).toBe('EDQUOT');
    expect(why(own)).toBe('controller /vms/vm1 is at its limit: max 2, current 2');
    must(ioasidAlloc(set2, 1, 63));
    const above = ioasidAlloc(set2, 1, 63);
    expect(why(above)).toContain('controller /vms is at its limit: max 3');
    expect(refused(core, () => ioasidAlloc(set2, 1, 63))).toBe('EDQUOT');
    expect(must(ioasidControllerRead(vms))).toEqual({ max: 3, current: 3, events: 3, eventsLocal: 2 });
    expect(must(ioasidControllerRead(one))).toEqual({ max: 2, current: 2, events: 1, eventsLocal: 1 });
    expect(must(ioasidControllerRead(two)).events).toBe(0);
    must(ioasidFree(set1, id));
    expect([vms, one, two].map(current)).toEqual([2, 1, 1]);
  });

  it('moving a task may leave `current` above `max`, after which only frees succeed', () => {
    const { core, vms, one, two, set1, set2 } = hierarchy();
    must(ioasidAlloc(set1, 1, 63));
    const moved = [must(ioasidAlloc(set2, 1, 63)), must(ioasidAlloc(set2, 1, 63))];
    must(ioasidMoveSet(set2, one));
    expect(must(ioasidControllerRead(one))).toMatchObject({ max: 2, current: 3 });
    expect([vms, two].map(current)).toEqual([3, 0]);
    for (const set of [set1, set2]) expect(refused(core, () => ioasidAlloc(set, 1, 63))).toBe('EDQUOT');
    for (const id of moved) must(ioasidFree(set2, id));
    must(ioasidAlloc(set1, 1, 63));
    must(ioasidMoveSet(set1, undefined));
    expect([vms, one].map(current)).toEqual([0, 0]);
    checkBooks(core);
  });

  it('a lower max takes nothing away', () => {
    const { core, one, set1 } = hierarchy();
    const id = must(ioasidAlloc(set1, 1, 63));
    must(ioasidControllerSetMax(one, 0));
    expect(current(one)).toBe(1);
    must(ioasidFree(set1, id));
    expect(refused(core, () => ioasidAlloc(set1, 1, 63))).toBe('EDQUOT');
    expect(refused(core, () => ioasidControllerSetMax(one, -1))).toBe('EINVAL');
  });

  it('is deleted from below, when it has neither controllers nor sets', () => {
    const { core, vms, one, set1 } = hierarchy();
    expect(refused(core, () => ioasidControllerFree(vms))).toBe('EBUSY');
    expect(refused(core, () => ioasidControllerFree(one))).toBe('EBUSY');
    must(ioasidSetFree(set1));
    must(ioasidControllerFree(one));
    for (const call of [
      () => ioasidControllerFree(one),
      () => ioasidControllerSetMax(one, 1),
      () => ioasidControllerRead(one),
      () => ioasidControllerAlloc(core, { name: 'x', parent: one }),
      () => ioasidSetAlloc(core, { type: 'none', quota: 1, controller: one }),
      () => ioasidMoveSet(newSet(core, { quota: 0 }), one),
    ]) {
      expect(errno(call())).toBe('ENOENT');
    }
  });
});

describe('a per-user limit as an rlimit', () => {
  it('counts what the user’s sets have reserved together', () => {
    const core = newCore({ capacity: 64 });
    const user = must(ioasidUserAlloc(core, { name: 'alice', max: 10 }));
    const set = newSet(core, { quota: 6, user });
    const more = ioasidSetAlloc(core, { type: 'none', quota: 5, user });
    expect(errno(more)).toBe('EDQUOT');
    expect(why(more)).toBe('user alice has reserved 6 of 10, and asks for 5');
    must(ioasidAdjustSet(set, 10));
    expect(refused(core, () => ioasidAdjustSet(set, 11))).toBe('EDQUOT');
    must(ioasidUserSetMax(user, 4));
    must(ioasidAdjustSet(set, 9));
    expect(must(ioasidUserRead(user))).toEqual({ max: 4, current: 9 });
    expect(refused(core, () => ioasidUserFree(user))).toBe('EBUSY');
    must(ioasidSetFree(set));
    expect(must(ioasidUserRead(user)).current).toBe(0);
    must(ioasidUserFree(user));
    expect(refused(core, () => ioasidUserFree(user))).toBe('ENOENT');
    expect(refused(core, () => ioasidSetAlloc(core, { type: 'none', quota: 1, user }))).toBe('ENOENT');
  });
});

describe('the end of a set', () => {
  it('`freeAll(set)` frees every id of it, whatever its state', () => {
    const core = newCore();
    const [set, other] = [newSet(core, { quota: 4 }), newSet(core)];
    const holder = newHolder(core, 'kvm');
    const [idle, active, bound, pending] = [1, 2, 3, 4].map(() => must(ioasidAlloc(set, 1, 7))) as number[];
    const stays = must(ioasidAlloc(other, 1, 7));
    for (const id of [active, pending]) must(ioasidGet(set, id as number, holder));
    must(ioasidAttachSpid(set, bound as number, 101));
    must(ioasidFree(set, pending as number));
    expect(ioasidFreeAllInSet(set)).toBe(3);
    expect(errno(ioasidFind(set, idle as number))).toBe('ENOENT');
    expect(ioasidPut(set, active as number, holder)).toBe(true);
    expect(ioasidPut(set, pending as number, holder)).toBe(true);
    expect(ioasidDetachSpid(set, bound as number)).toBe(true);
    expect(ioasidFreeAllInSet(set)).toBe(0);
    expect(ioasidFind(other, stays)).toBe(0);
  });

  it('a set whose owner is gone lives until its last id is reclaimed, and gives out none', () => {
    const core = newCore();
    const token = { name: 'vm1' };
    const set = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 3 }));
    const holder = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidGet(set, id, holder));
    expect(ioasidSetFree(set)).toBe(false);
    expect(must(ioasidSetRead(set))).toEqual({ quota: 3, used: 1, ownerGone: true });
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('EBUSY');
    expect(refused(core, () => ioasidAdjustSet(set, 4))).toBe('EBUSY');
    expect(refused(core, () => ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }))).toBe('EBUSY');
    expect(ioasidFindMmSet(core, token)).toBe(set);
    expect(ioasidSetFree(set)).toBe(false);
    expect(ioasidPut(set, id, holder)).toBe(true);
    expect(errno(ioasidSetRead(set))).toBe('ENOENT');
    expect(errno(ioasidSetFree(set))).toBe('ENOENT');
    expect(ioasidCapacity(core).available).toBe(7);
    must(ioasidSetAlloc(core, { type: 'mm', token, quota: 1 }));
  });

  it('a set that becomes empty stays its owner’s', () => {
    const core = newCore();
    const set = newSet(core);
    for (let i = 0; i < 3; i++) must(ioasidFree(set, must(ioasidAlloc(set, 1, 7))));
    expect(must(ioasidSetRead(set))).toEqual({ quota: 3, used: 0, ownerGone: false });
    expect(ioasidAlloc(set, 1, 7)).toBe(1);
  });
});
