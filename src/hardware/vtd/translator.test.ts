/** What the caches keep and mark, case by case: nested and global translations, privilege, losses by choice. */
import { describe, expect, test } from 'vitest';
import { DATA, OTHER_RID, RID, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { encode, FAULT, IOTLB_INVALIDATION, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import { NO_PASID } from './request.js';

const { READ, WRITE, EXECUTE, USER } = RIGHT;
const GLOBAL_PAGE = USER_PAGE | 0x100;

/** R and W of a second-stage entry, of a table or a page. */
const SECOND = 3;

const flushPages = (bench: UnitBench, domain: number, page: number): void =>
  bench.submit(encode(IOTLB_INVALIDATION, { TYPE: 2, G: 3, DID: domain, ADDR: page }));

/**
 * PASID 5 nested in domain 1: the guest's frame n lies at frame n + 0x400. Its first stage has its root at the
 * guest's frame 0, and maps page 0x10 to the guest's frame 0x80.
 */
function nested(fields: Readonly<Record<string, number>> = {}) {
  const bench = new UnitBench().enable();
  const second = bench.newTable();
  const host = (guest: number): number => guest + 0x400;
  for (const guest of [0, 1, 2, 3, 0x80]) bench.map(second, guest, host(guest), SECOND);
  for (const guest of [0, 1, 2]) bench.put(host(guest), 0, BigInt((guest + 1) * 4096 + USER_PAGE));
  bench.put(host(3), 0x10, BigInt(0x80 * 4096 + USER_PAGE));
  bench.setPasid(5, { P: 1, PGTT: PGTT.NESTED, DID: 1, AW: 2, SSPTPTR: second, FSPTPTR: 0, ...fields });
  return { bench, second, host };
}

describe('nested', () => {
  test('goes through both stages, and marks the first', () => {
    const { bench, host } = nested();
    expect(bench.frameOf(5, 0x10, WRITE | USER)).toBe(host(0x80));
    expect(bench.get(host(3), 0x10)).toBe(BigInt(0x80 * 4096 + 0x67));
    expect(bench.get(host(0), 0)).toBe(BigInt(4096 + 0x27));
  });

  test('a change of the second stage is flushed by the domain, whatever page is named', () => {
    const { bench, second, host } = nested();
    expect(bench.frameOf(5, 0x10)).toBe(host(0x80));
    bench.map(second, 0x80, DATA, SECOND);
    expect(bench.frameOf(5, 0x10)).toBe(host(0x80));
    flushPages(bench, 2, 0x80);
    expect(bench.frameOf(5, 0x10)).toBe(host(0x80));
    flushPages(bench, 1, 0x80);
    expect(bench.frameOf(5, 0x10)).toBe(DATA);
  });

  test('the second stage is marked where SSADE says so: tables as written, the page as asked', () => {
    const { bench, second } = nested({ SSADE: 1 });
    const marks = (guest: number): bigint => bench.leaf(second, guest) & 0x300n;
    bench.frameOf(5, 0x10, READ | USER);
    expect([marks(3), marks(0x80)]).toEqual([0x300n, 0x100n]);
    bench.frameOf(5, 0x10, WRITE | USER);
    expect(marks(0x80)).toBe(0x300n);
    const { bench: plain, second: unmarked } = nested();
    plain.frameOf(5, 0x10, WRITE | USER);
    expect(plain.leaf(unmarked, 0x80) & 0x300n).toBe(0n);
  });

  test('a guest table that may not be written cannot be marked', () => {
    const { bench, second, host } = nested();
    bench.map(second, 3, host(3), 1);
    expect(bench.frameOf(5, 0x10)).toBe(undefined);
    expect(bench.faults()).toMatchObject([{ reason: FAULT.NESTED_WRITE_DENIED }]);
    // Nothing has to be written where the marks are there.
    bench.put(host(3), 0x10, BigInt(0x80 * 4096 + USER_PAGE + 0x60));
    expect(bench.frameOf(5, 0x10, WRITE | USER)).toBe(host(0x80));
  });
});

describe('global pages', () => {
  /** PASIDs 5 and 6 in domain 1, 7 in domain 2; 5's page 0x10 is global, and nobody else has one. */
  function shared(): UnitBench {
    const bench = new UnitBench().enable();
    bench.map(bench.bind(5, 1), 0x10, DATA, GLOBAL_PAGE);
    bench.bind(6, 1);
    bench.bind(7, 2);
    bench.frameOf(5, 0x10);
    return bench;
  }
  const all = (bench: UnitBench) => [5, 6, 7].map((pasid) => bench.frameOf(pasid, 0x10));

  test('hold for every PASID of their domain', () => {
    expect(all(shared())).toEqual([DATA, DATA, undefined]);
  });

  test.each([
    ['a page of another PASID', (bench: UnitBench) => bench.flushPage(1, 6, 0x10)],
    ['another PASID', (bench: UnitBench) => bench.flushPasid(1, 6)],
  ])('are gone when %s is invalidated', (_, flush) => {
    const bench = shared();
    flush(bench);
    expect(bench.frameOf(6, 0x10)).toBe(undefined);
  });
});

describe('privilege', () => {
  test('of requests without PASID is the context entry’s', () => {
    for (const [privileged, answers] of [
      [0, [undefined, undefined]],
      [1, [DATA, DATA]],
    ] as const) {
      const bench = new UnitBench().enable();
      bench.setContext(RID, { RID_PASID: 5, PASIDE: 1, RID_PRIV: privileged });
      bench.map(bench.bind(5, 1, { SRE: 1 }), 0x10, DATA, 3);
      // A privileged request with the PASID brings the translation into the cache.
      expect(bench.frameOf(5, 0x10, READ)).toBe(DATA);
      expect([bench.frameOf(NO_PASID, 0x10, READ | USER), bench.frameOf(NO_PASID, 0x10, READ)]).toEqual(
        answers,
      );
    }
  });

  test('needs SRE, and execution needs ERE, also where the translation is cached', () => {
    const bench = new UnitBench().enable();
    const fields = { SRE: 1, ERE: 1 };
    bench.map(bench.bind(5, 1, fields), 0x10, DATA);
    for (const rights of [READ, READ | EXECUTE | USER]) expect(bench.frameOf(5, 0x10, rights)).toBe(DATA);
    const root = bench.bind(6, 1);
    bench.map(root, 0x10, DATA);
    bench.frameOf(6, 0x10);
    for (const rights of [READ, READ | EXECUTE | USER])
      expect(bench.frameOf(6, 0x10, rights)).toBe(undefined);
    expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.SRE_CLEAR, FAULT.ERE_CLEAR]);
  });

  test('writes read-only pages where WPE is clear, each time by a walk', () => {
    const bench = new UnitBench().enable();
    bench.map(bench.bind(5, 1, { SRE: 1 }), 0x10, DATA, 1);
    for (let i = 0; i < 2; i++) expect(bench.frameOf(5, 0x10, WRITE)).toBe(DATA);
    bench.map(bench.bind(6, 1, { SRE: 1, WPE: 1 }), 0x10, DATA, 1);
    expect(bench.frameOf(6, 0x10, WRITE)).toBe(undefined);
  });
});

