/**
 * The part of a machine's memory that has been read so far. A frame that nobody has asked for yet reads as
 * absent and is noted, so that whoever walks the tables finds out in a few rounds which frames they lie in.
 */
import { assert } from '../base/index.js';
import {
  ABSENT,
  FRAME_BYTES,
  FRAME_LIMIT,
  FRAME_WORDS,
  type FrameReader,
  Memory,
} from '../hardware/index.js';

export class TableMemory implements FrameReader {
  readonly #frames = new Memory([{ first: 0, last: FRAME_LIMIT - 1 }]);
  readonly #known = new Set<number>();
  readonly #absent = new Set<number>();
  /** Frames that were asked for and have not been read. */
  readonly missing = new Set<number>();

  get words(): Int32Array {
    return this.#frames.words;
  }

  at(frame: number): number {
    if (this.#known.has(frame)) return this.#frames.at(frame);
    if (frame < FRAME_LIMIT && !this.#absent.has(frame)) this.missing.add(frame);
    return ABSENT;
  }

  /** The frames that have been read one by one, lowest first. */
  get readFrames(): readonly number[] {
    return [...this.#known].sort((a, b) => a - b);
  }

  /**
   * Takes what was read of a frame.
   *
   * @param bytes 4096 of them, or undefined if there is no memory
   * @returns whether that differs from what was read of it before
   */
  learn(frame: number, bytes: Uint8Array | undefined): boolean {
    this.missing.delete(frame);
    if (bytes === undefined) {
      this.#absent.add(frame);
      return this.#known.delete(frame);
    }
    const words = wordsOf(bytes);
    const wasAbsent = this.#absent.delete(frame);
    const isNew = !this.#known.has(frame);
    const old = this.#frames.at(frame);
    if (!isNew && words.every((word, i) => word === this.#frames.words[old + i])) return false;
    this.#known.add(frame);
    // First the place: it may move the words.
    const at = this.#frames.writable(frame);
    this.#frames.words.set(words, at);
    return wasAbsent || !isNew;
  }
}

/** Bytes of a frame as words. A copy where they do not begin at a word: a piece of a socket's buffer may not. */
function wordsOf(bytes: Uint8Array): Int32Array {
  assert(bytes.length === FRAME_BYTES, `a frame of ${bytes.length} bytes`);
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  return new Int32Array(buffer, byteOffset, FRAME_WORDS);
}
