/**
 * What a VT-d unit's translation costs, through the port that the root complex uses: a hit in the IOTLB; a miss
 * with a walk of four levels, and with a nested one; the invalidation of one page by descriptor while 100,000 other
 * translations are cached, of a first stage and of a second (which took 1.4 ms while all of the cache was looked
 * through for nested entries of the domain); and the memory of 4096 domains with 1000 PASIDs.
 *
 * Nested misses go through 64 K pages of 256 PASIDs; the IOTLB of two entries has none of them, the context cache
 * and the PASID cache have all that is asked. Without paging-structure caches that is 24 reads: 4 tables of the first
 * stage, each behind 4 of the second, and 4 more for the page. With the ways cached it is the two leaves. PASID after
 * PASID the tables lie in the caches of the machine that runs this; with PASIDs mixed they come from further off.
 *
 * Lost, of a nested miss of 24 reads that takes 490 ns: frame numbers by multiplication, which the engine keeps in
 * floating point from then on, and an entry judged field by field (970 ns); a walk in two classes, one derived from the
 * other (550 to 670 ns).
 * And of one of 2 reads that takes 125 ns: the walk that can stop at every entry, begun at the leaves (300 ns); leaves
 * read by functions that look for the way first (200 ns), for where the way is often not known, the engine takes all
 * that comes after it for rare, and calls it instead of making it a part.
 */
import { Bug, firstChooser } from '#src/base/index.js';
import {
  BLOCK_BYTES,
  type CacheSizes,
  DeviceTables,
  emptyCompletion,
  Memory,
  type MemoryRequest,
  RIGHT,
  VtdUnit,
  Walk,
} from '#src/hardware/index.js';
import {
  encode,
  FIRST_STAGE_ENTRY,
  IOTLB_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
  SECOND_STAGE_ENTRY,
} from '#src/spec/index.js';
import { collectionsIn, type Suite } from './harness.js';

const CAP = (2n << 9n) | (47n << 16n) | (0x22n << 24n) | (18n << 48n) | 6n;
const ECAP = [0, 1, 26, 31, 40, 43, 46, 47].reduce(
  (sum, bit) => sum | (1n << BigInt(bit)),
  (0xfn << 8n) | (19n << 35n),
);
const RID = 0x18;
const PASID = 5;
const DOMAIN = 1;
const [ROOT, CONTEXT, DIRECTORY, PASIDS, QUEUE, TABLES] = [1, 2, 3, 4, 8, 16];
/** Frames of the PASID tables of nested PASIDs, by their place in the directory. */
const DIRECTORY_TABLES = 0x1_f000;
/** Where the mapped pages begin: a process's addresses look like this. */
const FIRST_PAGE = 0x7_f000_0000;
const PAGES = 1 << 17;
/** A page of a guest, or of a process, within 47 bits. */
const FIRST_GUEST_PAGE = 0x4_0010;
const CACHED = 100_000;
const SMALL = 256;
const QUEUE_BYTES = 4096;
/** Of a descriptor: short ones leave the upper half zero. */
const SLOT_BYTES = 32;
const IQT = 0x88;
const IQH = 0x80;
const FSTS = 0x34;

const memory = new Memory([{ first: 0, last: 0x1f_ffff }]);

function put(frame: number, word: number, words: Int32Array): void {
  const at = memory.writable(frame, word);
  memory.words.set(words, at);
}

/** A first-stage entry, its marks already there. */
const entry = (frame: number): Int32Array =>
  encode(FIRST_STAGE_ENTRY, { P: 1, RW: 1, US: 1, A: 1, D: 1, ADDR: frame });

