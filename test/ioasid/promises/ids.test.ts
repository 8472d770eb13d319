/** The sentences of the design's part "Ids", each with its test. */
import { describe, expect, it } from 'vitest';
import {
  INVALID_IOASID,
  ioasidActiveAllocator,
  ioasidAlloc,
  ioasidCapacity,
  ioasidCreate,
  ioasidFind,
  ioasidFree,
  ioasidInspect,
  ioasidRegisterAllocator,
  ioasidSetAlloc,
  ioasidUnregisterAllocator,
} from '../../../src/ioasid/index.js';
import { errno, must, newCore, newSet, refused } from '../kit.js';

describe('one system-wide space of host ids, 0 to capacity - 1', () => {
  it('capacity is at most 2^20, set once at start', () => {
    expect(ioasidCapacity(must(ioasidCreate())).capacity).toBe(1 << 20);
    expect(ioasidCapacity(must(ioasidCreate({ capacity: 2 }))).capacity).toBe(2);
    for (const capacity of [(1 << 20) + 1, 1, 0, -1, 2.5, Number.NaN]) {
      expect(errno(ioasidCreate({ capacity }))).toBe('EINVAL');
    }
  });

  it('options that are none are refused', () => {
    expect(errno(ioasidCreate({ order: ['cpu', 'iommu', 'iommu'] }))).toBe('EINVAL');
    expect(errno(ioasidCreate({ order: ['cpu', 'iommu'] }))).toBe('EINVAL');
    expect(errno(ioasidCreate({ policy: 'highest' as 'lowest' }))).toBe('EINVAL');
    expect(errno(ioasidCreate({ hashKey: 2 ** 33 }))).toBe('EINVAL');
  });

  it('two sets never have one id: a shared work queue takes work from several VMs', () => {
    const core = newCore();
    const [vm1, vm2] = [newSet(core), newSet(core)];
    const ids = [vm1, vm2, vm1, vm2, vm2, vm1].map((set) => must(ioasidAlloc(set, 1, 7)));
    expect(ids).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('id 0 is never handed out', () => {
    const core = newCore({ capacity: 3 });
    const set = newSet(core, { quota: 2 });
    expect(ioasidAlloc(set, 0, 2)).toBe(1);
    expect(ioasidAlloc(set, 0, 2)).toBe(2);
    expect(refused(core, () => ioasidAlloc(set, 0, 0))).toBe('EDQUOT');
    const another = newSet(newCore());
    expect(refused(another.core, () => ioasidAlloc(another, 0, 0))).toBe('ENOSPC');
  });

  it('a range may be asked for; the lowest free id in it is given', () => {
    const core = newCore({ capacity: 4096 });
    const set = must(ioasidSetAlloc(core, { type: 'none' }));
    expect(ioasidAlloc(set, 1000, 1001)).toBe(1000);
    expect(ioasidAlloc(set, 1000, 1001)).toBe(1001);
    expect(refused(core, () => ioasidAlloc(set, 1000, 1001))).toBe('ENOSPC');
    expect(ioasidAlloc(set, 1000, INVALID_IOASID)).toBe(1002);
    expect(ioasidAlloc(set, 1, 4095)).toBe(1);
    expect(refused(core, () => ioasidAlloc(set, 4096, 9999))).toBe('ENOSPC');
    for (const [min, max] of [
      [2, 1],
      [-1, 5],
      [1, 2.5],
      [1, Number.NaN],
      [1, 2 ** 32],
    ] as const) {
      expect(refused(core, () => ioasidAlloc(set, min, max))).toBe('EINVAL');
    }
  });

  it('INVALID_IOASID is 0xffffffff', () => {
    const core = newCore();
    const set = newSet(core);
    expect(INVALID_IOASID).toBe(0xffffffff);
    expect(refused(core, () => ioasidFind(set, INVALID_IOASID))).toBe('EINVAL');
  });
});

describe('allocation order is a policy', () => {
  const history = (policy: 'lowest' | 'cyclic'): number[] => {
    const set = newSet(newCore({ capacity: 6, policy }), { quota: 5 });
    for (let i = 0; i < 4; i++) must(ioasidAlloc(set, 1, 5));
    for (const id of [3, 1]) must(ioasidFree(set, id));
    return [1, 2, 3].map(() => must(ioasidAlloc(set, 1, 5)));
  };

  it('`lowest` is the default, as in Linux', () => {
    expect(newCore().policy).toBe('lowest');
    expect(history('lowest')).toEqual([1, 3, 5]);
  });

  it('`cyclic`: a freed id is the last to come back', () => {
    expect(history('cyclic')).toEqual([5, 3, 1]);
  });

  it('`cyclic` in a range: the one that is free longest there', () => {
    const set = newSet(newCore({ capacity: 6, policy: 'cyclic' }), { quota: 5 });
    for (let i = 0; i < 5; i++) must(ioasidAlloc(set, 1, 5));
    for (const id of [2, 4, 3]) must(ioasidFree(set, id));
    expect(ioasidAlloc(set, 3, 5)).toBe(4);
    expect(ioasidAlloc(set, 1, 5)).toBe(2);
  });
});

describe('a custom allocator takes the place of the default one', () => {
  /** Gives from the top; says so in a log. */
  const functions = (log: string[]) => ({
    alloc: (_min: number, max: number, pdata: unknown) => {
      const id = max - log.filter((line) => line.startsWith('alloc')).length;
      log.push(`alloc ${id} ${pdata}`);
      return id;
    },
    free: (id: number, pdata: unknown) => {
      log.push(`free ${id} ${pdata}`);
    },
  });

  it('first registered is active; the core keeps the books', () => {
    const core = newCore();
    const log: string[] = [];
    const [first, second] = ['vcmd0', 'vcmd1'].map((name) => ({ name, ...functions(log), pdata: name }));
    expect(ioasidActiveAllocator(core)).toBe('default');
    must(ioasidRegisterAllocator(core, first as never));
    must(ioasidRegisterAllocator(core, second as never));
    expect(ioasidActiveAllocator(core)).toBe('vcmd0');
    const set = newSet(core);
    expect(ioasidAlloc(set, 1, 7)).toBe(7);
    expect(must(ioasidInspect(core, 7)).state).toBe('IDLE');
    must(ioasidFree(set, 7));
    expect(log).toEqual(['alloc 7 vcmd0', 'free 7 vcmd0']);
  });

  it('several that share the same functions share one space: ids outlive any of them but the last', () => {
    const core = newCore();
    const log: string[] = [];
    const shared = functions(log);
    const [a, b] = ['vcmd0', 'vcmd1'].map((name) => ({ name, ...shared, pdata: name }));
    const other = { name: 'other', ...functions([]) };
    for (const ops of [a, other, b]) must(ioasidRegisterAllocator(core, ops as never));
    const set = newSet(core);
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidUnregisterAllocator(core, a as never));
    expect(ioasidActiveAllocator(core)).toBe('vcmd1');
    expect(refused(core, () => ioasidUnregisterAllocator(core, b as never))).toBe('EBUSY');
    must(ioasidFree(set, id));
    expect(log.at(-1)).toBe('free 7 vcmd1');
    must(ioasidUnregisterAllocator(core, b as never));
    expect(ioasidActiveAllocator(core)).toBe('other');
    must(ioasidUnregisterAllocator(core, other));
    expect(ioasidActiveAllocator(core)).toBe('default');
  });

  it('registering over outstanding default ids is EAGAIN; twice, EEXIST; unregistering a stranger, ENOENT', () => {
    const core = newCore();
    const set = newSet(core);
    const ops = { name: 'vcmd', ...functions([]) };
    const id = must(ioasidAlloc(set, 1, 7));
    expect(refused(core, () => ioasidRegisterAllocator(core, ops))).toBe('EAGAIN');
    must(ioasidFree(set, id));
    must(ioasidRegisterAllocator(core, ops));
    expect(refused(core, () => ioasidRegisterAllocator(core, ops))).toBe('EEXIST');
    expect(refused(core, () => ioasidUnregisterAllocator(core, { ...ops }))).toBe('ENOENT');
  });

  it('unregistering the last one with ids outstanding is refused, nothing is lost', () => {
    const core = newCore();
    const ops = { name: 'vcmd', ...functions([]) };
    must(ioasidRegisterAllocator(core, ops));
    const set = newSet(core);
    const id = must(ioasidAlloc(set, 1, 7));
    expect(refused(core, () => ioasidUnregisterAllocator(core, ops))).toBe('EBUSY');
    expect(ioasidFind(set, id)).toBe(0);
  });

  it('what it gives is judged: an id outside the range is handed back, one in use is not', () => {
    const core = newCore();
    const log: string[] = [];
    let answer = 9;
    const ops = { name: 'vcmd', alloc: () => answer, free: (id: number) => log.push(`free ${id}`) };
    must(ioasidRegisterAllocator(core, ops));
    const set = newSet(core);
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('EIO');
    expect(log).toEqual(['free 9']);
    answer = 3;
    expect(ioasidAlloc(set, 1, 7)).toBe(3);
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('EIO');
    expect(log).toEqual(['free 9']);
    expect(refused(core, () => ioasidAlloc(set, 4, 7))).toBe('EIO');
    expect(log).toEqual(['free 9']);
    answer = INVALID_IOASID;
    expect(refused(core, () => ioasidAlloc(set, 1, 7))).toBe('ENOSPC');
  });
});
