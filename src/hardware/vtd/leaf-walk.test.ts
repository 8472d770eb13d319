/** A walk of leaves alone: what it does, what it leaves to the other walk, and that nobody can tell the two apart. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ContextFields, RID, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { MemoryRequest } from '../pci/ports.js';
import { emptyCompletion } from '../pci/root-complex.js';
import { LeafWalk } from './leaf-walk.js';
import { NO_PASID } from './request.js';
import { FOUND } from './unit-caches.js';

const { READ, WRITE, EXECUTE, USER } = RIGHT;
const PAGE = 0x10;
/** Accessed and dirty, as the first stage and the second have them. */
const MARKED = 0x60;
const MARKED_SECOND = 0x300;
const GLOBAL = 0x100;
const EXTENDED = 0x400;
/** Bit 51: beyond the width of the unit's addresses. */
const RESERVED = 1n << 51n;
const XD = 1n << 63n;
/** The guest's frame n lies at this one and n; its tables are 0 to 3, and the page asked for lies far from them. */
const HOST = 0x400;
const GUEST_PAGE = 0x281;
/** Where a process of the host has its last table. */
const PAGE_TABLE = HOST + 3;

interface Leaves {
  readonly isNested?: boolean;
  /** The low bits, beside the address, of the leaf of the first stage and of that of the second. */
  readonly first?: bigint;
  readonly second?: bigint;
  /** Those of the entries that lead to the tables of these. */
  readonly firstWay?: bigint;
  readonly secondWay?: bigint;
  readonly fields?: Readonly<Record<string, number>>;
  readonly pasid?: number;
  readonly context?: ContextFields;
  readonly pagingStructures?: number;
}

const FIRST = BigInt(USER_PAGE | MARKED);
const SECOND = BigInt(3 | MARKED_SECOND);

/** A PASID, one page of which was translated; the page after it has these leaves. */
function known({ pasid = 5, context = {}, pagingStructures = 32, ...leaves }: Leaves) {
  const { isNested = true, first = FIRST, second = SECOND, fields = {} } = leaves;
  const { firstWay = FIRST, secondWay = SECOND } = leaves;
  const bench = new UnitBench({ caches: { pagingStructures } }).enable();
  bench.setContext(RID, { PASIDE: 1, ...context });
  const root = bench.newTable();
  const host = isNested ? 0 : HOST;
  for (const guest of [0, 1, 2, 3, GUEST_PAGE - 1]) bench.map(root, guest, guest + HOST, Number(SECOND));
  const at = bench.tableOf(root, GUEST_PAGE, 1);
  bench.put(bench.tableOf(root, GUEST_PAGE, 2), GUEST_PAGE >> 9, BigInt(at * 4096) | secondWay);
  bench.put(at, GUEST_PAGE % 512, BigInt((GUEST_PAGE + HOST) * 4096) | second);
  for (const guest of [0, 1, 2]) {
    const bits = (guest === 2 ? firstWay : FIRST) | BigInt(EXTENDED);
    bench.put(guest + HOST, 0, BigInt((guest + 1 + host) * 4096) | bits);
  }
  bench.put(PAGE_TABLE, PAGE, BigInt((GUEST_PAGE - 1 + host) * 4096) | FIRST | BigInt(EXTENDED));
  bench.put(PAGE_TABLE, PAGE + 1, BigInt((GUEST_PAGE + host) * 4096) | first);
  const space = isNested
    ? { PGTT: PGTT.NESTED, AW: 2, SSPTPTR: root, FSPTPTR: 0 }
    : { PGTT: PGTT.FIRST_STAGE, FSPTPTR: HOST };
  bench.setPasid(pasid, { P: 1, DID: 1, PWSNP: 1, ...space, ...fields });
  expect(bench.frameOf(pasid, PAGE)).toBe(GUEST_PAGE - 1 + HOST);
  const read = (): bigint[] => [bench.get(PAGE_TABLE, PAGE + 1), bench.get(at, GUEST_PAGE % 512)];
  return { bench, read };
}

/** What a walk of leaves alone makes of a request for the page after; undefined for nothing. */
function byLeaves({ bench }: { bench: UnitBench }, fields: Partial<MemoryRequest> = {}) {
  const { caches } = bench.unit.translator;
  const { firstTables: first, secondTables: second } = caches;
  if (first === undefined || second === undefined) throw new Error('no paging-structure caches');
  const { memory, unit } = bench;
  const walk = new LeafWalk({ format: unit.format, memory, caches, first, second });
  const out = emptyCompletion();
  const request = bench.request({ pasid: 5, page: PAGE + 1, ...fields });
  expect(caches.lookUp(request, out)).toBe(FOUND.SPACE);
  const used = caches.iotlb.used;
  const isDone = walk.run(request, out);
  expect(caches.iotlb.used).toBe(used + (isDone ? 1 : 0));
  return isDone ? { frame: out.frame, rights: out.rights } : undefined;
}

