/** What stays of the way to a table, and what invalidations take of it: first stage, second stage, nested. */
import { describe, expect, test } from 'vitest';
import { DATA, RID, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { encode, FAULT, IOTLB_INVALIDATION, PASID_IOTLB_INVALIDATION, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';

const { READ, WRITE, USER } = RIGHT;
/** R and W of a second-stage entry. */
const SECOND = 3;
/** A table's frame that nothing leads to. */
const OTHER = 0x700;
const PAGE = 0x10;

const flush = (bench: UnitBench, fields: Readonly<Record<string, number>>): void =>
  bench.submit(encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, DID: 1, PASID: 5, ...fields }));
const flushDomain = (bench: UnitBench, fields: Readonly<Record<string, number>>): void =>
  bench.submit(encode(IOTLB_INVALIDATION, { TYPE: 2, DID: 1, ...fields }));

/** The levels of the entries that are cached, of both stages. */
function levels({ unit }: UnitBench): [number[], number[]] {
  const { firstTables, secondTables } = unit.translator.caches;
  const of = (tables: typeof firstTables): number[] => {
    const found: number[] = [];
    tables?.visit(({ level }) => found.push(level));
    return found.toSorted();
  };
  return [of(firstTables), of(secondTables)];
}

/** PASID 5 in domain 1, whose page 0x10 is cached, and whose tables then move: the page table is another one. */
function moved() {
  const bench = new UnitBench().enable();
  const root = bench.bind(5, 1);
  bench.map(root, PAGE, DATA);
  bench.map(root, PAGE + 1, DATA + 1);
  bench.frameOf(5, PAGE);
  bench.put(OTHER, PAGE, BigInt((DATA + 2) * 4096 + USER_PAGE));
  bench.put(OTHER, PAGE + 1, BigInt((DATA + 3) * 4096 + USER_PAGE));
  bench.map(root, PAGE, OTHER, USER_PAGE, 2);
  return { bench, root };
}

describe('first stage', () => {
  test('a walk begins at the lowest table that is known', () => {
    const { bench } = moved();
    expect(levels(bench)).toEqual([[2, 3, 4], []]);
    expect(bench.frameOf(5, PAGE + 1)).toBe(DATA + 1);
  });

  test.each([
    ['the page', { G: 3, ADDR: PAGE + 1 }, DATA + 3],
    ['another page of the table', { G: 3, ADDR: PAGE + 7 }, DATA + 3],
    ['a page, its leaf alone', { G: 3, ADDR: PAGE + 1, IH: 1 }, DATA + 1],
    ['a page of another table', { G: 3, ADDR: 0x40_0000 }, DATA + 1],
    ['the PASID', { G: 2 }, DATA + 3],
    ['another PASID', { G: 2, PASID: 6 }, DATA + 1],
    ['another domain', { G: 2, DID: 2 }, DATA + 1],
  ])('after %s was invalidated', (_, fields, frame) => {
    const { bench } = moved();
    flush(bench, fields);
    expect(bench.frameOf(5, PAGE + 1)).toBe(frame);
  });

  test.each([
    ['all', { G: 1 }, DATA + 3],
    ['the domain', { G: 2 }, DATA + 3],
    ['another domain', { G: 2, DID: 2 }, DATA + 1],
    ['pages of the domain: none of a first stage', { G: 3, ADDR: PAGE }, DATA + 1],
  ])('after %s was invalidated by the domain', (_, fields, frame) => {
    const { bench } = moved();
    flushDomain(bench, fields);
    expect(bench.frameOf(5, PAGE + 1)).toBe(frame);
  });

  test('rights of the entries that were skipped count', () => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, PAGE, DATA);
    bench.put(root, 0, bench.get(root, 0) & ~2n);
    expect(bench.frameOf(5, PAGE)).toBe(DATA);
    expect(bench.frameOf(5, PAGE, WRITE | USER)).toBe(undefined);
    expect(bench.faults()).toMatchObject([{ reason: FAULT.SM_WRITE_DENIED }]);
  });

  test('what is not present is not cached', () => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    expect(bench.frameOf(5, PAGE)).toBe(undefined);
    bench.map(root, PAGE, DATA);
    expect(bench.frameOf(5, PAGE)).toBe(DATA);
  });

  test('none is kept where the unit has no such cache', () => {
    const bench = new UnitBench({ caches: { pagingStructures: 0 } }).enable();
    bench.map(bench.bind(5, 1), PAGE, DATA);
    expect([bench.frameOf(5, PAGE), levels(bench)]).toEqual([DATA, [[], []]]);
  });
});

