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
                table.erase(entry);
                if (map.get(name) === entry.id) map.delete(name);
                // Most ids are not the ones that stand there: erase what does, too.
                const there = map.get(name);
                if (there !== undefined && entry.id % 2 === 0) {
                  table.erase({ ...entry, id: there });
                  map.delete(name);
                }
              } else {
                if (table.full) table.grow();
                table.put(entry);
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
  });

  it('a guest that chooses its SPIDs cannot make look-ups long without the key', () => {
    // SPIDs that all fall into one place under one key are spread under another.
    const places = (key: number): number => {
      const table = new SpidTable(key);
      const chosen: number[] = [];
      for (let one = 0; one < 0x10_0000 && chosen.length < 500; one += 0x100) chosen.push(one);
      for (const one of chosen) {
        if (table.full) table.grow();
        table.put({ set: 1, spid: one, id: one + 1 });
      }
      return chosen.filter((one) => table.find(1, one) === one + 1).length;
    };
    expect([places(1), places(0x1234_5678)]).toEqual([500, 500]);
  });
});
