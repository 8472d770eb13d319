/** The invalidation queue: what each descriptor does, what is wrong with those that are refused. */
import { describe, expect, test } from 'vitest';
import { CAP, DATA, ECAP, OTHER_RID, RID, STATUS, UnitBench } from '../../../test/vtd/unit-bench.js';
import {
  CONTEXT_CACHE_INVALIDATION,
  DEVICE_TLB_INVALIDATION,
  encode,
  INTERRUPT_ENTRY_CACHE_INVALIDATION,
  INVALIDATION_WAIT,
  IOTLB_INVALIDATION,
  IQEI,
  PAGE_GROUP_RESPONSE,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
} from '../../spec/index.js';

const IQE = 1 << 4;
const ITE = 1 << 6;
const ICE = 1 << 5;
const FSTS = 0x34;
const IQH = 0x80;
const IQER = 0xb0;

/** Two PASIDs in domains 1 and 2, with two pages each; all cached. */
function cached(): UnitBench {
  const bench = new UnitBench().enable();
  for (const [pasid, domain] of [
    [5, 1],
    [6, 1],
    [7, 2],
  ] as const) {
    const root = bench.bind(pasid, domain);
    for (const page of [0x10, 0x20]) bench.map(root, page, DATA + page + pasid);
    for (const page of [0x10, 0x20]) bench.frameOf(pasid, page);
  }
  return bench;
}

/** The translations that are cached, as PASID and page. */
function translations({ unit }: UnitBench): string[] {
  const found: string[] = [];
  unit.translator.caches.iotlb.visit(({ tag, page }) => found.push(`${tag}:${page.toString(16)}`));
  return found.toSorted();
}

function pasids({ unit }: UnitBench): number[] {
  const found: number[] = [];
  unit.translator.caches.pasids.visit((_, pasid) => found.push(pasid));
  return found.toSorted();
}

const ALL = ['5:10', '5:20', '6:10', '6:20', '7:10', '7:20'];

describe('what descriptors remove', () => {
  const iotlb = (fields: Record<string, number>) => encode(IOTLB_INVALIDATION, { TYPE: 2, ...fields });
  const pasidIotlb = (fields: Record<string, number>) =>
    encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, ...fields });

  test.each([
    ['all', iotlb({ G: 1 }), []],
    ['a domain', iotlb({ G: 2, DID: 1 }), ['7:10', '7:20']],
    ['pages of a domain: none of a first stage', iotlb({ G: 3, DID: 1, AM: 18 }), ALL],
    ['a PASID', pasidIotlb({ G: 2, DID: 1, PASID: 5 }), ALL.slice(2)],
    ['a PASID of another domain', pasidIotlb({ G: 2, DID: 2, PASID: 5 }), ALL],
    ['a page of a PASID', pasidIotlb({ G: 3, DID: 1, PASID: 5, ADDR: 0x20 }), ['5:10', ...ALL.slice(2)]],
    ['16 pages of a PASID', pasidIotlb({ G: 3, DID: 1, PASID: 5, ADDR: 0x13, AM: 4 }), ALL.slice(1)],
  ])('%s', (_, descriptor, left) => {
    const bench = cached();
    bench.submit(descriptor);
    expect(translations(bench)).toEqual(left);
    expect(bench.unit.read32(FSTS)).toBe(0);
  });

  test.each([
    ['a domain', { G: 0, DID: 1 }, [7]],
    ['a PASID', { G: 1, DID: 1, PASID: 6 }, [5, 7]],
    ['a PASID of another domain', { G: 1, DID: 2, PASID: 6 }, [5, 6, 7]],
    ['all', { G: 3 }, []],
  ])('of the PASID cache %s', (_, fields, left) => {
    const bench = cached();
    bench.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, ...fields }));
    expect(pasids(bench)).toEqual(left);
  });

  test.each([
    ['all', { G: 1 }, 0],
    ['a domain: in scalable mode all', { G: 2, DID: 9 }, 0],
    ['the device', { G: 3, SID: RID }, 0],
    ['a function of the device', { G: 3, SID: RID + 1 }, 1],
    ['a function of the device, all of whose bits are masked', { G: 3, SID: RID + 7, FM: 3 }, 0],
  ])('of the context cache %s', (_, fields, left) => {
    const bench = cached();
    bench.submit(encode(CONTEXT_CACHE_INVALIDATION, { TYPE: 1, ...fields }));
    expect(bench.unit.translator.caches.contexts.used).toBe(left);
  });
});

