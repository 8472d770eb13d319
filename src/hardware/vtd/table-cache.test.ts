/** The paging-structure cache against a list of what was put in. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { firstChooser } from '../../base/index.js';
import { NONE } from '../cache/slots.js';
import { TableCache, tableWays } from './table-cache.js';

const cacheOf = (entries: number): TableCache =>
  new TableCache({ name: 'tables', entries, chooser: firstChooser });

const way = fc.record({
  domain: fc.constantFrom(0, 1, 0xffff),
  tag: fc.constantFrom(0, 5, 0xfffff),
  level: fc.integer({ min: 2, max: 5 }),
  page: fc.constantFrom(0, 0x1ff, 0x200, 0x7_f000_0000, 0x7_f000_0200, 2 ** 45 - 1, 2 ** 52 - 1),
  frame: fc.constantFrom(1, 0x7fff_ffff, 0x8000_0000, 2 ** 40 - 1),
  rights: fc.integer({ min: 1, max: 15 }),
});
type Way = typeof way extends fc.Arbitrary<infer W> ? W : never;

const prefix = ({ page, level }: Way): number => Math.floor(page / 512 ** (level - 1));
const isSame = (a: Way, b: Way): boolean =>
  a.domain === b.domain && a.tag === b.tag && a.level === b.level && prefix(a) === prefix(b);

function find(cache: TableCache, { domain, tag, level, page }: Way): number {
  cache.within(domain, tag);
  cache.seek(page | 0, Math.floor(page / 2 ** 32));
  return cache.find(level);
}

function put(cache: TableCache, each: Way): void {
  if (find(cache, each) !== NONE) return;
  const ways = tableWays();
  ways.frames[each.level - 1] = each.frame;
  ways.rights[each.level - 1] = each.rights;
  cache.add(each.level, ways, each.tag === 0);
}

test('finds what was put in, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(way, { maxLength: 40 }), way, (ways, sought) => {
      const cache = cacheOf(1024);
      for (const each of ways) put(cache, each);
      const at = find(cache, sought);
      const first = ways.find((each) => isSame(each, sought));
      if (first === undefined) expect(at).toBe(NONE);
      else expect([cache.frameOf(at), cache.rightsOf(at)]).toEqual([first.frame, first.rights]);
    }),
  );
});

test('removes what overlaps, in its domain and with its tag, and can be put back', () => {
  const pages = fc.constantFrom(1, 0x200, 2 ** 30, 2 ** 52);
  fc.assert(
    fc.property(fc.array(way, { maxLength: 40 }), way, pages, (ways, { domain, tag, page }, count) => {
      const cache = cacheOf(1024);
      for (const each of ways) put(cache, each);
      const first = page - (page % count);
      cache.mark();
      cache.removePages(domain, tag, { page: first, pages: count });
      const isGone = (each: Way): boolean => {
        const span = 512 ** (each.level - 1);
        const start = prefix(each) * span;
        const overlaps = start < first + count && first < start + span;
        return each.domain === domain && each.tag === tag && overlaps;
      };
      for (const each of ways) expect(find(cache, each) === NONE).toBe(isGone(each));
      cache.restore();
      for (const each of ways) expect(find(cache, each)).not.toBe(NONE);
      cache.removeNested(domain);
      for (const each of ways) {
        expect(find(cache, each) === NONE).toBe(each.domain === domain && each.tag === 0);
      }
    }),
  );
});

test.each([
  [2, 2],
  [3, 3],
  [10, 10],
  [32, 32],
  [100, 96],
])('of %i entries has %i', (asked, has) => {
  expect(cacheOf(asked).entries).toBe(has);
});

test('has at least two', () => {
  expect(() => cacheOf(1)).toThrow('tables: 1 entries');
});
