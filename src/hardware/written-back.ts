/**
 * Memory as hardware sees it that does not snoop the caches of CPUs: of a line that a CPU has stored to, what was
 * there before, until the line is written back. Software does that (CLFLUSH, CLWB, CLFLUSHOPT: SDM volume 2), or
 * the cache by itself, whenever it likes: by the run's choice when somebody looks, or when its room is used up.
 *
 * CPUs share one cache here. Writes of devices and of IOMMUs go to memory itself and are seen by everybody; a
 * line of theirs that a CPU has not written back keeps its old content for those who do not snoop.
 */
import { type Chooser, type Restorable, Words } from '../base/index.js';
import { hash3, NONE, Slots } from './cache/slots.js';
import { ABSENT, BLOCK_BYTES, BLOCK_WORDS, FRAME_BYTES, type FrameReader, type Memory } from './memory.js';

const LINE_BYTES = 64;
const LINE_WORDS = 16;
/** Of a frame, and of a block. */
const LINES = FRAME_BYTES / LINE_BYTES;
const BLOCK_LINES = BLOCK_BYTES / LINE_BYTES;
/** Of a slot: the frame in halves, the line in it, and from a line's size on what memory holds. */
const FRAME_LO = 0;
const FRAME_HI = 1;
const LINE = 2;
const ENTRY_WORDS = 2 * LINE_WORDS;
const TWO_32 = 2 ** 32;

/** What a view is made of. */
export interface WrittenBackOptions {
  readonly name: string;
  readonly memory: Memory;
  readonly chooser: Chooser;
  /** Lines that CPUs keep without writing them back, at most. */
  readonly lines?: number;
}

export class WrittenBack implements FrameReader, Restorable {
  /** Of the block asked for last: to be fetched anew after each {@link WrittenBack.at}. */
  words: Int32Array;
  readonly #memory: Memory;
  readonly #chooser: Chooser;
  readonly #evicts: string;
  readonly #slots: Slots;
  readonly #lines: Words;
  /** The block asked for last, as it is composed where lines of it are not written back. */
  readonly #block = new Int32Array(BLOCK_WORDS);

  constructor({ name, memory, chooser, lines = 1024 }: WrittenBackOptions) {
    this.#memory = memory;
    this.#chooser = chooser;
    this.#evicts = `${name} writes back`;
    this.#slots = new Slots({ name, entries: lines, chooser });
    this.#lines = new Words(lines * ENTRY_WORDS, ENTRY_WORDS);
    this.words = memory.words;
  }

  /** How many lines are not written back. */
  get dirty(): number {
    return this.#slots.used;
  }

  /** A CPU is about to store: to be called before the store to {@link Memory}. */
  storing(address: number, bytes: number): void {
    this.#eachLine(address, bytes, (frame, line) => {
      const from = this.#memory.at(frame, line * LINE_WORDS);
      if (from === ABSENT || this.#find(frame, line) !== NONE) return;
      const victim = this.#slots.victim();
      if (victim !== NONE) this.#slots.release(victim);
      const slot = this.#slots.take(hashOf(frame, line)) * ENTRY_WORDS;
      this.#lines.touch(slot);
      const { words } = this.#lines;
      words[slot + FRAME_LO] = frame | 0;
      words[slot + FRAME_HI] = (frame / TWO_32) | 0;
      words[slot + LINE] = line;
      words.set(this.#memory.words.subarray(from, from + LINE_WORDS), slot + LINE_WORDS);
    });
  }

  /** Writes back the lines of a run of bytes. */
  flush(address: number, bytes: number): void {
    this.#eachLine(address, bytes, (frame, line) => {
      const slot = this.#find(frame, line);
      if (slot !== NONE) this.#slots.release(slot);
    });
  }

  at(frame: number, word: number): number {
    const at = this.#memory.at(frame, word);
    this.words = this.#memory.words;
    const inBlock = word % BLOCK_WORDS;
    if (at === ABSENT || this.#slots.used === 0) return at;
    if (!this.#compose(frame, (word - inBlock) / LINE_WORDS, at - inBlock)) return at;
    this.words = this.#block;
    return inBlock;
  }

  mark(): void {
    this.#slots.mark();
    this.#lines.mark();
  }

  restore(): void {
    this.#slots.restore();
    this.#lines.restore();
  }

  /**
   * Puts a block together from memory and from what lines of it were before; false if all are written back.
   *
   * @param first of its lines
   * @param at where the block begins in memory's words
   */
  #compose(frame: number, first: number, at: number): boolean {
    let isComposed = false;
    for (let line = 0; line < BLOCK_LINES; line++) {
      const slot = this.#find(frame, first + line);
      if (slot === NONE) continue;
      if (this.#chooser.choose(2, this.#evicts) === 1) {
        this.#slots.release(slot);
        continue;
      }
      if (!isComposed) this.#block.set(this.#memory.words.subarray(at, at + BLOCK_WORDS));
      isComposed = true;
      const from = slot * ENTRY_WORDS + LINE_WORDS;
      this.#block.set(this.#lines.words.subarray(from, from + LINE_WORDS), line * LINE_WORDS);
    }
    return isComposed;
  }

  #find(frame: number, line: number): number {
    const { words } = this.#lines;
    let slot = this.#slots.first(hashOf(frame, line));
    for (; slot !== NONE; slot = this.#slots.next(slot)) {
      const at = slot * ENTRY_WORDS;
      const isThis = words[at + FRAME_LO] === (frame | 0) && words[at + FRAME_HI] === ((frame / TWO_32) | 0);
      if (isThis && words[at + LINE] === line) return slot;
    }
    return NONE;
  }

  #eachLine(address: number, bytes: number, visit: (frame: number, line: number) => void): void {
    const last = Math.floor((address + bytes - 1) / LINE_BYTES);
    for (let each = Math.floor(address / LINE_BYTES); each <= last; each++) {
      visit(Math.floor(each / LINES), each % LINES);
    }
  }
}

const hashOf = (frame: number, line: number): number => hash3(frame | 0, line, (frame / TWO_32) | 0);
