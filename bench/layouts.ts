/**
 * What a field's accessors cost, against hand-written shifts and masks that do the same work; and what the
 * designs cost that lost. All go over the same PASID-table entries. An operation is one field.
 *
 * In nanoseconds a field, on Node 20: read 0.25 (by hand 0.23), write 0.36 (0.37), a frame number read 0.80
 * (0.81), written 1.16 (1.40). Lost: fields reached through an imported object 0.78, `bigint` masks 7.3, and
 * accessors whose state is in `#private` names 1.15: the compiler's output gives those `undefined` first and
 * their value second, and the engine folds only what is stored once.
 */
import { Bug } from '#src/base/index.js';
import { PASID_TABLE_ENTRY } from '#src/spec/index.js';
import type { Figure, Rate, Suite } from './harness.js';

const { P, AW, PGTT, DID, SRE, FSPM, SSPTPTR, FSPTPTR } = PASID_TABLE_ENTRY;

const ENTRIES = 1024;
const WORDS = PASID_TABLE_ENTRY.bytes / 4;
const NARROW = 6;
const WIDE = 2;

/** Entries with something in each field. */
const words = new Int32Array(ENTRIES * WORDS).map((_, i) => Math.imul(i + 1, 0x9e3779b1) & 0x7fff_ffff);
/** As many `bigint`s as make a quarter of that: they are slow. */
const quads = new BigUint64Array(words.buffer.slice(0, words.byteLength / 4));
const scratch = words.slice();

/** Each field with a load of its own: an operation is a field, as for the accessors. */
function readByHand(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) {
    sum += ((words[at] ?? 0) & 1) + (((words[at] ?? 0) >>> 2) & 7) + (((words[at] ?? 0) >>> 6) & 7);
    sum += ((words[at + 2] ?? 0) & 0xffff) + ((words[at + 4] ?? 0) & 1) + (((words[at + 4] ?? 0) >>> 2) & 3);
  }
  return sum;
}

function readByField(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) {
    sum += P.get(words, at) + AW.get(words, at) + PGTT.get(words, at);
    sum += DID.get(words, at) + SRE.get(words, at) + FSPM.get(words, at);
  }
  return sum;
}

function readByImportedObject(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) {
    sum += PASID_TABLE_ENTRY.P.get(words, at) + PASID_TABLE_ENTRY.AW.get(words, at);
    sum += PASID_TABLE_ENTRY.PGTT.get(words, at) + PASID_TABLE_ENTRY.DID.get(words, at);
    sum += PASID_TABLE_ENTRY.SRE.get(words, at) + PASID_TABLE_ENTRY.FSPM.get(words, at);
  }
  return sum;
}

/** An accessor with private names: the design that `layout.ts` had at first. */
class PrivateField {
  readonly #word: number;
  readonly #shift: number;
  readonly #mask: number;

  constructor({ low, width }: { readonly low: number; readonly width: number }) {
    this.#word = low >> 5;
    this.#shift = low % 32;
    this.#mask = 2 ** width - 1;
  }

  get(from: Int32Array, at: number): number {
    return ((from[at + this.#word] ?? 0) >>> this.#shift) & this.#mask;
  }
}

const PRIVATE = {
  P: new PrivateField(P),
  AW: new PrivateField(AW),
  PGTT: new PrivateField(PGTT),
  DID: new PrivateField(DID),
  SRE: new PrivateField(SRE),
  FSPM: new PrivateField(FSPM),
};

function readByPrivateField(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) {
    sum += PRIVATE.P.get(words, at) + PRIVATE.AW.get(words, at) + PRIVATE.PGTT.get(words, at);
    sum += PRIVATE.DID.get(words, at) + PRIVATE.SRE.get(words, at) + PRIVATE.FSPM.get(words, at);
  }
  return sum;
}

function readByBigint(): number {
  let sum = 0n;
  for (let at = 0; at < quads.length; at += WORDS / 2) {
    const first = quads[at] ?? 0n;
    const third = quads[at + 2] ?? 0n;
    sum += (first & 1n) + ((first >> 2n) & 7n) + ((first >> 6n) & 7n);
    sum += ((quads[at + 1] ?? 0n) & 0xffffn) + (third & 1n) + ((third >> 2n) & 3n);
  }
  return Number(sum);
}

/** Frame numbers of 52 bits, as plain numbers. */
function readWideByHand(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) {
    sum += ((words[at + 1] ?? 0) >>> 0) * 0x10_0000 + ((words[at] ?? 0) >>> 12);
    sum += ((words[at + 5] ?? 0) >>> 0) * 0x10_0000 + ((words[at + 4] ?? 0) >>> 12);
  }
  return sum;
}

function readWideByField(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += WORDS) sum += SSPTPTR.get(words, at) + FSPTPTR.get(words, at);
  return sum;
}