function buildTables(): void {
  put(ROOT, 0, Int32Array.of(CONTEXT * 4096 + 1, 0));
  put(CONTEXT, RID * 8, encode(SCALABLE_CONTEXT_ENTRY, { P: 1, PASIDE: 1, PASIDDIRPTR: DIRECTORY }));
  put(DIRECTORY, 0, Int32Array.of(PASIDS * 4096 + 1, 0));
  const space = { P: 1, PGTT: PGTT.FIRST_STAGE, DID: DOMAIN, FSPTPTR: TABLES };
  put(PASIDS, PASID * 16, encode(PASID_TABLE_ENTRY, space));
  put(TABLES, Math.floor(FIRST_PAGE / 2 ** 27) * 2, entry(TABLES + 1));
  put(TABLES + 1, (Math.floor(FIRST_PAGE / 2 ** 18) % 512) * 2, entry(TABLES + 2));
  for (let page = 0; page < PAGES; page++) {
    const table = TABLES + 3 + (page >> 9);
    if (page % 512 === 0) put(TABLES + 2, (page >> 9) * 2, entry(table));
    put(table, (page % 512) * 2, entry(0x8_0000 + page));
  }
}

function newUnit(entries: number, sizes: CacheSizes = {}, of = memory): VtdUnit {
  const unit = new VtdUnit({
    ...{ name: 'dmar0', cap: CAP, ecap: ECAP, memory: of, chooser: firstChooser },
    downstream: { invalidateDeviceTlb: () => {}, pageGroupResponse: () => {}, interrupt: () => {} },
    caches: { iotlb: entries, ...sizes },
  });
  unit.write64(0x20, ROOT * 4096 + 0x400, 0);
  unit.write64(0x90, QUEUE * 4096 + 0x800, 0);
  unit.write32(0x18, (1 << 30) | (1 << 26) | (1 << 31));
  return unit;
}

const request: MemoryRequest = {
  ...{ rid: RID, pasid: PASID, page: 0, rights: RIGHT.WRITE | RIGHT.USER },
  ...{ isTranslated: false, offset: 0, length: 64 },
};
const out = emptyCompletion();

/** Nested: PASIDs from here on, a domain each, whose tables lie at these guest-physical frames. */
const NESTED_PASIDS = 256;
const FIRST_NESTED = 64;
const NESTED_PAGES = 256;
const NESTED_TABLES = 0x2_0000;
const GUEST_ROOT = 0x4_0000;
const HOST_OF_GUEST = 0x4_0000;

const second = (frame: number): Int32Array => encode(SECOND_STAGE_ENTRY, { R: 1, W: 1, ADDR: frame });

/** A second-stage way to a guest's frame through the tables from `root` on; one of them is at `table`. */
function mapGuest(root: number, guest: number, next: () => number): void {
  let table = root;
  for (let level = 4; level > 1; level--) {
    const word = (Math.floor(guest / 512 ** (level - 1)) % 512) * 2;
    const at = memory.at(table, word);
    let below = SECOND_STAGE_ENTRY.ADDR.get(memory.words, at);
    if (below === 0) {
      below = next();
      put(table, word, second(below));
    }
    table = below;
  }
  put(table, (guest % 512) * 2, second(guest + HOST_OF_GUEST));
}

/** 256 PASIDs, each with four levels of tables of its own in both stages, and 256 pages. */
function buildNested(): void {
  let free = NESTED_TABLES;
  const next = (): number => free++;
  for (let i = 0; i < NESTED_PASIDS; i++) {
    const pasid = FIRST_NESTED + i;
    if (pasid % 64 === 0)
      put(DIRECTORY, (pasid >> 6) * 2, Int32Array.of((DIRECTORY_TABLES + (pasid >> 6)) * 4096 + 1, 0));
    // A guest's tables and data, each 1 GiB apart, so that no way of the second stage serves two of them.
    const guest = (level: number): number => GUEST_ROOT * level + i * 5 + level;
    const root = next();
    for (let level = 4; level >= 1; level--) mapGuest(root, guest(level), next);
    const space = { P: 1, PGTT: PGTT.NESTED, AW: 2, DID: 2 + i, FSPTPTR: guest(4), SSPTPTR: root };
    put(DIRECTORY_TABLES + (pasid >> 6), (pasid & 63) * 16, encode(PASID_TABLE_ENTRY, space));
    const host = (level: number): number => guest(level) + HOST_OF_GUEST;
    put(host(4), Math.floor(FIRST_PAGE / 2 ** 27) * 2, entry(guest(3)));
    put(host(3), (Math.floor(FIRST_PAGE / 2 ** 18) % 512) * 2, entry(guest(2)));
    put(host(2), 0, entry(guest(1)));
    for (let page = 0; page < NESTED_PAGES; page++) {
      const target = GUEST_ROOT * 5 + page;
      mapGuest(root, target, next);
      put(host(1), page * 2, entry(target));
    }
  }
}

