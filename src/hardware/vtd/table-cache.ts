/**
 * A paging-structure cache: which table the upper entries of a page's way lead to, so that a walk begins lower
 * down (VT-d 4.1, 6.2.5). One serves the first stage (nested: with the frames that the second stage gave to its
 * tables), one the second. Entries are tagged as the IOTLB's, and with their level: 2 for one that leads to a
 * table of level 1, and so on up.
 *
 * Sets of few ways, for a walk without luck asks at each level and then fills each: looking up and filling cost
 * a few comparisons and stores, and allocate nothing. Who has to go from a full set is the run's choice.
 */
import { assert, type Chooser, type Restorable, Words } from '../../base/index.js';
import type { PageSpan } from '../cache/page-cache.js';
import { type CacheOptions, hash3, NONE } from '../cache/slots.js';
import { pagesPerEntry } from '../paging/step.js';

/** The words of an entry. The first is 0 where there is none; else the domain, and its level in bits 3:0. */
const KEY = 0;
const TAG = 1;
/** The page without the bits that choose entries further down, in halves. */
const PREFIX_LO = 2;
const PREFIX_HI = 3;
const FRAME_LO = 4;
/** Bits 19:0 of it; above them the rights, and whether it is a nested one. */
const FRAME_HI = 5;
const ENTRY_WORDS = 8;

const WAYS = 4;
/** Levels of entries, and one: they are 2 to 5. */
const LEVELS = 6;
const LEVEL_BITS = 4;
const LEVEL_MASK = 15;
const HIGH = 0xfffff;
const NESTED = 1 << 24;
const TWO_32 = 2 ** 32;

/** Which entries to remove: those that agree with all that is named. */
export interface TableMatch {
  readonly domain?: number;
  readonly tag?: number;
}

/** The tables that a walk has reached, by their level: their frames, and what the entries that led there grant. */
export interface TableWays {
  readonly frames: Float64Array;
  readonly rights: Int32Array;
}

/** {@link TableWays} to be filled. In arrays: a large frame number in a call or in a field would be allocated. */
export const tableWays = (): TableWays => ({
  frames: new Float64Array(LEVELS),
  rights: new Int32Array(LEVELS),
});

/** An entry, as tests see it. */
export interface TableEntry {
  readonly domain: number;
  readonly tag: number;
  readonly level: number;
  readonly page: number;
  readonly frame: number;
}

export class TableCache implements Restorable {
  readonly entries: number;
  /** The table found last: its level, its frame, and the intersection of the rights of the entries that led there. */
  level = 0;
  frame = 0;
  rights = 0;
  readonly #evicts: string;
  readonly #chooser: Chooser;
  readonly #state: Words;
  readonly #words: Int32Array;
  readonly #setMask: number;
  readonly #ways: number;
  /** The words of a set. */
  readonly #setWords: number;
  /** What the next calls are about: the page in halves, the domain, the tag. */
  #lo = 0;
  #hi = 0;
  #domain = 0;
  #tag = 0;
  /** By level, where an entry was sought and not found: its set, and the part of the page that counts. */
  readonly #missedSet = new Int32Array(LEVELS);
  readonly #missedLo = new Int32Array(LEVELS);
  readonly #missedHi = new Int32Array(LEVELS);

  constructor({ name, entries, chooser }: CacheOptions) {
    assert(Number.isInteger(entries) && entries >= 2, `${name}: ${entries} entries`);
    const sets = 2 ** Math.max(0, Math.floor(Math.log2(entries / WAYS)));
    const ways = Math.floor(entries / sets);
    this.entries = sets * ways;
    this.#evicts = `${name} evicts`;
    this.#chooser = chooser;
    this.#setMask = sets - 1;
    this.#ways = ways;
    this.#setWords = ways * ENTRY_WORDS;
    this.#state = new Words(this.entries * ENTRY_WORDS, ENTRY_WORDS);
    this.#words = this.#state.words;
  }

  /** Names the page that the next calls are about, in halves. */
  seek(low: number, high: number): void {
    this.#lo = low;
    this.#hi = high;
  }

  /** Names the domain, and the PASID or what else keeps its entries apart. */
  within(domain: number, tag: number): void {
    this.#domain = domain;
    this.#tag = tag;
  }

  /**
   * Finds the entry for the page sought that leads furthest down, of those up to level `top`, and tells of it in
   * {@link TableCache.level} and beside it; whether there is one.
   */
  findLowest(top: number): boolean {
    for (let level = 2; level <= top; level++) {
      const at = this.find(level);
      if (at === NONE) continue;
      this.level = level - 1;
      this.frame = this.frameOf(at);
      this.rights = this.rightsOf(at);
      return true;
    }
    return false;
  }

