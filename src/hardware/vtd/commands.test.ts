/** Commands by register: the global command's status, and invalidations without a queue. */
import { describe, expect, test } from 'vitest';
import { CAP, DATA, ECAP, RID, UnitBench } from '../../../test/vtd/unit-bench.js';
import { IOTLB_GRANULARITY } from '../../spec/index.js';
import { NO_PASID } from './request.js';

const GSTS = 0x1c;
const [TE, SRTP, WBF, QIE, IRE, SIRTP] = [31, 30, 27, 26, 25, 24].map((bit) => 1 << bit) as [
  ...[number, number, number],
  ...[number, number, number],
];

describe('the global command', () => {
  test('is done, and says so', () => {
    const { unit } = new UnitBench();
    unit.write64(0x20, 0x1400, 0);
    const seen = [SRTP, QIE, QIE | WBF, TE | QIE, TE, 0].map((command) => {
      unit.write32(0x18, command);
      return unit.read32(GSTS);
    });
    expect(seen).toEqual([SRTP, SRTP | QIE, SRTP | QIE, TE | SRTP | QIE, TE | SRTP, SRTP]);
    expect(unit.read32(0x18)).toBe(0);
  });

  test('has no interrupt remapping, nor a queue that is not advertised', () => {
    const { unit } = new UnitBench({ ecap: ECAP & ~2n });
    unit.write32(0x18, IRE | SIRTP | QIE);
    unit.write64(0x90, 0x8000, 0);
    expect([unit.read32(GSTS), unit.read32(0x90)]).toEqual([0, 0]);
  });

  test('the queue begins at its start again when it is switched off', () => {
    const bench = new UnitBench().enable();
    bench.waitWith(1);
    const before = bench.unit.read32(0x80);
    bench.command(TE);
    expect([before, bench.unit.read32(0x80)]).toEqual([32, 0]);
  });

  test('a root table is used from the command on, not from when its address is written', () => {
    const bench = new UnitBench().enable();
    bench.map(bench.bind(5, 1), 0x10, DATA);
    bench.unit.write64(0x20, 0x7400, 0);
    expect(bench.frameOf(5, 0x10)).toBe(DATA);
    bench.command(TE | SRTP | QIE);
    // What is cached stays.
    expect([bench.frameOf(5, 0x10), bench.frameOf(5, 0x11)]).toEqual([DATA, undefined]);
    expect(bench.unit.translator.caches.contexts.used).toBe(1);
  });

  test('a root table drops all that is cached where ESRTPS says so', () => {
    const bench = new UnitBench({ cap: CAP | (1n << 63n) }).enable();
    bench.map(bench.bind(5, 1), 0x10, DATA);
    bench.frameOf(5, 0x10);
    bench.command(TE | SRTP | QIE);
    const { contexts, pasids, iotlb } = bench.unit.translator.caches;
    expect([contexts.used, pasids.used, iotlb.used]).toEqual([0, 0, 0]);
  });
});

/** A machine in legacy mode: two domains with page 0x10 and the 2 MiB page that begins at 0x200. */
function legacy(): UnitBench {
  const bench = new UnitBench();
  bench.put(1, 0, 0x2001n);
  for (const [index, { rid }] of bench.functions.entries()) {
    const root = bench.newTable();
    bench.put(2, rid * 2, BigInt(root * 4096 + 1));
    bench.put(2, rid * 2 + 1, BigInt(((index + 1) << 8) | 2));
    bench.map(root, 0x10, DATA + index, 3);
    bench.map(root, 0x200, 0xa00, 0x83, 2);
  }
  bench.unit.write64(0x20, 0x1000, 0);
  bench.command(SRTP | TE);
  for (const { rid } of bench.functions)
    for (const page of [0x10, 0x210]) bench.frameOf(NO_PASID, page, 3, rid);
  return bench;
}

function cached({ unit }: UnitBench): string[] {
  const found: string[] = [];
  unit.translator.caches.iotlb.visit(({ space, page }) => {
    found.push(`${space}:${page.toString(16)}`);
  });
  return found.toSorted();
}