describe('descriptors that are refused', () => {
  const reserved = encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 });
  reserved[2] = 1;
  const noDeviceTlb = ECAP & ~(1n << 2n);
  const noRequests = ECAP & ~(1n << 29n);
  const noDrain = ECAP & ~(1n << 42n);

  test.each([
    ['no type', Int32Array.of(0xa), IQEI.DESCRIPTOR_TYPE, {}],
    [
      'interrupt entry cache',
      encode(INTERRUPT_ENTRY_CACHE_INVALIDATION, { TYPE: 4 }),
      IQEI.DESCRIPTOR_TYPE,
      {},
    ],
    ['reserved bits', reserved, IQEI.RESERVED_BITS, {}],
    ['a granularity', encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 2 }), IQEI.RESERVED_BITS, {}],
    ['a mask', encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 3, AM: 19 }), IQEI.RESERVED_BITS, {}],
    ['device TLB', encode(DEVICE_TLB_INVALIDATION, { TYPE: 3 }), IQEI.DESCRIPTOR_TYPE, { ecap: noDeviceTlb }],
    [
      'a physical function',
      encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: RID, PFSID_LOW: RID & 0xf }),
      IQEI.RESERVED_BITS,
      {},
    ],
    [
      'a physical function, with a PASID',
      encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: RID, PFSID_HIGH: 1 }),
      IQEI.RESERVED_BITS,
      {},
    ],
    ['a response', encode(PAGE_GROUP_RESPONSE, { TYPE: 9 }), IQEI.DESCRIPTOR_TYPE, { ecap: noRequests }],
    ['a drain', encode(INVALIDATION_WAIT, { TYPE: 5, PD: 1 }), IQEI.RESERVED_BITS, { ecap: noDrain }],
  ])('%s', (_, descriptor, error, options) => {
    const bench = new UnitBench({ cap: CAP, ...options }).enable();
    bench.submit(descriptor);
    expect([bench.unit.read32(FSTS), bench.unit.read32(IQER), bench.unit.read32(IQH)]).toEqual([
      IQE,
      error,
      0,
    ]);
  });

  test('but not a physical function where invalidations are throttled', () => {
    const bench = new UnitBench({ cap: CAP, ecap: ECAP | (1n << 41n) }).enable();
    bench.submit(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: RID, PFSID_LOW: RID & 0xf }));
    expect(bench.unit.read32(FSTS)).toBe(0);
    expect(bench.unit.read32(IQH)).not.toBe(0);
  });

  test('stop the queue until software has mended and cleared it', () => {
    const bench = new UnitBench().enable();
    bench.submit(Int32Array.of(0xa));
    bench.waitWith(3);
    expect(bench.status).toBe(0);
    bench.putWords(8, 0, encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    bench.unit.write32(FSTS, IQE);
    bench.run();
    expect([bench.status, bench.unit.read32(FSTS), bench.unit.read32(IQER)]).toEqual([3, 0, 0]);
  });

  test('tails that lie between descriptors, or beyond the queue', () => {
    const bench = new UnitBench().enable();
    bench.unit.write32(0x88, 0x10);
    expect(bench.unit.read32(IQER)).toBe(IQEI.TAIL_MISALIGNED);
    const narrow = new UnitBench().enable();
    narrow.unit.write32(0x88, 0x2000);
    expect(narrow.unit.read32(IQER)).toBe(IQEI.TAIL_BEYOND_QUEUE);
  });

  test('descriptors of 32 bytes in a queue of 16, and those for PASIDs in legacy mode', () => {
    const bench = new UnitBench().enable();
    bench.unit.write64(0x90, 8 * 4096, 0);
    bench.putWords(8, 0, encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    bench.unit.write32(0x88, 0x10);
    bench.run();
    expect(bench.unit.read32(IQER)).toBe(IQEI.DESCRIPTOR_WIDTH);
    const legacy = new UnitBench().enable();
    legacy.unit.write64(0x20, 0x1000, 0);
    legacy.command((1 << 30) | (1 << 26));
    legacy.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    expect(legacy.unit.read32(IQER)).toBe(IQEI.TABLE_MODE);
  });
});