/** Translates a page of a nested PASID. */
function translateNested(unit: VtdUnit, pasid: number, page: number): void {
  request.pasid = FIRST_NESTED + pasid;
  request.page = FIRST_PAGE + page;
  if (!unit.remap(request, out)) throw new Bug(`page ${page} of PASID ${request.pasid} is refused`);
}

/** That a walk reads 24 paging entries, whichever PASID and page it is of. */
function checkReads(): void {
  const walk = new Walk(memory, ROOT, new DeviceTables(newUnit(2).format, true));
  for (let i = 0; i < NESTED_PASIDS; i++) {
    // The one request of all cases: another shape of it would make the engine keep its page another way.
    request.pasid = FIRST_NESTED + i;
    request.page = FIRST_PAGE + i;
    walk.begin(request);
    let reads = 0;
    for (; walk.stage !== 'done'; walk.step()) if (walk.stage.endsWith('stage')) reads++;
    if (reads !== 24) throw new Bug(`${reads} reads`);
  }
  request.pasid = PASID;
}

/** A run through the pages of all PASIDs, 256 a call: of one PASID after the other, or each time one of each. */
function nestedMisses(unit: VtdUnit, order: 'in turn' | 'mixed'): () => void {
  let round = 0;
  const run = (): void => {
    for (let i = 0; i < NESTED_PAGES; i++) {
      if (order === 'mixed') translateNested(unit, i, round);
      else translateNested(unit, round, i);
    }
    round = (round + 1) % NESTED_PASIDS;
    request.pasid = PASID;
  };
  for (let i = 0; i < NESTED_PASIDS; i++) run();
  return run;
}

/** Translates `count` pages, from `first` on. */
function translate(unit: VtdUnit, first: number, count: number): void {
  for (let page = first; page < first + count; page++) {
    request.page = FIRST_PAGE + page;
    if (!unit.remap(request, out)) throw new Bug(`page ${page} is refused`);
  }
}

/** Invalidates the first pages by descriptors, and translates each anew. */
function invalidate(unit: VtdUnit): void {
  for (const [page, descriptor] of descriptors.entries()) {
    const tail = unit.read32(IQT);
    put(QUEUE, tail / 4, descriptor);
    unit.write32(IQT, (tail + descriptor.byteLength) % QUEUE_BYTES);
    for (const engine of unit.engines) while (engine.isReady) engine.step();
    translate(unit, page, 1);
  }
}

const descriptors = Array.from({ length: SMALL }, (_, page) =>
  encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 3, DID: DOMAIN, PASID, ADDR: FIRST_PAGE + page }),
);

/** Pages of a second stage that this many descriptors name, of a domain with nothing nested. */
const secondStage = Array.from({ length: SMALL }, (_, page) =>
  encode(IOTLB_INVALIDATION, { TYPE: 2, G: 3, DID: DOMAIN, ADDR: FIRST_PAGE + page }),
);

/** Puts descriptors into the queue, word by word, and lets the unit take each: nothing here allocates. */
function submit(unit: VtdUnit, list: readonly Int32Array[]): void {
  const [engine] = unit.engines;
  for (let i = 0; i < list.length; i++) {
    const tail = unit.read32(IQT);
    const at = memory.writable(QUEUE, tail / 4);
    for (let word = 0; word < SLOT_BYTES / 4; word++) memory.words[at + word] = list[i]?.[word] ?? 0;
    unit.write32(IQT, (tail + SLOT_BYTES) % QUEUE_BYTES);
    while (engine?.isReady === true) engine.step();
  }
  if (unit.read32(FSTS) !== 0 || unit.read32(IQH) !== unit.read32(IQT)) throw new Bug('the queue stands');
}

