/**
 * What a VT-d unit's translation costs, through the port that the root complex uses: a hit in the IOTLB, a miss
 * with a walk of four levels (context and PASID entry cached), and the invalidation of one page by descriptor
 * while 100,000 other translations are cached.
 */
import { Bug, firstChooser } from '#src/base/index.js';
import { emptyCompletion, Memory, type MemoryRequest, RIGHT, VtdUnit } from '#src/hardware/index.js';
import {
  encode,
  FIRST_STAGE_ENTRY,
  PASID_IOTLB_INVALIDATION,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
} from '#src/spec/index.js';
import { collectionsIn, type Suite } from './harness.js';

const CAP = (2n << 9n) | (47n << 16n) | (0x22n << 24n) | (18n << 48n) | 6n;
const ECAP = [0, 1, 40, 43, 47, 31].reduce(
  (sum, bit) => sum | (1n << BigInt(bit)),
  (0xfn << 8n) | (19n << 35n),
);
const RID = 0x18;
const PASID = 5;
const DOMAIN = 1;
const [ROOT, CONTEXT, DIRECTORY, PASIDS, QUEUE, TABLES] = [1, 2, 3, 4, 8, 16];
/** Where the mapped pages begin: a process's addresses look like this. */
const FIRST_PAGE = 0x7_f000_0000;
const PAGES = 1 << 17;
const CACHED = 100_000;
const SMALL = 256;
const QUEUE_BYTES = 4096;
const IQT = 0x88;

const memory = new Memory([{ first: 0, last: 0x10_ffff }]);

function put(frame: number, word: number, words: Int32Array): void {
  const at = memory.writable(frame) + word;
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

function newUnit(entries: number): VtdUnit {
  const unit = new VtdUnit({
    ...{ name: 'dmar0', cap: CAP, ecap: ECAP, memory, chooser: firstChooser },
    downstream: { invalidateDeviceTlb: () => {}, pageGroupResponse: () => {}, interrupt: () => {} },
    caches: { iotlb: entries },
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

/** A unit with so many translations cached. */
function warm(entries: number, count: number): VtdUnit {
  const unit = newUnit(entries);
  translate(unit, 0, count);
  return unit;
}

/** Collections of garbage while 10 million requests hit and 2 million miss. */
async function collections(): Promise<number> {
  const [hits, misses] = [warm(1024, SMALL), newUnit(2)];
  const run = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) translate(hits, 0, SMALL);
    for (let i = 0; i < rounds / 5; i++) translate(misses, 0, SMALL);
  };
  run(4000);
  return collectionsIn(() => run(40_000));
}

export const vtd: Suite = {
  name: 'vtd',
  *cases() {
    buildTables();
    const hits = warm(1024, SMALL);
    yield { name: 'IOTLB hit', batch: SMALL, run: () => translate(hits, 0, SMALL), target: 20e6 };
    // Each page is gone again before its turn comes.
    const misses = newUnit(2);
    yield { name: 'IOTLB miss, walk of 4 levels', batch: SMALL, run: () => translate(misses, 0, SMALL) };
    const few = warm(1024, SMALL);
    yield { name: 'invalidate and walk, 256 pages cached', batch: SMALL, run: () => invalidate(few) };
    const many = warm(2 * CACHED, CACHED);
    yield { name: 'the same, 100,000 pages cached', batch: SMALL, run: () => invalidate(many) };
    yield { name: 'collections of garbage', unit: 'in 12 million requests', measure: collections, target: 0 };
  },
};
