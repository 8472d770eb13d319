/**
 * Which ids are free, for the policy `lowest`: a bit an id, and above it three levels in which a bit says
 * whether the 32 below have one set. The lowest free id of a range is found in seven reads, and taking or
 * giving one writes one word of each level, whatever is in use: how full the space is changes which words,
 * never how many.
 */
import { type Restorable, Words } from '../../base/index.js';

/** What an allocation policy keeps: the ids that are free, and which of them comes first. */
export interface FreeIds extends Restorable {
  /** The id of `min` to `max`, both inclusive, that is next to be handed out; -1 if none is free. */
  first(min: number, max: number): number;
  isFree(id: number): boolean;
  /** Takes a free id. */
  take(id: number): void;
  /** Gives an id back. */
  give(id: number): void;
}

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word);

export class FreeBitmap implements FreeIds {
  readonly #bits: Words;
  /** Where each level begins: the ids' own bits at 0, then a thirty-second of them each time. */
  readonly #level1: number;
  readonly #level2: number;
  readonly #level3: number;

  /** @param capacity ids 1 to `capacity` - 1 are free at first; at most 2^20 */
  constructor(capacity: number) {
    const size0 = Math.ceil(capacity / 32);
    const size1 = Math.ceil(size0 / 32);
    const size2 = Math.ceil(size1 / 32);
    this.#level1 = size0;
    this.#level2 = size0 + size1;
    this.#level3 = size0 + size1 + size2;
    this.#bits = new Words(this.#level3 + 1, 16);
    const { words } = this.#bits;
    let bits = capacity;
    for (const [at, size] of [
      [0, size0],
      [this.#level1, size1],
      [this.#level2, size2],
      [this.#level3, 1],
    ] as const) {
      words.fill(-1, at, at + size);
      if ((bits & 31) !== 0) words[at + size - 1] = (1 << (bits & 31)) - 1;
      bits = size;
    }
    this.#put(0, 0);
  }

  first(min: number, max: number): number {
    const words = this.#bits.words;
    const at0 = min >>> 5;
    const at1 = min >>> 10;
    const at2 = min >>> 15;
    // Up: what is free from `min` on in its own word, then to the right of it in each level.
    const own = (words[at0] ?? 0) & (-1 << (min & 31));
    const right1 = (words[this.#level1 + at1] ?? 0) & (-2 << (at0 & 31));
    const right2 = (words[this.#level2 + at2] ?? 0) & (-2 << (at1 & 31));
    const right3 = (words[this.#level3] ?? 0) & (-2 << (at2 & 31));
    if ((own | right1 | right2 | right3) === 0) return -1;
    // Down: a level that is still on the way to `min` keeps to it, one past it takes the lowest bit. Every
    // level is read either way.
    const found2 = (own | right1 | right2) !== 0 ? at2 : lowestBit(right3);
    const below2 = words[this.#level2 + found2] ?? 0;
    const found1 = (own | right1) !== 0 ? at1 : found2 * 32 + lowestBit(right2 !== 0 ? right2 : below2);
    const below1 = words[this.#level1 + found1] ?? 0;
    const found0 = own !== 0 ? at0 : found1 * 32 + lowestBit(right1 !== 0 ? right1 : below1);
    const below0 = words[found0] ?? 0;
    const id = found0 * 32 + lowestBit(own !== 0 ? own : below0);
    return id <= max ? id : -1;
  }

  isFree(id: number): boolean {
    return (((this.#bits.words[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1;
  }

  take(id: number): void {
    this.#put(id, 0);
  }

  give(id: number): void {
    this.#put(id, 1);
  }

  get dirtyChunks(): number {
    return this.#bits.dirtyChunks;
  }

  mark(): void {
    this.#bits.mark();
  }

  restore(): void {
    this.#bits.restore();
  }

  /** The words, for the test that counts how many of them a call reads and writes. */
  get words(): Words {
    return this.#bits;
  }

  #put(id: number, free: 0 | 1): void {
    const any0 = this.#bit(id >>> 5, id & 31, free);
    const any1 = this.#bit(this.#level1 + (id >>> 10), (id >>> 5) & 31, any0);
    const any2 = this.#bit(this.#level2 + (id >>> 15), (id >>> 10) & 31, any1);
    this.#bit(this.#level3, id >>> 15, any2);
  }

  /** Sets one bit; whether its word then has any. */
  #bit(index: number, bit: number, value: 0 | 1): 0 | 1 {
    const bits = this.#bits;
    bits.touch(index);
    const word = ((bits.words[index] ?? 0) & ~(1 << bit)) | (value << bit);
    bits.words[index] = word;
    return word === 0 ? 0 : 1;
  }
}