  /** Where the entry of `level` for the page sought is, or {@link NONE}. */
  find(level: number): number {
    const words = this.#words;
    const tag = this.#tag;
    const key = (this.#domain << LEVEL_BITS) | level;
    const shift = 9 * (level - 1);
    const lo = shift < 32 ? (this.#lo >>> shift) | (this.#hi << (32 - shift)) : this.#hi >>> (shift - 32);
    const hi = shift < 32 ? this.#hi >>> shift : 0;
    const set = (hash3(lo, tag, key ^ hi) & this.#setMask) * this.#setWords;
    const end = set + this.#setWords;
    for (let at = set; at < end; at += ENTRY_WORDS) {
      if (
        words[at + KEY] === key &&
        words[at + PREFIX_LO] === lo &&
        words[at + TAG] === tag &&
        words[at + PREFIX_HI] === hi
      ) {
        return at;
      }
    }
    this.#missedSet[level] = set;
    this.#missedLo[level] = lo;
    this.#missedHi[level] = hi;
    return NONE;
  }

  /** The frame of the table that an entry leads to. */
  frameOf(at: number): number {
    const lo = this.#words[at + FRAME_LO] ?? 0;
    const hi = (this.#words[at + FRAME_HI] ?? 0) & HIGH;
    return hi === 0 && lo >= 0 ? lo : hi * TWO_32 + (lo >>> 0);
  }

  /** The intersection of the rights of the entries that led there. */
  rightsOf(at: number): number {
    return ((this.#words[at + FRAME_HI] ?? 0) >>> 20) & 0xf;
  }

  /**
   * Makes the entry of `level` for the page sought, where {@link TableCache.find} has found none: the way to the table
   * one level further down.
   */
  add(level: number, { frames, rights }: TableWays, isNested: boolean): void {
    const words = this.#words;
    const frame = frames[level - 1] ?? 0;
    const set = this.#missedSet[level] ?? 0;
    const end = set + this.#setWords;
    let at = set;
    while (at < end && words[at + KEY] !== 0) at += ENTRY_WORDS;
    if (at === end) at = set + this.#chooser.choose(this.#ways, this.#evicts) * ENTRY_WORDS;
    this.#state.touch(at);
    words[at + KEY] = (this.#domain << LEVEL_BITS) | level;
    words[at + TAG] = this.#tag;
    words[at + PREFIX_LO] = this.#missedLo[level] ?? 0;
    words[at + PREFIX_HI] = this.#missedHi[level] ?? 0;
    words[at + FRAME_LO] = frame | 0;
    words[at + FRAME_HI] = (frame / TWO_32) | ((rights[level - 1] ?? 0) << 20) | (isNested ? NESTED : 0);
  }

  /** Removes what agrees with all that is named; everything if nothing is. */
  remove({ domain, tag }: TableMatch = {}): void {
    for (let at = 0; at < this.entries * ENTRY_WORDS; at += ENTRY_WORDS) {
      const key = this.#words[at + KEY] ?? 0;
      if (key === 0 || (domain !== undefined && key >>> LEVEL_BITS !== domain)) continue;
      if (tag === undefined || this.#words[at + TAG] === tag) this.#state.set(at + KEY, 0);
    }
  }

  /** Removes what went through both stages in a domain. As {@link TableCache.removePages}, allocates nothing. */
  removeNested(domain: number): void {
    for (let at = 0; at < this.entries * ENTRY_WORDS; at += ENTRY_WORDS) {
      if (!this.#isOf(at, domain)) continue;
      if (((this.#words[at + FRAME_HI] ?? 0) & NESTED) !== 0) this.#state.set(at + KEY, 0);
    }
  }

  /** Removes what leads to any of the pages in a domain: of a tag, or of all. */
  removePages(domain: number, tag: number | undefined, run: PageSpan): void {
    for (let at = 0; at < this.entries * ENTRY_WORDS; at += ENTRY_WORDS) {
      if (!this.#isOf(at, domain) || (tag !== undefined && this.#words[at + TAG] !== tag)) continue;
      const first = this.#firstPage(at);
      if (first < run.page + run.pages && run.page < first + this.#pagesOf(at)) this.#state.set(at + KEY, 0);
    }
  }

  /** Shows every entry: for tests and rules. */
  visit(show: (entry: TableEntry) => void): void {
    for (let at = 0; at < this.entries * ENTRY_WORDS; at += ENTRY_WORDS) {
      const key = this.#words[at + KEY] ?? 0;
      if (key === 0) continue;
      const level = key & LEVEL_MASK;
      const domain = key >>> LEVEL_BITS;
      const tag = this.#words[at + TAG] ?? 0;
      show({ domain, tag, level, page: this.#firstPage(at), frame: this.frameOf(at) });
    }
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  #firstPage(at: number): number {
    const prefix = (this.#words[at + PREFIX_HI] ?? 0) * TWO_32 + ((this.#words[at + PREFIX_LO] ?? 0) >>> 0);
    return prefix * this.#pagesOf(at);
  }

  #pagesOf(at: number): number {
    return pagesPerEntry((this.#words[at + KEY] ?? 0) & LEVEL_MASK);
  }

  /** Whether there is an entry, of the domain. */
  #isOf(at: number, domain: number): boolean {
    const key = this.#words[at + KEY] ?? 0;
    return key !== 0 && key >>> LEVEL_BITS === domain;
  }
}