test('marks the extended accessed bit where EAFE says so', () => {
  const bench = new UnitBench().enable();
  const root = bench.bind(5, 1, { EAFE: 1 });
  bench.map(root, 0x10, DATA, USER_PAGE | 0x20);
  bench.frameOf(5, 0x10);
  expect(bench.leaf(root, 0x10)).toBe(BigInt(DATA * 4096 + 0x427));
});

test('a PASID entry that is shared by two functions is cached for each', () => {
  const bench = new UnitBench().enable();
  bench.map(bench.bind(5, 1), 0x10, DATA);
  for (const rid of [RID, OTHER_RID]) bench.frameOf(5, 0x10, READ | USER, rid);
  expect([bench.unit.translator.caches.pasids.used, bench.unit.translator.caches.iotlb.used]).toEqual([2, 1]);
});

test('what may be forgotten is, by choice: one entry of one cache at a time', () => {
  for (const [lost, left] of [
    [0, [1, 1, 1]],
    [1, [1, 1, 0]],
    [2, [1, 0, 1]],
    [3, [0, 1, 1]],
  ] as const) {
    const bench = new UnitBench({ chooser: { choose: () => lost }, caches: { forgets: true } }).enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x10, DATA);
    bench.frameOf(5, 0x10);
    bench.put(1, 0, 0n);
    bench.unmap(root, 0x10);
    const answer = bench.frameOf(5, 0x10);
    const { contexts, pasids, iotlb } = bench.unit.translator.caches;
    expect([contexts.used, pasids.used, iotlb.used]).toEqual(left);
    // With its PASID entry lost the request comes back to the translation, by the directory.
    if (lost === 0) expect(answer).toBe(DATA);
    if (lost === 1 || lost === 3) expect(answer).toBe(undefined);
  }
});

test('the interrupt range is no address of requests without PASID, whatever is cached for it', () => {
  const bench = new UnitBench().enable();
  bench.setContext(RID, { RID_PASID: 5, PASIDE: 1 });
  bench.map(bench.bind(5, 1), 0xfee00, DATA);
  expect([bench.frameOf(5, 0xfee00), bench.frameOf(NO_PASID, 0xfee00)]).toEqual([DATA, undefined]);
  expect(bench.faults()).toMatchObject([{ reason: FAULT.SM_INTERRUPT_ADDRESS }]);
});
