/**
 * Frames that arrive one after the other and can't be asked for again: the memory of an image that is packed,
 * or comes through a pipe. Those that are all zero, nearly all of them in most images, take no room.
 */
import { FRAME_BYTES } from '../../hardware/index.js';

/** What was kept of a stream. */
export interface KeptFrames {
  /** How many bytes went by. */
  readonly bytes: number;
  /** Frames that are not all zero, by their number in the stream. */
  readonly frames: ReadonlyMap<number, Uint8Array>;
}

/** Frames are kept side by side in pieces of this size. */
const SLAB_BYTES = 1 << 20;

const ZEROS = new Uint8Array(FRAME_BYTES);

export class FrameStream implements KeptFrames {
  readonly frames = new Map<number, Uint8Array>();
  #bytes = 0;
  #slab = new Uint8Array(0);
  /** The beginning of a frame whose end has not arrived. */
  readonly #part = Buffer.alloc(FRAME_BYTES);

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the next bytes, any number of them. They may be reused afterwards. */
  take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const filled = this.#bytes % FRAME_BYTES;
      const length = Math.min(FRAME_BYTES - filled, chunk.length - at);
      const number = (this.#bytes - filled) / FRAME_BYTES;
      this.#bytes += length;
      if (length === FRAME_BYTES) {
        this.#keep(number, chunk, at);
      } else {
        chunk.copy(this.#part, filled, at, at + length);
        if (filled + length === FRAME_BYTES) this.#keep(number, this.#part, 0);
      }
      at += length;
    }
  }

  #keep(number: number, from: Buffer, at: number): void {
    if (from.compare(ZEROS, 0, FRAME_BYTES, at, at + FRAME_BYTES) === 0) return;
    if (this.#slab.length === 0) this.#slab = new Uint8Array(SLAB_BYTES);
    const frame = this.#slab.subarray(0, FRAME_BYTES);
    this.#slab = this.#slab.subarray(FRAME_BYTES);
    frame.set(from.subarray(at, at + FRAME_BYTES));
    this.frames.set(number, frame);
  }
}
