/**
 * The places of a hardware cache: a fixed number of slots, found by hash. Which slot holds what is the owner's
 * part; this keeps the chains, the free slots, and who has to go when the cache is full. Looking up, filling
 * and removing allocate nothing, and all of it can be put back.
 */
import { assert, type Chooser, type Restorable, Words } from '../../base/index.js';

/** No slot. */
export const NONE = -1;

/** Of the state: how many slots are taken, the first free one, how many have ever been taken. */
const USED = 0;
const FREE = 1;
const FRESH = 2;
/** Even, as the number of buckets is: so both words of a slot's link lie in one chunk. */
const HEADS = 4;

/** What a cache is. */
export interface CacheOptions {
  /** Names it in choices: `dmar0 iotlb`. */
  readonly name: string;
  /** How many entries it holds, at least 1. */
  readonly entries: number;
  /** Decides who has to go when it is full. */
  readonly chooser: Chooser;
}

export class Slots implements Restorable {
  readonly entries: number;
  readonly #evicts: string;
  readonly #chooser: Chooser;
  readonly #state: Words;
  /** The state's words, which never move: it does not grow. */
  readonly #words: Int32Array;
  readonly #mask: number;
  /** Of each slot two words: the slot after it in its chain (plus 1), and its bucket (plus 1; 0 if it is free). */
  readonly #links: number;

  constructor({ name, entries, chooser }: CacheOptions) {
    assert(Number.isInteger(entries) && entries >= 1, `${name}: ${entries} entries`);
    this.entries = entries;
    this.#evicts = `${name} evicts`;
    this.#chooser = chooser;
    const buckets = 2 ** Math.ceil(Math.log2(entries) + 1);
    this.#mask = buckets - 1;
    this.#links = HEADS + buckets;
    this.#state = new Words(this.#links + entries * 2, 16);
    this.#words = this.#state.words;
  }

  /** How many slots are taken. */
  get used(): number {
    return this.#words[USED] ?? 0;
  }

  /** The first slot of a hash's chain, or {@link NONE}. Its chain may hold others too. */
  first(hash: number): number {
    return (this.#words[HEADS + (hash & this.#mask)] ?? 0) - 1;
  }

  /** The next slot of a chain, or {@link NONE}. */
  next(slot: number): number {
    return (this.#words[this.#links + slot * 2] ?? 0) - 1;
  }

  /** The first taken slot from `from` on, or {@link NONE}: one after the other, all that are taken. */
  taken(from: number): number {
    const words = this.#words;
    if (words[USED] === 0) return NONE;
    const end = words[FRESH] ?? 0;
    for (let slot = from; slot < end; slot++) if (words[this.#links + slot * 2 + 1] !== 0) return slot;
    return NONE;
  }

  /** The slot that has to go before another can be taken, by choice; {@link NONE} if there is room. */
  victim(): number {
    return this.used < this.entries ? NONE : this.#chooser.choose(this.entries, this.#evicts);
  }

  /** Takes a free slot for a hash; there has to be one. */
  take(hash: number): number {
    const words = this.#words;
    let slot = (words[FREE] ?? 0) - 1;
    if (slot === NONE) {
      slot = words[FRESH] ?? 0;
      this.#state.set(FRESH, slot + 1);
    } else {
      this.#state.set(FREE, words[this.#links + slot * 2] ?? 0);
    }
    this.#state.set(USED, this.used + 1);
    this.#link(slot, hash);
    return slot;
  }

  /** Takes a slot that is taken already for another hash: as giving it back and taking it would, in half the time. */
  move(slot: number, hash: number): void {
    this.#unlink(slot);
    this.#link(slot, hash);
  }

  /** Gives a taken slot back. */
  release(slot: number): void {
    this.#unlink(slot);
    const link = this.#links + slot * 2;
    this.#state.set(link, this.#words[FREE] ?? 0);
    this.#state.set(link + 1, 0);
    this.#state.set(FREE, slot + 1);
    this.#state.set(USED, this.used - 1);
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  /** Puts a slot at the head of a hash's chain. */
  #link(slot: number, hash: number): void {
    const head = HEADS + (hash & this.#mask);
    const link = this.#links + slot * 2;
    this.#state.touch(link);
    this.#state.touch(head);
    const words = this.#words;
    words[link] = words[head] ?? 0;
    words[link + 1] = head - HEADS + 1;
    words[head] = slot + 1;
  }

  /** Takes a slot out of its chain. */
  #unlink(slot: number): void {
    const words = this.#words;
    const link = this.#links + slot * 2;
    let at = HEADS + (words[link + 1] ?? 0) - 1;
    while (words[at] !== slot + 1) at = this.#links + ((words[at] ?? 0) - 1) * 2;
    this.#state.touch(at);
    words[at] = words[link] ?? 0;
  }
}

/** Spreads a key over the buckets. */
export function hash3(a: number, b: number, c: number): number {
  let hash = Math.imul(a, 0x9e37_79b1) ^ Math.imul(b, 0x85eb_ca77);
  hash = Math.imul(hash ^ (hash >>> 15) ^ c, 0x2c1b_3c6d);
  return hash ^ (hash >>> 13);
}