describe('waiting', () => {
  const deviceTlb = encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: RID, PASID: 5, S: 1, ADDR: 0x7 });

  test('for device TLBs holds the queue until the function has answered', () => {
    const bench = new UnitBench().enable();
    const [device] = bench.functions;
    if (device === undefined) throw new Error('no function');
    device.answers = false;
    bench.submit(deviceTlb);
    bench.waitWith(1);
    expect(device.invalidations).toEqual([
      { rid: RID, pasid: 5, page: 0, pages: 16, isGlobal: false, itag: 0 },
    ]);
    expect([bench.status, bench.unit.engines.some((engine) => engine.isReady)]).toEqual([0, false]);
    bench.rootComplex.invalidationDone(RID, 0);
    bench.run();
    expect(bench.status).toBe(1);
  });

  test('ends, without status, when the function is taken away; the queue goes on after that is cleared', () => {
    const bench = new UnitBench().enable();
    for (const each of bench.functions) each.answers = false;
    bench.submit(deviceTlb);
    bench.waitWith(1);
    bench.rootComplex.detach(RID);
    expect(bench.unit.read32(IQH)).toBe(0x40);
    bench.waitWith(2);
    expect([bench.status, bench.unit.read32(FSTS), bench.unit.read32(IQER + 4)]).toEqual([0, ITE, RID]);
    bench.unit.write32(FSTS, ITE);
    bench.run();
    expect(bench.status).toBe(2);
  });

  test('drops no wait descriptor that the queue, which stands, has not come to', () => {
    const bench = new UnitBench().enable();
    for (const each of bench.functions) each.answers = false;
    bench.submit(deviceTlb);
    bench.submit(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: OTHER_RID, S: 1, ADDR: 2 ** 52 - 1 }));
    bench.waitWith(1);
    bench.waitWith(2);
    bench.rootComplex.detach(RID);
    expect(bench.unit.read32(IQH)).toBe(0x60);
    bench.rootComplex.detach(OTHER_RID);
    expect([bench.unit.read32(IQH), bench.unit.read32(FSTS)]).toEqual([0x60, ITE]);
    bench.unit.write32(FSTS, ITE);
    bench.run();
    expect(bench.status).toBe(2);
  });

  test('is over at once for a function that is not there, with the time-out told', () => {
    const bench = new UnitBench().enable();
    bench.submit(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: 0x99, S: 1, ADDR: 2 ** 52 - 1 }));
    expect([bench.unit.read32(FSTS), bench.unit.read32(IQER + 4), bench.unit.read32(IQH)]).toEqual([
      ITE,
      0x99,
      0x20,
    ]);
    bench.unit.write32(FSTS, ITE);
    bench.waitWith(1);
    expect(bench.status).toBe(1);
  });

  test('an answer to what was not asked is an error', () => {
    const bench = new UnitBench().enable();
    bench.rootComplex.invalidationDone(RID, 3);
    expect([bench.unit.read32(FSTS), bench.unit.read32(IQER + 4) >>> 16]).toEqual([ICE, RID]);
  });

  test('more than 32 device TLBs wait for each other', () => {
    const bench = new UnitBench().enable();
    for (const each of bench.functions) each.answers = false;
    for (let i = 0; i < 33; i++) bench.submit(deviceTlb);
    expect(bench.functions[0]?.invalidations.length).toBe(32);
    bench.rootComplex.invalidationDone(RID, 7);
    bench.run();
    expect(bench.functions[0]?.invalidations.at(-1)?.itag).toBe(7);
  });

  test('raises its interrupt once until software has seen it, or when it is unmasked', () => {
    const bench = new UnitBench().enable();
    const done = encode(INVALIDATION_WAIT, { TYPE: 5, IF: 1 });
    bench.unit.write32(0xa4, 0x31);
    bench.unit.write32(0xa8, 0xfee01000 | 0);
    bench.submit(done);
    expect([bench.interrupts, bench.unit.read32(0x9c)]).toEqual([[], 1]);
    bench.unit.write32(0xa0, 0);
    expect(bench.interrupts).toEqual([{ address: 0xfee01000, data: 0x31 }]);
    bench.submit(done);
    expect(bench.interrupts.length).toBe(1);
    bench.unit.write32(0x9c, 1);
    bench.submit(done);
    expect(bench.interrupts.length).toBe(2);
  });
});

