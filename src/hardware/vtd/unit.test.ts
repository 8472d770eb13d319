/** A unit as a whole: what its caches keep, what invalidations remove, what faults say. */
import { describe, expect, test } from 'vitest';
import { DATA, OTHER_RID, RID, UnitBench } from '../../../test/vtd/unit-bench.js';
import { FAULT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';

const READ = RIGHT.READ | RIGHT.USER;
const WRITE = RIGHT.WRITE | RIGHT.USER;

describe('translation', () => {
  test('leads a page to its frame, and says what is not there, once', () => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x7f123, DATA);
    expect(bench.frameOf(5, 0x7f123)).toBe(DATA);
    expect(bench.frameOf(5, 0x7f123)).toBe(DATA);
    expect(bench.faults()).toEqual([]);
    expect(bench.frameOf(5, 0x7f124)).toBe(undefined);
    expect(bench.frameOf(6, 0x7f123)).toBe(undefined);
    expect(bench.faults()).toEqual([
      { rid: RID, reason: FAULT.FIRST_STAGE_NOT_PRESENT, page: 0x7f124, pasid: 5 },
      { rid: RID, reason: FAULT.PASID_NOT_PRESENT, page: 0x7f123, pasid: 6 },
    ]);
  });

  test('is tagged by domain and PASID, not by requester', () => {
    const bench = new UnitBench().enable();
    bench.map(bench.bind(5, 1), 0x10, DATA);
    expect(bench.frameOf(5, 0x10)).toBe(DATA);
    // The other function's way to its PASID entry is its own, the translation is not.
    bench.map(bench.bind(5, 1), 0x10, DATA + 1);
    expect(bench.frameOf(5, 0x10, READ, OTHER_RID)).toBe(DATA);
    bench.setPasid(5, {});
    expect(bench.frameOf(5, 0x10, READ, OTHER_RID)).toBe(DATA);
  });

  test('marks entries accessed, and dirty at the first write, also after a read has been cached', () => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x10, DATA);
    bench.frameOf(5, 0x10, READ);
    expect(bench.leaf(root, 0x10)).toBe(BigInt(DATA * 4096 + 0x27));
    bench.frameOf(5, 0x10, WRITE);
    expect(bench.leaf(root, 0x10)).toBe(BigInt(DATA * 4096 + 0x67));
    expect(bench.get(root, 0) & 0x60n).toBe(0x20n);
  });
});

describe('invalidation', () => {
  test('of a page removes that page alone', () => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    for (const page of [0x10, 0x11]) bench.map(root, page, DATA + page);
    for (const page of [0x10, 0x11]) bench.frameOf(5, page);
    for (const page of [0x10, 0x11]) bench.unmap(root, page);
    bench.flushPage(1, 5, 0x10);
    expect(bench.frameOf(5, 0x10)).toBe(undefined);
    expect(bench.frameOf(5, 0x11)).toBe(DATA + 0x11);
  });

  test('of a PASID leaves those of others', () => {
    const bench = new UnitBench().enable();
    for (const pasid of [5, 6]) bench.map(bench.bind(pasid, 1), 0x10, DATA + pasid);
    for (const pasid of [5, 6]) bench.frameOf(pasid, 0x10);
    for (const pasid of [5, 6]) bench.unbind(pasid);
    bench.flushPasid(1, 5);
    bench.waitWith(7);
    expect(bench.status).toBe(7);
    expect([bench.frameOf(5, 0x10), bench.frameOf(6, 0x10)]).toEqual([undefined, DATA + 6]);
  });
});
