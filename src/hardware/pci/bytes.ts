/**
 * Moving bytes between simulated memory and a function's buffer, without garbage: by the engine's own copy for
 * whole frames and whole buffers, by words where both sides are aligned alike, by single bytes else.
 */
import { FRAME_BYTES, type Memory } from '../memory.js';

/** Up to so many bytes a loop is faster than the engine's copy. */
const WORDWISE = 128;
/** From so many words on the engine's copy is worth the view that it needs. */
const MANY_WORDS = 128;

export class Mover {
  readonly #memory: Pick<Memory, 'words'>;
  /** Memory's bytes: fetched anew when its arena has moved. */
  #bytes: Uint8Array;
  /** The words of buffers seen before. */
  readonly #views = new WeakMap<ArrayBufferLike, Int32Array>();
  /** Views of frames that were read whole, by their place in the arena. */
  #frames: (Uint8Array | undefined)[] = [];

  constructor(memory: Pick<Memory, 'words'>) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.words.buffer);
  }

  /** Copies bytes of memory, from byte `from` of its arena on. */
  load(from: number, into: Uint8Array, at: number, length: number): void {
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

  /** Copies bytes into memory, to byte `to` of its arena on. */
  store(to: number, from: Uint8Array, at: number, length: number): void {
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
      this.#frames = [];
    }
    return this.#bytes;
  }

  #frameAt(from: number): Uint8Array {
    const bytes = this.#arena();
    const index = from / FRAME_BYTES;
    let view = this.#frames[index];
    if (view === undefined) {
      view = bytes.subarray(from, from + FRAME_BYTES);
      this.#frames[index] = view;
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
  if (count >= MANY_WORDS) {
    to.set(from.subarray(at, at + count), toAt);
    return;
  }
  for (let i = 0; i < count; i++) to[toAt + i] = from[at + i] ?? 0;
}
