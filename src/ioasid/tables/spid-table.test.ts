import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpidTable } from './spid-table.js';

/** Sets that differ in low and in high bits. */
const set = fc.constantFrom(1, 2, 0x1001, 0x2001, 0xf_ffff);
const spid = fc.oneof(fc.nat(7), fc.constant(0xf_ffff));
const id = fc.integer({ min: 1, max: 0xf_ffff });
const call = fc.record({ set, spid, id, erase: fc.boolean() });

describe('the SPID table', () => {
  it('is a map from (set, SPID) to id, also when it is put back', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(call, { maxLength: 150, size: 'max' }),
        fc.nat(150),
        (key, calls, at) => {
          const table = new SpidTable(key);
          const map = new Map<string, number>();
          const same = (): void => {
            for (const entry of calls) {
              expect(table.find(entry.set, entry.spid)).toBe(map.get(`${entry.set} ${entry.spid}`) ?? 0);
            }
          };
          const run = (list: typeof calls): void => {
            for (const entry of list) {
              const name = `${entry.set} ${entry.spid}`;
              if (entry.erase) {
                table.erase(entry.set, entry.spid, entry.id);
                if (map.get(name) === entry.id) map.delete(name);
                // Most ids are not the ones that stand there: erase what does, too.
                const there = map.get(name);
                if (there !== undefined && entry.id % 2 === 0) {
                  table.erase(entry.set, entry.spid, there);
                  map.delete(name);
                }
              } else {
                if (table.full) table.grow();
                table.put(entry.set, entry.spid, entry.id);
                map.set(name, entry.id);
              }
            }
          };
          run(calls.slice(0, at));
          same();
          table.mark();
          const before = [...map];
          run(calls.slice(at));
          same();
          table.restore();
          map.clear();
          for (const [name, value] of before) map.set(name, value);
          same();
          run(calls.slice(at));
          same();
        },
      ),
      { numRuns: 300 },
    );
  }, 30_000);

  /** A table with these SPIDs in one set; the furthest that one stands from its place. */
  function furthest(key: number, spids: readonly number[]): number {
    const table = new SpidTable(key);
    spids.forEach((one, at) => {
      if (table.full) table.grow();
      table.put(1, one, at + 1);
    });
    return Math.max(...spids.map((one) => table.distance(1, one)));
  }

  it('look-ups are O(1): no entry is far from its place, among a hundred thousand', () => {
    const dense = Array.from({ length: 100_000 }, (_, at) => at);
    const strided = Array.from({ length: 100_000 }, (_, at) => (at * 1024 + (at >>> 10)) & 0xf_ffff);
    for (const spids of [dense, strided]) expect(furthest(0x2545_f491, spids)).toBeLessThan(64);
  });

  it('a guest that does not know the key cannot choose SPIDs that make look-ups long', () => {
    // SPIDs that all fall on one place under the key 1, in a table of 2048 places, found by trying.
    const known = new SpidTable(1);
    for (let one = 0; one < 1000; one++) {
      if (known.full) known.grow();
      known.put(2, one, one + 1);
    }
    const place = known.home(1, 0);
    const chosen = Array.from({ length: 0x10_0000 }, (_, one) => one)
      .filter((one) => known.home(1, one) === place)
      .slice(0, 300);
    expect(chosen.length).toBe(300);
    const tight = chosen.slice(0, 200);
    expect(furthest(1, tight)).toBeGreaterThan(40);
    for (const key of [0x2545_f491, 0x1234_5678, -99]) expect(furthest(key, tight)).toBeLessThan(25);
  });
});
