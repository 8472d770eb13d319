/**
 * Moving bytes between simulated memory and a function's buffer, without garbage: by the engine's own copy for
 * whole frames and whole buffers, by words where both sides are aligned alike, by single bytes else. Blocks of memory
 * that lie next to each other, as those of a page that was written at once do, are one piece.
 */
import { ABSENT, BLOCK_BYTES, FRAME_BYTES, type Memory } from '../memory.js';

/** Up to so many bytes a loop is faster than the engine's copy. */
const WORDWISE = 128;
/** From so many words on the engine's copy is worth the view that it needs. */
const MANY_WORDS = 128;

/** Bytes of a frame: the first, and how many. */
export interface FramePart {
  readonly offset: number;
  readonly length: number;
}

export class Mover {
  readonly #memory: Pick<Memory, 'words' | 'at' | 'writable'>;
  /** Memory's bytes: fetched anew when its arena has moved. */
  #bytes: Uint8Array;
  /** The words of buffers seen before. */
  readonly #views = new WeakMap<ArrayBufferLike, Int32Array>();
  /** Views of frames that were read whole, by their place in the arena. */
  readonly #frames = new Map<number, Uint8Array>();

  constructor(memory: Pick<Memory, 'words' | 'at' | 'writable'>) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.words.buffer);
  }

  /** Copies bytes of a frame into `into`, from `at` on; false if the frame is not there. */
  load(frame: number, { offset, length }: FramePart, into: Uint8Array, at: number): boolean {
    const end = offset + length;
    for (let from = offset; from < end; ) {
      const index = this.#memory.at(frame, from >>> 2);
      if (index === ABSENT) return false;
      const next = Math.min(end, this.#together(frame, from, index, end));
      this.#load(index * 4 + (from & 3), into, at + from - offset, next - from);
      from = next;
    }
    return true;
  }

  /** Copies bytes of `from`, from `at` on, into a frame; false if that is not there. */
  store(frame: number, { offset, length }: FramePart, from: Uint8Array, at: number): boolean {
    const end = offset + length;
    for (let to = nextBlock(offset); to < end; to += BLOCK_BYTES) this.#memory.writable(frame, to >>> 2);
    for (let to = offset; to < end; ) {
      const index = this.#memory.writable(frame, to >>> 2);
      if (index === ABSENT) return false;
      const next = Math.min(end, this.#together(frame, to, index, end));
      this.#store(index * 4 + (to & 3), from, at + to - offset, next - to);
      to = next;
    }
    return true;
  }

  /** Up to where blocks lie together with the byte `from`, whose word is at `index`; no further than `end` needs. */
  #together(frame: number, from: number, index: number, end: number): number {
    const first = index - (from >>> 2);
    let next = nextBlock(from);
    while (next < end && this.#memory.at(frame, next >>> 2) === first + (next >>> 2)) next += BLOCK_BYTES;
    return next;
  }

  /** @param from the first byte in the arena */
  #load(from: number, into: Uint8Array, at: number, length: number): void {
    const start = into.byteOffset + at;
    if (length === FRAME_BYTES) {
      into.set(this.#frameAt(from), at);
    } else if (((from | start | length) & 3) === 0) {
      const { words } = this.#memory;
      // An arena has more bytes than a shift can tell.
      copyWords(words, from / 4, this.#wordsOf(into), start / 4, length / 4);
    } else {
      const bytes = this.#arena();
      for (let i = 0; i < length; i++) into[at + i] = bytes[from + i] ?? 0;
    }
  }

  /** @param to the first byte in the arena */
  #store(to: number, from: Uint8Array, at: number, length: number): void {
    const start = from.byteOffset + at;
    if (length === from.length && length > WORDWISE) {
      this.#arena().set(from, to);
    } else if (((to | start | length) & 3) === 0) {
      copyWords(this.#wordsOf(from), start / 4, this.#memory.words, to / 4, length / 4);
    } else {
      const bytes = this.#arena();
      for (let i = 0; i < length; i++) bytes[to + i] = from[at + i] ?? 0;
    }
  }

  #arena(): Uint8Array {
    const { buffer } = this.#memory.words;
    if (this.#bytes.buffer !== buffer) {
      this.#bytes = new Uint8Array(buffer);
      this.#frames.clear();
    }
    return this.#bytes;
  }

  #frameAt(from: number): Uint8Array {
    const bytes = this.#arena();
    let view = this.#frames.get(from);
    if (view === undefined) {
      view = bytes.subarray(from, from + FRAME_BYTES);
      this.#frames.set(from, view);
    }
    return view;
  }

  #wordsOf(array: Uint8Array): Int32Array {
    let view = this.#views.get(array.buffer);
    if (view === undefined) {
      view = new Int32Array(array.buffer, 0, array.buffer.byteLength >> 2);
      this.#views.set(array.buffer, view);
    }
    return view;
  }
}

/** Where the block after that of a byte begins. */
const nextBlock = (byte: number): number => byte - (byte % BLOCK_BYTES) + BLOCK_BYTES;

function copyWords(from: Int32Array, at: number, to: Int32Array, toAt: number, count: number): void {
  if (count >= MANY_WORDS) {
    to.set(from.subarray(at, at + count), toAt);
    return;
  }
  for (let i = 0; i < count; i++) to[toAt + i] = from[at + i] ?? 0;
}
