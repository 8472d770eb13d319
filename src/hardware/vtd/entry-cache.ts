/**
 * A cache of table entries as they lie in memory: the context cache (by requester) and the PASID cache (by
 * requester and PASID), after VT-d 4.1, 6.2. Beside each entry stand its domain and a summary of what it says,
 * for those who need no more.
 */
import { type Restorable, Words } from '../../base/index.js';
import { type CacheOptions, hash3, NONE, Slots } from '../cache/slots.js';

const RID = 0;
const PASID = 1;
const DOMAIN = 2;
const SUMMARY = 3;
const VALUE = 4;
const ENTRY = 5;

/** What an entry is kept by, and what is said of it. */
export interface EntryTags {
  readonly rid: number;
  readonly pasid: number;
  readonly domain: number;
  /** The owner's: two words. */
  readonly summary: number;
  readonly value: number;
}

/** Which entries to remove: those that agree with all that is named, the RID in all bits but those of `ridMask`. */
export interface EntryMatch {
  readonly rid?: number;
  readonly ridMask?: number;
  readonly pasid?: number;
  readonly domain?: number;
}

export class EntryCache<Apart> implements Restorable {
  /** Holds the entries, at {@link EntryCache.at}. Never replaced. */
  readonly words: Int32Array;
  readonly #slots: Slots;
  readonly #state: Words;
  readonly #entryWords: number;
  readonly #stride: number;
  /** By slot: the entry taken apart, and whether it is: that much follows from the words. */
  readonly #apart: Apart[];
  readonly #isApart: Uint8Array;

  /**
   * @param entryWords words of one entry
   * @param empty makes what a slot's entry is taken apart into
   */
  constructor(options: CacheOptions, entryWords: number, empty: () => Apart) {
    this.#slots = new Slots(options);
    this.#apart = Array.from({ length: options.entries }, empty);
    this.#isApart = new Uint8Array(options.entries);
    this.#entryWords = entryWords;
    this.#stride = ENTRY + entryWords;
    this.#state = new Words(options.entries * this.#stride, 16);
    this.words = this.#state.words;
  }

  /** How many entries it holds. */
  get used(): number {
    return this.#slots.used;
  }

  /** The slot of an entry, or {@link NONE}. */
  find(rid: number, pasid: number): number {
    const { words } = this;
    let slot = this.#slots.first(hash3(pasid, rid, 0));
    for (; slot !== NONE; slot = this.#slots.next(slot)) {
      const at = slot * this.#stride;
      if (words[at + RID] === rid && words[at + PASID] === pasid) return slot;
    }
    return NONE;
  }

  /** Where in {@link EntryCache.words} the entry of a slot lies. */
  at(slot: number): number {
    return slot * this.#stride + ENTRY;
  }

  domainOf(slot: number): number {
    return this.words[slot * this.#stride + DOMAIN] ?? 0;
  }

  summaryOf(slot: number): number {
    return this.words[slot * this.#stride + SUMMARY] ?? 0;
  }

  valueOf(slot: number): number {
    return this.words[slot * this.#stride + VALUE] ?? 0;
  }

  /** Copies the entry at `words[at]` in; it must not be there yet. Its slot. */
  add(tags: EntryTags, words: Int32Array, at: number): number {
    const victim = this.#slots.victim();
    if (victim !== NONE) this.#slots.release(victim);
    const slot = this.#slots.take(hash3(tags.pasid, tags.rid, 0));
    this.#isApart[slot] = 0;
    const to = slot * this.#stride;
    for (let i = 0; i < this.#stride; i += 16) this.#state.touch(to + i);
    this.#state.touch(to + this.#stride - 1);
    this.words[to + RID] = tags.rid;
    this.words[to + PASID] = tags.pasid;
    this.words[to + DOMAIN] = tags.domain;
    this.words[to + SUMMARY] = tags.summary;
    this.words[to + VALUE] = tags.value;
    for (let i = 0; i < this.#entryWords; i++) this.words[to + ENTRY + i] = words[at + i] ?? 0;
    return slot;
  }

  /** The entry of a slot as it was taken apart, if it was. */
  apart(slot: number): Apart | undefined {
    return this.#isApart[slot] === 1 ? this.#apart[slot] : undefined;
  }

  /** Keeps a slot's entry as it was taken apart, in `record`; gives another record in exchange. */
  keepApart(slot: number, record: Apart): Apart {
    const other = this.#apart[slot] ?? record;
    this.#apart[slot] = record;
    this.#isApart[slot] = 1;
    return other;
  }

  removeSlot(slot: number): void {
    this.#slots.release(slot);
  }

  /** Removes what agrees with all that is named; everything if nothing is. */
  remove(match: EntryMatch = {}): void {
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      if (this.#agrees(slot, match)) this.#slots.release(slot);
    }
  }

  /** Shows each entry's tags, in the order of the slots: for tests and rules. */
  visit(show: (rid: number, pasid: number, domain: number) => void): void {
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      const at = slot * this.#stride;
      show(this.words[at + RID] ?? 0, this.words[at + PASID] ?? 0, this.words[at + DOMAIN] ?? 0);
    }
  }

  mark(): void {
    this.#slots.mark();
    this.#state.mark();
  }

  restore(): void {
    this.#slots.restore();
    this.#state.restore();
    this.#isApart.fill(0);
  }

  #agrees(slot: number, { rid, ridMask = 0, pasid, domain }: EntryMatch): boolean {
    const at = slot * this.#stride;
    const other = rid === undefined ? 0 : (rid ^ (this.words[at + RID] ?? 0)) & ~ridMask;
    return (
      other === 0 &&
      (pasid === undefined || this.words[at + PASID] === pasid) &&
      (domain === undefined || this.words[at + DOMAIN] === domain)
    );
  }
}
