/**
 * The part of a machine's memory that has been read so far. A frame that nobody has asked for yet reads as
 * absent and is noted, so that whoever walks the tables finds out in a few rounds which frames they lie in.
 */
import { assert } from '../base/index.js';
import { ABSENT, FRAME_BYTES, FRAME_LIMIT, type FrameReader, Memory } from '../hardware/index.js';

export class TableMemory implements FrameReader {
  readonly #frames = new Memory([{ first: 0, last: FRAME_LIMIT - 1 }]);
  readonly #known = new Set<number>();
  readonly #absent = new Set<number>();
  /** Frames that were asked for and have not been read. */
  readonly missing = new Set<number>();
  /** What was read of a frame before. */
  readonly #old = new Uint8Array(FRAME_BYTES);

  get words(): Int32Array {
    return this.#frames.words;
  }

  at(frame: number, word: number): number {
    if (this.#known.has(frame)) return this.#frames.at(frame, word);
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
    assert(bytes.length === FRAME_BYTES, `a frame of ${bytes.length} bytes`);
    const wasAbsent = this.#absent.delete(frame);
    const isNew = !this.#known.has(frame);
    this.#frames.read(frame * FRAME_BYTES, this.#old);
    if (!isNew && bytes.every((byte, i) => byte === this.#old[i])) return false;
    this.#known.add(frame);
    this.#frames.write(frame * FRAME_BYTES, bytes);
    return wasAbsent || !isNew;
  }
}