describe('invalidation by register, in legacy mode', () => {
  const IOTLB = 0xf8;
  const IVA = 0xf0;

  test('translations are cached by domain, and by size', () => {
    const bench = legacy();
    expect(cached(bench)).toEqual(['1:10', '1:200', '2:10', '2:200']);
    expect([bench.frameOf(NO_PASID, 0x10, 3), bench.frameOf(NO_PASID, 0x3ff, 3)]).toEqual([DATA, 0xbff]);
    expect(bench.faults()).toEqual([]);
  });

  test.each([
    ['all', { granularity: IOTLB_GRANULARITY.GLOBAL, domain: 1, address: 0 }, []],
    ['a domain', { granularity: IOTLB_GRANULARITY.DOMAIN, domain: 2, address: 0 }, ['1:10', '1:200']],
    [
      'a page',
      { granularity: IOTLB_GRANULARITY.PAGE, domain: 1, address: 0x10000 },
      ['1:200', '2:10', '2:200'],
    ],
    [
      'pages within a large one',
      { granularity: IOTLB_GRANULARITY.PAGE, domain: 1, address: 0x210004 },
      ['1:10', '2:10', '2:200'],
    ],
  ])('of %s', (_, { granularity, domain, address }, left) => {
    const bench = legacy();
    bench.unit.write64(IVA, address, 0);
    bench.unit.write64(IOTLB, 0, (1 << 31) | (granularity << 28) | domain);
    expect(cached(bench)).toEqual(left);
    expect(bench.unit.read32(IOTLB + 4) >>> 25).toBe((granularity << 3) | granularity);
  });

  test.each([
    ['all', 1 << 29, 0, 0],
    ['a domain', 2 << 29, 1, 1],
    ['a device', 3 << 29, RID << 16, 1],
    ['a device, of all functions', (3 << 29) | 3, (RID + 3) << 16, 1],
    ['another device', 3 << 29, 0x100 << 16, 2],
  ])('of the context entries of %s', (_, high, low, left) => {
    const bench = legacy();
    bench.unit.write64(0x28, low, (1 << 31) | high);
    expect(bench.unit.translator.caches.contexts.used).toBe(left);
    const asked = (high >>> 29) & 3;
    expect(bench.unit.read32(0x2c) >>> 27).toBe((asked << 2) | asked);
  });
});

test('caching mode keeps entries that are not present, under domain 0', () => {
  for (const [cap, answers] of [
    [CAP | (1n << 7n), [undefined, DATA]],
    [CAP, [DATA, DATA]],
  ] as const) {
    const bench = new UnitBench({ cap }).enable();
    // The table that holds PASID 5's entry is there, with another's.
    bench.bind(6, 1);
    bench.frameOf(5, 0x10);
    bench.map(bench.bind(5, 1), 0x10, DATA);
    const before = bench.frameOf(5, 0x10);
    bench.flushPasid(0, 5);
    expect([before, bench.frameOf(5, 0x10)]).toEqual(answers);
  }
});

test('so it does with context entries', () => {
  const bench = new UnitBench({ cap: CAP | (1n << 7n) }).enable();
  bench.setContext(RID, { P: 0 });
  bench.map(bench.bind(5, 1), 0x10, DATA);
  bench.frameOf(5, 0x10);
  bench.setContext(RID, { PASIDE: 1 });
  expect(bench.frameOf(5, 0x10)).toBe(undefined);
  bench.unit.write64(0x28, RID << 16, (1 << 31) | (3 << 29));
  expect(bench.frameOf(5, 0x10)).toBe(DATA);
});

test('registers have 4 and 8 bytes: other accesses are lost', () => {
  const { unit } = new UnitBench().enable();
  unit.write512();
  const out = new Int32Array(2);
  unit.read64(8, out);
  expect([unit.enqueue(), out[0]]).toEqual([false, Number(BigInt.asIntN(32, CAP))]);
});