/** A unit with so many translations cached. */
function warm(entries: number, count: number): VtdUnit {
  const unit = newUnit(entries);
  translate(unit, 0, count);
  return unit;
}

/** The same, and a nested translation of another domain. */
function warmNested(count: number): VtdUnit {
  const unit = warm(2 * count, count);
  translateNested(unit, 0, 0);
  request.pasid = PASID;
  return unit;
}

/** Collections of garbage while 384,000 pages of a first stage, and as many of a second, are invalidated. */
async function invalidationCollections(): Promise<number> {
  const unit = warmNested(CACHED);
  const run = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) {
      submit(unit, descriptors);
      submit(unit, secondStage);
    }
  };
  run(200);
  return collectionsIn(() => run(1500));
}

/** Collections of garbage while 10 million requests hit, 2 million miss, and half a million walk through 24 entries. */
async function collections(): Promise<number> {
  const [hits, misses] = [warm(1024, SMALL), newUnit(2)];
  const walks = nestedMisses(newUnit(2, { pasid: 2 * NESTED_PASIDS, pagingStructures: 0 }), 'in turn');
  const run = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) translate(hits, 0, SMALL);
    for (let i = 0; i < rounds / 5; i++) translate(misses, 0, SMALL);
    for (let i = 0; i < rounds / 20; i++) walks();
  };
  run(4000);
  return collectionsIn(() => run(40_000));
}

const DOMAINS = 4096;
const PASIDS_IN_USE = 1000;

/**
 * What a machine takes, in MiB, that has 4096 domains of a second stage (one page each, in four levels of tables),
 * one requester after the other, and 1000 PASIDs of a first stage with one page each, all of them used once.
 */
