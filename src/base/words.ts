/**
 * An array of 32-bit words that can be put back to a marked point in time proportional to what changed since:
 * each chunk is copied aside before its first change. This is what simulated memory and the tables of the
 * IOASID core are made of.
 */
import { assert, Bug } from './bug.js';

/** Whatever can be put back to the point last marked. */
export interface Restorable {
  /** Remembers the present state; the state marked before is forgotten. */
  mark(): void;
  /** Goes back to the marked state, which stays marked. A `Bug` if nothing was marked. */
  restore(): void;
}

/** What chunks are at first, and what needs no copy, is 0: room for chunks to come need not be filled. */
const UNSAVED = 1;
/** Up to so many words a loop is faster than the engine's copy, which needs a view. */
const LOOPED = 32;

export class Words implements Restorable {
  /**
   * The words, and the room behind them. Read freely; before a store to `words[i]` call {@link Words.touch}. Replaced
   * by {@link Words.grow}.
   */
  words: Int32Array;
  #length: number;
  readonly #chunkShift: number;
  /** Per chunk: `UNSAVED` while it needs a copy before it changes; none of them does before the first mark. */
  #unsaved: Uint8Array;
  #log = new Int32Array(0);
  #dirty = new Int32Array(16);
  #dirtyCount = 0;
  #marked = false;
  #markedLength = 0;

  /**
   * @param length words at first, all zero
   * @param chunkWords words a chunk, a power of two: small where changes are scattered
   */
  constructor(length: number, chunkWords = 64) {
    this.#chunkShift = 31 - Math.clz32(chunkWords);
    assert(1 << this.#chunkShift === chunkWords, `a chunk of ${chunkWords} words`);
    this.words = new Int32Array(this.#roundUp(length));
    this.#length = this.words.length;
    this.#unsaved = new Uint8Array(this.words.length >> this.#chunkShift);
  }

  get length(): number {
    return this.#length;
  }

  /** To be called before any word of the chunk of `index` changes. A `Bug` if there is no such word. */
  touch(index: number): void {
    if (this.#unsaved[index >> this.#chunkShift] !== 0) this.#save(index >> this.#chunkShift);
  }

  /** Stores one word: `value`'s low 32 bits. */
  set(index: number, value: number): void {
    this.touch(index);
    this.words[index] = value;
  }

  /**
   * Makes room for at least `length` words, and no more than its chunks need: who grows little by little asks
   * for twice as many. New words are zero; none moves to another index. The length is room, not state: a restore
   * clears words that came after the mark, and keeps them.
   *
   * @param room how many to make room for, where more will come: they cost nothing until they do, and move nothing then
   */
  grow(length: number, room = length): void {
    if (length <= this.#length) return;
    this.#length = this.#roundUp(length);
    if (length <= this.words.length) return;
    const words = new Int32Array(this.#roundUp(room));
    words.set(this.words);
    this.words = words;
    const unsaved = new Uint8Array(words.length >> this.#chunkShift);
    unsaved.set(this.#unsaved);
    this.#unsaved = unsaved;
  }

  mark(): void {
    for (let i = 0; i < this.#dirtyCount; i++) this.#unsaved[this.#dirty[i] ?? 0] = UNSAVED;
    this.#marked = true;
    this.#markRest();
  }

  restore(): void {
    assert(this.#marked, 'restore without a mark');
    const size = 1 << this.#chunkShift;
    for (let i = 0; i < this.#dirtyCount; i++) {
      const chunk = this.#dirty[i] ?? 0;
      copy(this.#log, i * size, this.words, chunk * size, size);
      this.#unsaved[chunk] = UNSAVED;
    }
    if (this.#length > this.#markedLength) this.words.fill(0, this.#markedLength, this.#length);
    this.#markRest();
  }

  /** How many chunks have changed, or may have, since the mark. */
  get dirtyChunks(): number {
    return this.#dirtyCount;
  }

  /** What lies beyond the marked length belongs to the mark from now on: it is not cleared word by word again. */
  #markRest(): void {
    this.#dirtyCount = 0;
    if (this.#length === this.#markedLength) return;
    this.#unsaved.fill(UNSAVED, this.#markedLength >> this.#chunkShift, this.#length >> this.#chunkShift);
    this.#markedLength = this.#length;
  }

  #save(chunk: number): void {
    if (this.#unsaved[chunk] === undefined) throw new Bug(`chunk ${chunk} of ${this.#unsaved.length}`);
    const size = 1 << this.#chunkShift;
    if (this.#dirtyCount === this.#dirty.length) this.#dirty = enlarged(this.#dirty, this.#dirtyCount * 2);
    const end = (this.#dirtyCount + 1) * size;
    if (end > this.#log.length) this.#log = enlarged(this.#log, Math.max(end * 2, 16 * size));
    copy(this.words, chunk * size, this.#log, this.#dirtyCount * size, size);
    this.#dirty[this.#dirtyCount++] = chunk;
    this.#unsaved[chunk] = 0;
  }

  #roundUp(length: number): number {
    const size = 1 << this.#chunkShift;
    return Math.ceil(length / size) * size;
  }
}

function enlarged(from: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const to = new Int32Array(length);
  to.set(from);
  return to;
}

function copy(from: Int32Array, first: number, to: Int32Array, at: number, count: number): void {
  if (count > LOOPED) {
    to.set(from.subarray(first, first + count), at);
    return;
  }
  for (let i = 0; i < count; i++) to[at + i] = from[first + i] ?? 0;
}
