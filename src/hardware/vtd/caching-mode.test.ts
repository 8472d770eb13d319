/** What a unit in caching mode remembers of what was not there, and until when. */
import { describe, expect, test } from 'vitest';
import { CAP, DATA, UnitBench } from '../../../test/vtd/unit-bench.js';
import { encode, FAULT, IOTLB_INVALIDATION, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import { NO_PASID } from './request.js';

const { READ, WRITE, USER } = RIGHT;
const SECOND = 3;
const PAGE = 0x10;
const CM = 1n << 7n;

const benchOf = (cap: bigint, forgets = false): UnitBench =>
  new UnitBench({ cap, caches: { forgets }, chooser: { choose: (n) => (n === 2 ? 1 : 0) } }).enable();

/** A first-stage, second-stage or nested PASID 5 in domain 1, whose page is mapped once it was asked for. */
function missed(kind: number, cap: bigint, forgets = false): { bench: UnitBench; before: unknown } {
  const bench = benchOf(cap, forgets);
  const first = bench.newTable();
  const second = bench.newTable();
  for (let frame = 0; frame < 0x30; frame++) bench.map(second, frame, frame, SECOND);
  const fields = { P: 1, PGTT: kind, DID: 1, AW: 2, FSPTPTR: first, SSPTPTR: second };
  bench.setPasid(5, fields);
  const page = kind === PGTT.SECOND_STAGE ? 0x60 : PAGE;
  const before = bench.frameOf(5, page);
  if (kind === PGTT.SECOND_STAGE) bench.map(second, 0x60, DATA, SECOND);
  else bench.map(first, page, kind === PGTT.NESTED ? 0x20 : DATA);
  return { bench, before };
}

describe.each([
  ['first stage', PGTT.FIRST_STAGE, PAGE, DATA],
  ['second stage', PGTT.SECOND_STAGE, 0x60, DATA],
  ['nested', PGTT.NESTED, PAGE, 0x20],
] as const)('a page that was not present: %s', (_, kind, page, frame) => {
  test('is found at once without caching mode', () => {
    const { bench, before } = missed(kind, CAP);
    expect([before, bench.frameOf(5, page)]).toEqual([undefined, frame]);
  });

  test('with it, one of a second stage is not found until it is invalidated; absent first stages are not cached', () => {
    const { bench } = missed(kind, CAP | CM);
    if (kind === PGTT.SECOND_STAGE) {
      expect(bench.frameOf(5, page)).toBe(undefined);
      const [first, second] = bench.faults();
      expect(second).toEqual(first);
      bench.submit(encode(IOTLB_INVALIDATION, { TYPE: 2, G: 3, DID: 1, ADDR: page }));
    }
    expect(bench.frameOf(5, page)).toBe(frame);
  });

  test('may be found, where the unit may forget', () => {
    const { bench } = missed(kind, CAP | CM, true);
    expect(bench.frameOf(5, page)).toBe(frame);
  });
});

test('a page of the legacy mode that is not present: the reason follows the request', () => {
  const bench = new UnitBench({ cap: CAP | CM });
  const root = bench.newTable();
  bench.put(1, 0, BigInt(2 * 4096 + 1));
  bench.putWords(2, 0x18 * 4, Int32Array.of(root * 4096 + 1, 0, 2 | (1 << 8), 0));
  bench.unit.write64(0x20, 4096, 0);
  bench.command((1 << 31) | (1 << 30));
  for (const rights of [READ | USER, WRITE | USER]) bench.frameOf(NO_PASID, PAGE, rights);
  expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.READ_DENIED, FAULT.WRITE_DENIED]);
  bench.map(root, PAGE, DATA, SECOND);
  expect(bench.frameOf(NO_PASID, PAGE)).toBe(undefined);
});

test('a page that may be read and not written is no fault of its entry', () => {
  const bench = benchOf(CAP | CM);
  const root = bench.newTable();
  bench.map(root, PAGE, DATA, 1);
  bench.setPasid(5, { P: 1, PGTT: PGTT.SECOND_STAGE, DID: 1, AW: 2, SSPTPTR: root });
  expect(bench.frameOf(5, PAGE, WRITE | USER)).toBe(undefined);
  expect(bench.frameOf(5, PAGE)).toBe(DATA);
});

test.each([
  ['without caching mode', CAP, DATA],
  ['with it', CAP | CM, undefined],
])('a PASID that was not present, %s', (_, cap, frame) => {
  const bench = benchOf(cap);
  bench.bind(6, 1);
  expect(bench.frameOf(5, PAGE)).toBe(undefined);
  bench.map(bench.bind(5, 1), PAGE, DATA);
  expect(bench.frameOf(5, PAGE)).toBe(frame);
  // Tagged with domain 0, which nobody else has.
  bench.flushPasid(0, 5);
  expect(bench.frameOf(5, PAGE)).toBe(DATA);
});