describe('second stage', () => {
  function second() {
    const bench = new UnitBench().enable();
    const root = bench.newTable();
    bench.map(root, PAGE, DATA, SECOND);
    bench.map(root, PAGE + 1, DATA + 1, SECOND);
    bench.setPasid(5, { P: 1, PGTT: PGTT.SECOND_STAGE, DID: 1, AW: 2, SSPTPTR: root });
    bench.frameOf(5, PAGE);
    bench.put(OTHER, PAGE + 1, BigInt((DATA + 3) * 4096 + SECOND));
    bench.map(root, PAGE, OTHER, SECOND, 2);
    return bench;
  }

  test.each([
    ['nothing', undefined, DATA + 1],
    ['a page', { G: 3, ADDR: PAGE + 1 }, DATA + 3],
    ['a page, its leaf alone', { G: 3, ADDR: PAGE + 1, IH: 1 }, DATA + 1],
    ['a page of another table', { G: 3, ADDR: 0x40_0000 }, DATA + 1],
    ['the domain', { G: 2 }, DATA + 3],
    ['another domain', { G: 2, DID: 2 }, DATA + 1],
  ])('after %s was invalidated', (_, fields, frame) => {
    const bench = second();
    expect(levels(bench)).toEqual([[], [2, 3, 4]]);
    if (fields !== undefined) flushDomain(bench, fields);
    expect(bench.frameOf(5, PAGE + 1)).toBe(frame);
  });

  test('by register too, with the hint and without', () => {
    for (const [hint, frame] of [
      [0x40, DATA + 1],
      [0, DATA + 3],
    ] as const) {
      const bench = second();
      bench.unit.write64(0xf0, ((PAGE + 1) << 12) | hint, 0);
      bench.unit.write64(0xf8, 0, (1 << 31) | (3 << 28) | 1);
      expect(bench.frameOf(5, PAGE + 1)).toBe(frame);
    }
  });

  test('a PASID with accessed bits does not use what another found without', () => {
    const bench = new UnitBench().enable();
    const root = bench.newTable();
    bench.map(root, PAGE, DATA, SECOND);
    const entry = { P: 1, PGTT: PGTT.SECOND_STAGE, DID: 1, AW: 2, SSPTPTR: root };
    bench.setPasid(5, entry);
    bench.setPasid(6, { ...entry, SSADE: 1 });
    bench.frameOf(5, PAGE);
    flushDomain(bench, { G: 3, ADDR: PAGE, IH: 1 });
    bench.frameOf(6, PAGE);
    expect(bench.get(root, 0) & 0x100n).toBe(0x100n);
  });
});

describe('nested', () => {
  /** PASID 5 nested in domain 1: the guest's frame n lies at n + 0x400, its tables at 0 to 3, its page at 0x80. */
  function nested(fields: Readonly<Record<string, number>> = {}) {
    const bench = new UnitBench().enable();
    const root = bench.newTable();
    for (const guest of [0, 1, 2, 3, 0x80, 0x81]) bench.map(root, guest, guest + 0x400, SECOND);
    for (const guest of [0, 1, 2]) bench.put(guest + 0x400, 0, BigInt((guest + 1) * 4096 + USER_PAGE));
    for (const i of [0, 1]) bench.put(0x403, PAGE + i, BigInt((0x80 + i) * 4096 + USER_PAGE));
    bench.setPasid(5, { P: 1, PGTT: PGTT.NESTED, DID: 1, AW: 2, SSPTPTR: root, FSPTPTR: 0, ...fields });
    return { bench, root };
  }

  test('the guest’s tables are known by the frames that they lie at', () => {
    const { bench, root } = nested();
    bench.frameOf(5, PAGE);
    expect(levels(bench)).toEqual([
      [2, 3, 4],
      [2, 3, 4],
    ]);
    // The guest's page table goes elsewhere: its way is known until the domain's is invalidated, by any page.
    bench.map(root, 3, OTHER, SECOND);
    bench.put(OTHER, PAGE + 1, BigInt(0x80 * 4096 + USER_PAGE));
    expect(bench.frameOf(5, PAGE + 1)).toBe(0x481);
    flushDomain(bench, { G: 3, ADDR: 0x80, IH: 1 });
    expect(bench.frameOf(5, PAGE + 1)).toBe(0x480);
  });

  test('marks that a table needs reach the second stage once, and no other page after that', () => {
    const { bench, root } = nested({ SSADE: 1 });
    bench.frameOf(5, PAGE);
    expect(bench.leaf(root, 3) & 0x300n).toBe(0x300n);
    expect(bench.leaf(root, 0x80) & 0x300n).toBe(0x100n);
    bench.frameOf(5, PAGE + 1, WRITE | USER);
    expect(bench.leaf(root, 0x81) & 0x300n).toBe(0x300n);
    expect(bench.leaf(root, 0x80) & 0x300n).toBe(0x100n);
  });

  test('the way to a table that cannot be marked is not kept', () => {
    const { bench, root } = nested();
    bench.map(root, 3, 0x403, 1);
    bench.put(0x403, PAGE, BigInt(0x80 * 4096 + USER_PAGE + 0x60));
    expect(bench.frameOf(5, PAGE)).toBe(0x480);
    expect(bench.frameOf(5, PAGE + 1)).toBe(undefined);
    expect(bench.faults()).toMatchObject([{ reason: FAULT.NESTED_WRITE_DENIED, rid: RID }]);
  });
});

test('a cache of two entries holds two, and loses one by choice', () => {
  const asked: string[] = [];
  const choose = (n: number, what: string): number => {
    asked.push(`${what} ${n}`);
    return 0;
  };
  const bench = new UnitBench({ chooser: { choose }, caches: { pagingStructures: 2 } }).enable();
  bench.map(bench.bind(5, 1), PAGE, DATA);
  expect(bench.frameOf(5, PAGE, READ | USER)).toBe(DATA);
  expect(levels(bench)).toEqual([[2, 3], []]);
  expect(asked).toEqual(['dmar0 first-stage paging structures evicts 2']);
});