function footprint(): number {
  const taken = (): number => {
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = taken();
  const machine = new Memory([{ first: 0, last: 0x1f_ffff }]);
  let free = 0x100;
  const store = (frame: number, word: number, words: Int32Array): void => {
    const at = machine.writable(frame, word);
    machine.words.set(words, at);
  };
  /** Four levels of tables for one page; the root. */
  const tables = (of: (frame: number) => Int32Array): number => {
    const root = free;
    for (let level = 4; level >= 1; level--) {
      const index = (Math.floor(FIRST_GUEST_PAGE / 512 ** (level - 1)) % 512) * 2;
      store(free, index, of(level === 1 ? 0x10_0000 : free + 1));
      free++;
    }
    return root;
  };
  for (const frame of [DIRECTORY, DIRECTORY + 1]) store(frame, 0, new Int32Array(2));
  for (let bus = 0; bus < DOMAINS / 256; bus++) {
    const [low, high] = [0x20 + bus * 2, 0x21 + bus * 2];
    store(ROOT, bus * 4, Int32Array.of(low * 4096 + 1, 0, high * 4096 + 1, 0));
    for (let devfn = 0; devfn < 256; devfn++) {
      const context = { P: 1, PASIDE: 1, PASIDDIRPTR: free };
      store(devfn < 128 ? low : high, (devfn % 128) * 8, encode(SCALABLE_CONTEXT_ENTRY, context));
      store(free, 0, Int32Array.of((free + 1) * 4096 + 1, 0));
      const table = free + 1;
      free += 2;
      const domain = bus * 256 + devfn;
      const space = { P: 1, PGTT: PGTT.SECOND_STAGE, AW: 2, DID: domain + 1, SSPTPTR: tables(second) };
      store(table, 0, encode(PASID_TABLE_ENTRY, space));
      if (domain >= PASIDS_IN_USE) continue;
      const process = { P: 1, PGTT: PGTT.FIRST_STAGE, DID: 0x8000, FSPTPTR: tables(entry) };
      store(table, (domain % 63) * 16 + 16, encode(PASID_TABLE_ENTRY, process));
    }
  }
  const unit = newUnit(2 * DOMAINS, { context: DOMAINS, pasid: 2 * DOMAINS, pagingStructures: 64 }, machine);
  for (let rid = 0; rid < DOMAINS; rid++) {
    request.rid = rid;
    request.page = FIRST_GUEST_PAGE;
    request.pasid = 0;
    if (!unit.remap(request, out)) throw new Bug(`domain ${rid} is refused: ${unit.translator.fault}`);
    request.pasid = (rid % 63) + 1;
    if (rid < PASIDS_IN_USE && !unit.remap(request, out)) throw new Bug(`PASID of ${rid} is refused`);
  }
  Object.assign(request, { rid: RID, pasid: PASID });
  // Room of the arena that nothing was written to is address space, and no memory.
  const unused = machine.words.byteLength - (machine.writtenBlocks + 1) * BLOCK_BYTES;
  const mib = (taken() - before - unused) / 2 ** 20;
  if (unit.translator.caches.iotlb.used === 0 || machine.writtenBlocks === 0)
    throw new Bug('nothing was used');
  return mib;
}

export const vtd: Suite = {
  name: 'vtd',
  *cases() {
    buildTables();
    const hits = warm(1024, SMALL);
    yield { name: 'IOTLB hit', batch: SMALL, run: () => translate(hits, 0, SMALL), target: 20e6 };
    // Each page is gone again before its turn comes.
    const misses = newUnit(2);
    const uncached = newUnit(2, { pagingStructures: 0 });
    yield {
      name: 'IOTLB miss, walk of 4 levels, no other caches',
      batch: SMALL,
      run: () => translate(uncached, 0, SMALL),
    };
    yield { name: 'IOTLB miss, walk of 4 levels', batch: SMALL, run: () => translate(misses, 0, SMALL) };
    buildNested();
    checkReads();
    const pasid = NESTED_PASIDS * 2;
    const nested = (pagingStructures: number): VtdUnit => newUnit(2, { pasid, pagingStructures });
    const cold = 'nested miss of 24 reads, nothing cached of the way';
    const inTurn = nestedMisses(nested(0), 'in turn');
    yield { name: cold, batch: NESTED_PAGES, run: inTurn, target: 1.5e6 };
    const mixed = nestedMisses(nested(0), 'mixed');
    yield { name: `${cold}, PASIDs mixed`, batch: NESTED_PAGES, run: mixed, target: 1.5e6 };
    const takingIn = nestedMisses(nested(2), 'mixed');
    yield { name: 'the same, and the caches take the way in', batch: NESTED_PAGES, run: takingIn };
    const kept = nestedMisses(nested(32), 'in turn');
    yield { name: 'nested miss of 2 reads, the way cached', batch: NESTED_PAGES, run: kept, target: 5e6 };
    const few = warm(1024, SMALL);
    yield { name: 'invalidate and walk, 256 pages cached', batch: SMALL, run: () => invalidate(few) };
    const many = warm(2 * CACHED, CACHED);
    yield { name: 'the same, 100,000 pages cached', batch: SMALL, run: () => invalidate(many) };
    for (const count of [1000, CACHED]) {
      const unit = warmNested(count);
      const name = `invalidate a page of a second stage, ${count} and a nested one of another domain cached`;
      yield { name, batch: SMALL, run: () => submit(unit, secondStage) };
    }
    yield {
      name: 'collections of garbage while pages are invalidated',
      unit: 'in 768,000 invalidations',
      measure: invalidationCollections,
      target: 0,
    };
    yield {
      name: 'collections of garbage',
      unit: 'in 12.5 million requests',
      measure: collections,
      target: 0,
    };
    yield {
      name: '4096 domains, 1000 PASIDs, 28,000 tables',
      unit: 'MiB',
      measure: footprint,
    };
  },
};
