/** The cache of translations against a list that is searched from end to end. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { firstChooser, Random, RandomChooser } from '../../base/index.js';
import { PageCache, type PageEntry } from './page-cache.js';
import { NONE } from './slots.js';

const small = fc.integer({ min: 0, max: 2 });
const pages = fc.constantFrom(1, 2, 512);
/** Pages close together at 0, and at the end of all. */
const page = fc.oneof(
  fc.integer({ min: 0, max: 1100 }),
  fc.integer({ min: 2 ** 52 - 600, max: 2 ** 52 - 1 }),
);

const operation = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    entry: fc.record({ space: small, tag: small, page, pages, rights: fc.nat(15), kind: small }),
  }),
  fc.record({
    do: fc.constant('pages' as const),
    space: small,
    tag: small,
    page,
    pages: fc.constantFrom(1, 16, 2 ** 20),
  }),
  fc.record({
    do: fc.constant('all' as const),
    match: fc.record({ space: small, tag: small, kind: small }, { requiredKeys: [] }),
  }),
  fc.record({ do: fc.constant('listed' as const), space: small }),
);

/** The entries of odd kinds are listed. */
const listed = { mask: 1, kind: 1 };

const align = (at: number, by: number): number => at - (at % by);
const same = (a: PageEntry, b: PageEntry): boolean =>
  a.space === b.space &&
  a.tag === b.tag &&
  a.pages === b.pages &&
  align(a.page, a.pages) === align(b.page, b.pages);

function find(cache: PageCache, tag: number, page: number): number {
  cache.seek(page);
  return cache.find(1, tag);
}

function contents(cache: PageCache): string[] {
  const found: string[] = [];
  cache.visit((entry) => {
    found.push(JSON.stringify(entry));
  });
  return found.toSorted();
}

const shown = (list: readonly PageEntry[]): string[] =>
  list
    .map((entry) => {
      const { space, tag, rights, kind } = entry;
      const within = entry.page % entry.pages;
      return JSON.stringify({
        ...{ space, tag, page: entry.page - within, frame: entry.frame - within },
        ...{ pages: entry.pages, rights, kind },
      });
    })
    .toSorted();

test('holds what a list would, whatever is added and removed', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const cache = new PageCache({ name: 'cache', entries: 64, chooser: firstChooser, listed });
      let list: PageEntry[] = [];
      operations.forEach((each, i) => {
        if (each.do === 'add') {
          const entry = { ...each.entry, frame: 0x10_0000 + i * 1024 + (each.entry.page % each.entry.pages) };
          cache.add(entry);
          list = [...list.filter((other) => !same(entry, other)), entry];
        } else if (each.do === 'listed') {
          cache.removeListed(each.space);
          list = list.filter((entry) => entry.space !== each.space || entry.kind % 2 === 0);
        } else if (each.do === 'all') {
          cache.removeAll(each.match);
          const { space, tag, kind } = each.match;
          list = list.filter(
            (entry) =>
              !(
                entry.space === (space ?? entry.space) &&
                entry.tag === (tag ?? entry.tag) &&
                entry.kind === (kind ?? entry.kind)
              ),
          );
        } else {
          const first = align(each.page, each.pages);
          cache.removePages(each.space, each.tag, { page: first, pages: each.pages });
          list = list.filter((entry) => {
            const start = align(entry.page, entry.pages);
            const overlaps = start < first + each.pages && first < start + entry.pages;
            return !(entry.space === each.space && entry.tag === each.tag && overlaps);
          });
        }
        expect(contents(cache)).toEqual(shown(list));
      });
      // Whoever looks for a frame finds it by the entries, one before their first and one behind their last too.
      for (const { frame, pages } of list) {
        const first = align(frame, pages);
        for (const at of [first - 1, first, frame, first + pages - 1, first + pages]) {
          const isThere = list.some((each) => align(each.frame, each.pages) === align(at, each.pages));
          expect(cache.leadsTo(at)).toBe(isThere);
        }
      }
    }),
    { numRuns: 100 },
  );
});

describe('a full cache', () => {
  const entry = (tag: number): PageEntry => ({
    space: 1,
    tag,
    page: tag,
    frame: tag,
    pages: 1,
    rights: 1,
    kind: 0,
  });

  test('loses one entry, by choice, for each that comes', () => {
    for (const lost of [0, 1]) {
      const cache = new PageCache({ name: 'cache', entries: 2, chooser: { choose: () => lost } });
      for (const tag of [5, 6, 7]) cache.add(entry(tag));
      expect([5, 6, 7].map((tag) => find(cache, tag, tag) !== NONE)).toEqual([lost !== 0, lost !== 1, true]);
    }
  });

  test('loses none for one that it holds already', () => {
    const cache = new PageCache({ name: 'cache', entries: 2, chooser: firstChooser });
    for (const tag of [5, 6, 6, 5]) cache.add({ ...entry(tag), frame: tag + 1 });
    expect([cache.used, cache.frameOf(find(cache, 5, 5))]).toEqual([2, 6]);
  });

  test('goes back to its mark', () => {
    const chooser = new RandomChooser(new Random(3));
    const cache = new PageCache({ name: 'cache', entries: 3, chooser });
    cache.add({ ...entry(1), page: 512, frame: 512, pages: 512 });
    cache.mark();
    const marked = contents(cache);
    for (let tag = 2; tag < 20; tag++) cache.add(entry(tag));
    cache.removeAll();
    cache.restore();
    expect([contents(cache), find(cache, 1, 1000) !== NONE]).toEqual([marked, true]);
  });
});

describe('the listed entries of a space', () => {
  const ENTRIES = 8;
  /** A cache that has been full for long: its entries have taken each other's places, in four spaces on two lists. */
  function full(seed: number) {
    const random = new Random(seed);
    const chooser = new RandomChooser(random);
    const cache = new PageCache({ name: 'cache', entries: ENTRIES, chooser, listed });
    const fill = (): void => {
      for (let i = 0; i < 40; i++) {
        const space = random.below(4) * (ENTRIES / 2);
        const page = random.below(8);
        cache.add({ space, tag: 0, page, frame: 0x100 + i, pages: 1, rights: 1, kind: random.below(4) });
      }
    };
    fill();
    return { cache, fill };
  }
  const left = (before: readonly string[], space: number): string[] =>
    before.filter((text) => {
      const entry: PageEntry = JSON.parse(text);
      return entry.space !== space || entry.kind % 2 === 0;
    });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('go alone, after a restore too, from a full cache: seed %i', (seed) => {
    const { cache, fill } = full(seed);
    const marked = contents(cache);
    cache.mark();
    for (const space of [0, 4, 8, 12]) {
      cache.removeListed(space);
      expect(contents(cache)).toEqual(left(marked, space));
      fill();
      const refilled = contents(cache);
      cache.removeListed(space);
      expect(contents(cache)).toEqual(left(refilled, space));
      cache.restore();
      expect(contents(cache)).toEqual(marked);
    }
  });
});

test('a frame of a run lies where its page does', () => {
  const cache = new PageCache({ name: 'cache', entries: 2, chooser: firstChooser });
  const far = 2 ** 39 + 512 * 7;
  cache.add({ space: 1, tag: 0, page: 1024 + 3, frame: far + 3, pages: 512, rights: 5, kind: 2 });
  const slot = find(cache, 0, 1024 + 511);
  expect([cache.frameOf(slot), cache.pagesOf(slot), cache.rightsOf(slot), cache.kindOf(slot)]).toEqual([
    far + 511,
    512,
    5,
    2,
  ]);
});