/** A store by hand, with the check that the accessors have. */
function storeByHand(at: number, shift: number, mask: number, value: number): void {
  if ((value & mask) !== value) throw new Bug(`${value} does not fit`);
  scratch[at] = ((scratch[at] ?? 0) & ~(mask << shift)) | (value << shift);
}

function writeByHand(): number {
  for (let at = 0; at < scratch.length; at += WORDS) {
    const value = at >> 4;
    storeByHand(at, 0, 1, value & 1);
    storeByHand(at, 2, 7, value & 7);
    storeByHand(at, 6, 7, value & 7);
    storeByHand(at + 2, 0, 0xffff, value);
    storeByHand(at + 4, 0, 1, value & 1);
    storeByHand(at + 4, 2, 3, value & 3);
  }
  return scratch[0] ?? 0;
}

function writeByField(): number {
  for (let at = 0; at < scratch.length; at += WORDS) {
    const value = at >> 4;
    P.set(scratch, at, value & 1);
    AW.set(scratch, at, value & 7);
    PGTT.set(scratch, at, value & 7);
    DID.set(scratch, at, value);
    SRE.set(scratch, at, value & 1);
    FSPM.set(scratch, at, value & 3);
  }
  return scratch[0] ?? 0;
}

/** A store of a frame number by hand, with the check that the accessors have. */
function storeFrameByHand(at: number, value: number): void {
  if (!(value >= 0 && value < 2 ** 52 && Number.isInteger(value))) throw new Bug(`${value} does not fit`);
  scratch[at] = ((scratch[at] ?? 0) & 0xfff) | ((value % 0x10_0000) << 12);
  scratch[at + 1] = value / 0x10_0000;
}

function writeWideByHand(): number {
  for (let at = 0; at < scratch.length; at += WORDS) {
    storeFrameByHand(at, 0x10_0000 + at);
    storeFrameByHand(at + 4, at);
  }
  return scratch[0] ?? 0;
}

function writeWideByField(): number {
  for (let at = 0; at < scratch.length; at += WORDS) {
    SSPTPTR.set(scratch, at, 0x10_0000 + at);
    FSPTPTR.set(scratch, at, at);
  }
  return scratch[0] ?? 0;
}

/** Runs of both, in turn, whose ratio is taken pair by pair: the machine's speed may drift, it drifts for both. */
const PAIRS = 401;

/** How much longer the accessors take than code by hand that does the same, in per cent: the median of pairs. */
function overhead(accessor: () => number, byHand: () => number): number {
  const time = (run: () => number): number => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < 20; i++) run();
    return Number(process.hrtime.bigint() - start);
  };
  const ratios = Array.from({ length: PAIRS }, () => time(accessor) / time(byHand)).sort((a, b) => a - b);
  return ((ratios[PAIRS >> 1] ?? 1) - 1) * 100;
}

const against = (name: string, accessor: () => number, byHand: () => number): Figure => ({
  name: `${name}: accessors over hand-written code`,
  unit: '%',
  measure: () => overhead(accessor, byHand),
  target: 10,
});

const fields = (name: string, batch: number, run: () => number): Rate => ({ name, batch, run });

/** Layouts: each design beside the hand-written code that it is measured against. */
export const layouts: Suite = {
  name: 'layouts',
  cases: function* () {
    yield against('read a field', readByField, readByHand);
    yield against('read a frame number', readWideByField, readWideByHand);
    yield against('write a field', writeByField, writeByHand);
    yield against('write a frame number', writeWideByField, writeWideByHand);
    yield fields('read a field: by hand', ENTRIES * NARROW, readByHand);
    yield fields('read a field: accessor', ENTRIES * NARROW, readByField);
    yield fields('read a field: of an imported object (lost)', ENTRIES * NARROW, readByImportedObject);
    yield fields('read a field: with private names (lost)', ENTRIES * NARROW, readByPrivateField);
    yield fields('read a field: bigint masks (lost)', (ENTRIES / 4) * NARROW, readByBigint);
    yield fields('read a frame number: accessor', ENTRIES * WIDE, readWideByField);
    yield fields('write a field: accessor', ENTRIES * NARROW, writeByField);
    yield fields('write a frame number: accessor', ENTRIES * WIDE, writeWideByField);
  },
};