test.each<[string, Leaves, Partial<MemoryRequest>, number]>([
  ['a nested page', {}, {}, READ | WRITE | USER],
  ['one of a first stage', { isNested: false }, {}, READ | WRITE | USER],
  ['a write', {}, { rights: READ | WRITE | USER }, READ | WRITE | USER],
  ['a page that only the second stage has for reading', { second: SECOND & ~2n }, {}, READ | USER],
  ['a page of the first stage for reading', { first: FIRST & ~2n }, {}, READ | USER],
  ['a page whose way grants less', { firstWay: FIRST & ~2n }, {}, READ | USER],
  ['one whose way through the second stage does', { secondWay: 1n }, {}, READ | USER],
  ['a read of a page that is not dirty', { first: FIRST & ~0x40n }, {}, READ | WRITE | USER],
])('%s is translated', (_, leaves, request, rights) => {
  expect(byLeaves(known(leaves), request)).toEqual({ frame: GUEST_PAGE + HOST, rights });
});

const write = { rights: WRITE | USER };

test.each<[string, Leaves, Partial<MemoryRequest>]>([
  ['a way that is not known', {}, { page: PAGE + 512 }],
  ['an address that is not canonical', {}, { page: 2 ** 40 }],
  ['a page that is not there', { first: 0n }, {}],
  ['a write to what is to be read', { first: FIRST & ~2n }, write],
  ['a reserved bit', { first: FIRST | RESERVED }, {}],
  ['a page where interrupts are', { isNested: false, first: FIRST | 0xfee0_0000n }, {}],
  ['a global page', { first: FIRST | BigInt(GLOBAL) }, {}],
  ['a page never used', { first: FIRST & ~0x20n }, {}],
  ['a page never written', { first: FIRST & ~0x40n }, write],
  ['a page that no IOMMU has used', { fields: { EAFE: 1 } }, {}],
  ['a write where the way is to be read', { firstWay: FIRST & ~2n }, write],
  ['a write where the way through the second stage is', { secondWay: 1n }, write],
  ['a page that the second stage has not', { second: 0n }, {}],
  ['a write to what the second stage lets be read', { second: SECOND & ~2n }, write],
  ['a reserved bit of the second stage', { second: SECOND | RESERVED }, {}],
  ['a page that the second stage has never seen used', { second: 3n, fields: { SSADE: 1 } }, {}],
  ['nor written', { second: SECOND & ~0x200n, fields: { SSADE: 1 } }, write],
])('%s is left to the other walk', (_, leaves, request) => {
  expect(byLeaves(known(leaves), request)).toBe(undefined);
});

test('so is a request without a PASID', () => {
  const { bench } = known({ context: { RID_PASID: 5 } });
  expect(byLeaves({ bench }, { pasid: NO_PASID })).toBe(undefined);
});

test('so is a PASID that the directory has no more', () => {
  const pasid = 9000;
  const { bench } = known({ pasid, context: { PDTS: 1 } });
  expect(byLeaves({ bench }, { pasid })).toBeDefined();
  bench.setContext(RID, { PASIDE: 1 });
  bench.unit.translator.invalidateContexts();
  bench.unit.translator.caches.iotlb.removeAll();
  // Any PASID takes the context entry in.
  expect(bench.frameOf(5, PAGE)).toBe(undefined);
  expect(byLeaves({ bench }, { pasid })).toBe(undefined);
});

/** Some of these bits. */
const someOf = (...bits: bigint[]): fc.Arbitrary<bigint> =>
  fc.subarray(bits).map((some) => some.reduce((sum, bit) => sum | bit, 0n));
/** Bits that are mostly there. */
const mostOf = (...bits: bigint[]): fc.Arbitrary<bigint> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(bits.reduce((sum, bit) => sum | bit, 0n)) }, someOf(...bits));
const join = (...parts: fc.Arbitrary<bigint>[]): fc.Arbitrary<bigint> =>
  fc.tuple(...parts).map((all) => all.reduce((sum, each) => sum | each, 0n));
const rarely = (bit: bigint): fc.Arbitrary<bigint> =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(0n) }, fc.constant(bit));
const flag = fc.integer({ min: 0, max: 1 });

const aCase = fc.record({
  isNested: fc.boolean(),
  first: join(mostOf(1n, 2n, 4n, 0x20n, 0x40n, 0x400n), rarely(0x100n), rarely(XD), rarely(RESERVED)),
  second: join(mostOf(1n, 2n, 4n, 0x100n, 0x200n), rarely(RESERVED)),
  firstWay: join(fc.constant(5n), mostOf(2n, 0x20n)),
  secondWay: join(fc.constant(1n), mostOf(2n, 4n, 0x100n)),
  fields: fc.record({ SSADE: flag, EAFE: flag, SRE: flag, WPE: flag, ERE: flag }),
});
const someRights = fc
  .constantFrom(READ, WRITE, READ | WRITE, READ | EXECUTE)
  .chain((rights) => fc.constantFrom(rights, rights | USER));

test('a unit without paging-structure caches, which never walks so, does the same', () => {
  fc.assert(
    fc.property(aCase, fc.array(someRights, { minLength: 1, maxLength: 3 }), (leaves, requests) => {
      const [short, long] = [known(leaves), known({ ...leaves, pagingStructures: 0 })].map((of) => {
        const out = emptyCompletion();
        const answers = requests.map((rights) => {
          const request = of.bench.request({ pasid: 5, page: PAGE + 1, rights });
          return of.bench.unit.remap(request, out) ? { ...out } : of.bench.faults();
        });
        const cached: unknown[] = [];
        of.bench.unit.translator.caches.iotlb.visit((entry) => cached.push(entry));
        return { answers, cached, leaves: of.read() };
      });
      expect(short).toEqual(long);
    }),
    { numRuns: 1000 },
  );
});
