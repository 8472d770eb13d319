/** A set of frame numbers, a bit each: half a megabyte tells of a million. */

/** Frames whose bits stand in one array. */
const BLOCK = 4096;

export class FrameSet {
  readonly #blocks = new Map<number, Int32Array>();

  add(frame: number): void {
    const number = Math.floor(frame / BLOCK);
    let block = this.#blocks.get(number);
    if (block === undefined) {
      block = new Int32Array(BLOCK / 32);
      this.#blocks.set(number, block);
    }
    const bit = frame % BLOCK;
    block[bit >>> 5] = (block[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  has(frame: number): boolean {
    const block = this.#blocks.get(Math.floor(frame / BLOCK));
    const bit = frame % BLOCK;
    return block !== undefined && ((block[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
  }
}
