import { describe, expect, it } from 'vitest';
import { HandlePool, Pool } from './pool.js';

describe('a pool of records', () => {
  it('numbers from 1, gives zeros, and hands out again what came back', () => {
    const pool = new Pool(2);
    const taken = Array.from({ length: 50 }, () => pool.take());
    expect(taken).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
    pool.store.set((7 << 2) + 1, 99);
    pool.give(7);
    pool.give(9);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([9, 7, 51]);
    expect([...pool.store.words.subarray(7 << 2, 8 << 2)]).toEqual([0, 0, 0, 0]);
    expect(pool.made).toBe(51);
  });

  it('goes back to its mark, with the objects of its records', () => {
    const pool = new HandlePool<{ readonly record: number }>(3);
    const make = (record: number) => ({ record });
    const one = pool.takeFor(make);
    pool.mark();
    pool.give(one.record);
    const other = pool.takeFor(make);
    expect(other.record).toBe(one.record);
    pool.takeFor(make);
    pool.restore();
    expect(pool.handles.list()).toEqual([one]);
    expect(pool.handles.at(one.record)).toBe(one);
    expect(pool.take()).toBe(2);
  });
});
