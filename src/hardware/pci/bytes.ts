/**
 * Moving bytes between simulated memory and a function's buffer, without garbage: by the engine's own copy for
 * whole frames and whole buffers, by words where both sides are aligned alike, by single bytes else. Blocks of memory
 * that lie next to each other, as those of a page that was written at once do, are one piece.
 */
import { BLOCK_BYTES, FRAME_BYTES, type Memory } from '../memory.js';

/** Up to so many bytes a loop is faster than the engine's copy. */
const WORDWISE = 128;
/** Of more words than these the engine's copy is worth the view that it needs. */
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

  /** Copies bytes of a frame that is there into `into`, from `at` on. */
  load(frame: number, { offset, length }: FramePart, into: Uint8Array, at: number): void {
    for (let done = 0; done < length; ) {
      const from = offset + done;
      const piece = Math.min(this.#together(frame, from, offset + length), length - done);
      this.#load(this.#memory.at(frame, from >>> 2) * 4 + (from & 3), into, at + done, piece);
      done += piece;
    }
  }

  /** Copies bytes of `from`, from `at` on, into a frame that is there. */
  store(frame: number, { offset, length }: FramePart, from: Uint8Array, at: number): void {
    const end = offset + length;
    const first = offset - (offset % BLOCK_BYTES);
    for (let block = first; block < end; block += BLOCK_BYTES) this.#memory.writable(frame, block >>> 2);
    for (let done = 0; done < length; ) {
      const to = offset + done;
      const piece = Math.min(this.#together(frame, to, end), length - done);
      this.#store(this.#memory.at(frame, to >>> 2) * 4 + (to & 3), from, at + done, piece);
      done += piece;
    }
  }

  /** How many bytes from one of a frame's on lie together, if not more than up to `end`. */
  #together(frame: number, from: number, end: number): number {
    const memory = this.#memory;
    const first = from - (from % BLOCK_BYTES);
    let next = first + BLOCK_BYTES;
    if (next < end) {
      const at = memory.at(frame, first >>> 2);
      while (next < end && memory.at(frame, next >>> 2) === at + (next - first) / 4) next += BLOCK_BYTES;
    }
    return next - from;
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

function copyWords(from: Int32Array, at: number, to: Int32Array, toAt: number, count: number): void {
  if (count > MANY_WORDS) {
    to.set(from.subarray(at, at + count), toAt);
    return;
  }
  for (let i = 0; i < count; i++) to[toAt + i] = from[at + i] ?? 0;
}