test.each([
  [0x10, 0, { page: 0x10, pages: 1 }],
  [0x10, 1, { page: 0x10, pages: 2 }],
  [0x11, 1, { page: 0x10, pages: 4 }],
  [0x1ff, 1, { page: 0, pages: 1024 }],
  [2 ** 51 - 1, 1, { page: 0, pages: 2 ** 52 }],
])('a device-TLB invalidation at page %i with S = %i', (page, sized, range) => {
  const bench = new UnitBench().enable();
  bench.submit(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: RID, S: sized, ADDR: page }));
  expect(bench.functions[0]?.invalidations).toMatchObject([{ ...range, pasid: -1, isGlobal: false }]);
});

test('a page-group response reaches the function that it names', () => {
  const bench = new UnitBench().enable();
  bench.submit(encode(PAGE_GROUP_RESPONSE, { TYPE: 9, PP: 1, RC: 1, RID, PASID: 5, LPIG: 1, PRGI: 300 }));
  expect(bench.functions.map(({ responses }) => responses)).toEqual([
    [{ rid: RID, pasid: 5, group: 300, code: 1 }],
    [],
  ]);
});

test('status goes to the doubleword that the wait names', () => {
  const bench = new UnitBench().enable();
  bench.submit(
    encode(INVALIDATION_WAIT, { TYPE: 5, SW: 1, STATUS_DATA: 0xdeadbeef, STATUS_ADDR: (STATUS + 12) / 4 }),
  );
  expect(bench.get(STATUS / 4096, 1)).toBe(0xdeadbeef00000000n);
});

test.each([
  ['a tail beyond the queue', 0x800, 0x1000, 1],
  ['a tail between two wide slots', 0x800, 0x10, 6],
])('%s is an error as long as it is there', (_what, size, tail, information) => {
  const { unit } = new UnitBench().enable();
  unit.write64(0x90, 0x8000 + size, 0);
  for (let i = 0; i < 3; i++) {
    unit.write64(0x88, tail, 0);
    unit.write32(0x34, 0x10);
    expect(unit.engines[0]?.isReady).toBe(true);
    unit.engines[0]?.step();
    expect([unit.read32(0x34) & 0x10, unit.read32(0xb0), unit.engines[0]?.isReady]).toEqual([
      0x10,
      information,
      false,
    ]);
  }
});

test('a head between two slots, after the width has changed, is an error: it would never meet the tail', () => {
  const bench = new UnitBench().enable();
  const { unit } = bench;
  unit.write64(0x90, 0x8000, 0);
  bench.putWords(8, 0, encode(INVALIDATION_WAIT, { TYPE: 5 }));
  unit.write64(0x88, 0x10, 0);
  unit.engines[0]?.step();
  unit.write64(0x90, 0x8800, 0);
  unit.write64(0x88, 0x40, 0);
  unit.engines[0]?.step();
  expect([unit.read32(0x80), unit.read32(0x34) & 0x10, unit.read32(0xb0)]).toEqual([0x10, 0x10, 6]);
});
