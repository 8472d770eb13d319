/** Page tables of a process, built into simulated memory by hand: for tests of what walks them. */
import type { Memory } from '../../src/hardware/index.js';
import { encode, FIRST_STAGE_ENTRY } from '../../src/spec/index.js';

/** What a mapping allows; present, writable and for users unless said otherwise. */
export interface PageFlags {
  readonly P?: number;
  readonly RW?: number;
  readonly US?: number;
  /** Sets a reserved bit: the frame lies beyond every address width. */
  readonly isMalformed?: boolean;
}

/** Bytes at physical addresses: a machine's, or a guest's. */
export type PhysicalBytes = Pick<Memory, 'read' | 'write'>;

const LEVELS = 4;

export class ProcessTables {
  readonly root: number;
  readonly #memory: PhysicalBytes;
  #nextFrame: number;

  /** @param firstFrame where the tables are put, one after the other */
  constructor(memory: PhysicalBytes, firstFrame: number) {
    this.#memory = memory;
    this.root = firstFrame;
    this.#nextFrame = firstFrame + 1;
  }

  map(page: number, frame: number, flags: PageFlags = {}): void {
    let table = this.root;
    for (let level = LEVELS; level > 1; level--) {
      const at = this.#entry(table, page, level);
      let next = FIRST_STAGE_ENTRY.ADDR.get(this.#read(at), 0);
      if (next === 0) {
        next = this.#nextFrame++;
        this.#write(at, encode(FIRST_STAGE_ENTRY, { P: 1, RW: 1, US: 1, ADDR: next }));
      }
      table = next;
    }
    const { P = 1, RW = 1, US = 1, isMalformed = false } = flags;
    const ADDR = isMalformed ? 2 ** 39 : frame;
    this.#write(this.#entry(table, page, 1), encode(FIRST_STAGE_ENTRY, { P, RW, US, ADDR }));
  }

  /** The leaf entry of a page: two words. */
  leaf(page: number): Int32Array {
    let table = this.root;
    for (let level = LEVELS; level > 1; level--) {
      table = FIRST_STAGE_ENTRY.ADDR.get(this.#read(this.#entry(table, page, level)), 0);
    }
    return this.#read(this.#entry(table, page, 1));
  }

  #entry(table: number, page: number, level: number): number {
    return table * 4096 + (Math.floor(page / 512 ** (level - 1)) % 512) * 8;
  }

  #read(address: number): Int32Array {
    const bytes = new Uint8Array(8);
    this.#memory.read(address, bytes);
    return new Int32Array(bytes.buffer);
  }

  #write(address: number, words: Int32Array): void {
    this.#memory.write(address, new Uint8Array(words.buffer));
  }
}
