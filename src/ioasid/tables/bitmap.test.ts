import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FreeBitmap, type FreeIds } from './bitmap.js';
import { FreeQueue } from './free-queue.js';

/** The free ids in the order of being freed, searched from end to end. */
class List {
  readonly free: number[];

  constructor(capacity: number) {
    this.free = Array.from({ length: capacity - 1 }, (_, at) => at + 1);
  }

  inRange(min: number, max: number): number[] {
    return this.free.filter((id) => id >= min && id <= max);
  }
}

function follows(
  ids: FreeIds,
  { capacity, pick }: { capacity: number; pick: (ids: number[]) => number },
): void {
  const call = fc.record({ min: fc.nat(capacity - 1), span: fc.nat(capacity), free: fc.nat() });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 200, size: 'max' }), (calls) => {
      const list = new List(capacity);
      ids.mark();
      for (const { min, span, free } of calls) {
        const max = Math.min(min + span, capacity - 1);
        const first = ids.first(min, max);
        const there = list.inRange(min, max);
        expect(first).toBe(there.length === 0 ? -1 : pick(there));
        if (first >= 0) {
          ids.take(first);
          list.free.splice(list.free.indexOf(first), 1);
        }
        const id = (free % (capacity - 1)) + 1;
        expect(ids.isFree(id)).toBe(list.free.includes(id));
        if (free % 3 !== 0 || list.free.includes(id)) continue;
        ids.give(id);
        list.free.push(id);
      }
      ids.restore();
    }),
    { numRuns: capacity > 2000 ? 4 : 60 },
  );
}

describe('free ids', () => {
  for (const capacity of [2, 5, 32, 33, 1025, 33_000]) {
    it(`lowest of ${capacity}`, () => {
      follows(new FreeBitmap(capacity), { capacity, pick: (ids) => Math.min(...ids) });
    }, 30_000);
  }

  for (const capacity of [2, 5, 32, 33, 257]) {
    it(`free longest of ${capacity}`, () => {
      follows(new FreeQueue(capacity), { capacity, pick: (ids) => ids[0] ?? -1 });
    }, 30_000);
  }

  it('the order is kept when the times run out', () => {
    const queue = new FreeQueue(6, 0x7fff_ffff - 2);
    for (let id = 1; id < 6; id++) queue.take(id);
    for (const id of [4, 2, 5, 1]) queue.give(id);
    const order: number[] = [];
    for (let id = queue.first(1, 5); id >= 0; id = queue.first(1, 5)) {
      order.push(id);
      queue.take(id);
    }
    expect(order).toEqual([4, 2, 5, 1]);
  });
});

describe('the work of the bitmap does not depend on what is in use', () => {
  /** How many words a call reads and writes. */
  function counted(bitmap: FreeBitmap, call: () => void): { reads: number; writes: number } {
    const count = { reads: 0, writes: 0 };
    const { words } = bitmap.words;
    bitmap.words.words = new Proxy(words, {
      get: (target, index) => {
        count.reads++;
        return Reflect.get(target, index, target);
      },
      set: (target, index, value) => {
        count.writes++;
        return Reflect.set(target, index, value, target);
      },
    });
    call();
    bitmap.words.words = words;
    return count;
  }

  it('`alloc` and `free` touch as many words at 50 %, at 99.9 % and at the last id', () => {
    const capacity = 1 << 20;
    const bitmap = new FreeBitmap(capacity);
    const counts = new Set<string>();
    let next = 1;
    for (const share of [0, 0.5, 0.999, 1 - 2 / capacity]) {
      for (; next < capacity * share; next++) bitmap.take(next);
      for (const min of [1, 12_345, capacity - 1]) {
        let id = -1;
        const found = counted(bitmap, () => {
          id = bitmap.first(min, capacity - 1);
        });
        const taken = counted(bitmap, () => bitmap.take(id));
        const given = counted(bitmap, () => bitmap.give(id));
        counts.add(JSON.stringify([found, taken, given]));
      }
    }
    expect([...counts]).toEqual([
      JSON.stringify([
        { reads: 7, writes: 0 },
        { reads: 4, writes: 4 },
        { reads: 4, writes: 4 },
      ]),
    ]);
  });
});
