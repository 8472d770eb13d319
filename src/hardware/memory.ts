/**
 * Physical memory as the hardware sees it: 52-bit addresses, little-endian, in frames of 4 KiB.
 *
 * What was ever written lies in one arena of 32-bit words, in blocks of 512 bytes: most frames of a large machine are
 * page tables with one entry or two, and take one block or two. A radix table leads from a block's number to its
 * place. Blocks that were never written take no room and read as zero. What lies outside of the ranges given at the
 * start is not there at all: reads and writes of it are refused, as a bus would.
 *
 * Hot paths take frame numbers and word indices: {@link Memory.at} once an entry, then plain reads of
 * {@link Memory.words}. Everything can be put back to a mark in time proportional to the blocks that changed.
 */
import { assert, Bug, type Restorable, Words } from '../base/index.js';

/** Bytes a frame. */
export const FRAME_BYTES = 4096;
/** 32-bit words a frame. */
export const FRAME_WORDS = 1024;
/** Bytes a block: what lies together. An entry of up to as many, aligned to its size, lies in one. */
export const BLOCK_BYTES = 512;
/** 32-bit words a block. */
export const BLOCK_WORDS = 128;
/** One past the last frame of a 52-bit address. */
export const FRAME_LIMIT = 2 ** 40;

/** A run of frames, both ends inclusive. */
export interface FrameRange {
  readonly first: number;
  readonly last: number;
}

/** What reads tables needs of memory: a walk of a machine that somebody else built gets them elsewhere. */
export interface FrameReader {
  /** Holds the block asked for last: to be fetched after {@link FrameReader.at}. */
  readonly words: Int32Array;
  /**
   * The index in `words` of a frame's word, or {@link ABSENT}. The words after it follow as far as its block goes.
   *
   * @param word below {@link FRAME_WORDS}
   */
  at(frame: number, word: number): number;
}

/** What may also be written: as {@link Memory.writable} says. */
export interface FrameMemory extends FrameReader {
  writable(frame: number, word: number): number;
}

/** What {@link FrameReader.at} answers for a frame that is not there. */
export const ABSENT = -1;

/**
 * A radix table of the 43 bits of a block's number in three levels: 15, 14 and 14. The root's first node is always
 * there, right behind it.
 */
const ROOT_ENTRIES = 1 << 15;
const NODE_ENTRIES = 1 << 14;
const NODE_MASK = NODE_ENTRIES - 1;
const FIRST_NODE = ROOT_ENTRIES;
/** Frames whose blocks a node of the lowest level leads to, and one above it. */
const LEAF_FRAMES = NODE_ENTRIES / 8;
const MIDDLE_FRAMES = NODE_ENTRIES * LEAF_FRAMES;
/** A slot's first word is its number by this; what is exported would be loaded at each use. */
const SLOT_WORDS = BLOCK_WORDS;
const ZERO_SLOTS = FRAME_WORDS / BLOCK_WORDS;
const WORD_MASK = BLOCK_WORDS - 1;
/** 4 GiB: as many bytes as an array of the engine's has at most. */
const MOST_WORDS = 2 ** 30;
/** 64 MiB. */
const LARGE_WORDS = 1 << 24;

const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export class Memory implements FrameMemory, Restorable {
  readonly #ranges: readonly FrameRange[];
  /** The first blocks of the arena are the frame that unwritten ones share, block by block: it stays zero. */
  readonly #arena = new Words(32 * BLOCK_WORDS, BLOCK_WORDS);
  readonly #radix = new Words(ROOT_ENTRIES + 2 * NODE_ENTRIES);
  /** The words of both, replaced where they grow: a look-up follows as few references as may be. */
  #words = this.#arena.words;
  #nodes = this.#radix.words;
  #bytes: Uint8Array;
  #slots = ZERO_SLOTS;
  #radixEnd = FIRST_NODE + NODE_ENTRIES;
  #marked = { slots: ZERO_SLOTS, radixEnd: FIRST_NODE + NODE_ENTRIES };
  /** Slots from this one on came after the mark, and the arena keeps no copy of them. */
  #newSlots = Number.POSITIVE_INFINITY;

  /** @param ranges what is there; ascending, apart from each other, below {@link FRAME_LIMIT} */
  constructor(ranges: readonly FrameRange[]) {
    assert(isLittleEndian, 'the machine that runs this is not little-endian');
    let next = 0;
    for (const { first, last } of ranges) {
      const sane = Number.isSafeInteger(first) && Number.isSafeInteger(last);
      assert(sane && first >= next && last >= first && last < FRAME_LIMIT, `frames ${first} to ${last}`);
      next = last + 1;
    }
    this.#ranges = ranges.map(({ first, last }) => ({ first, last }));
    this.#bytes = new Uint8Array(this.#words.buffer);
    this.#nodes[0] = FIRST_NODE;
  }

  /** The arena. Replaced when it grows: fetch it anew after {@link Memory.writable}. */
  get words(): Int32Array {
    return this.#words;
  }

  /** The ranges that are there. */
  get ranges(): readonly FrameRange[] {
    return this.#ranges;
  }

  /** How many blocks have been written and take room. */
  get writtenBlocks(): number {
    return this.#slots - ZERO_SLOTS;
  }

  /** Whether `frame` is there. */
  has(frame: number): boolean {
    for (const range of this.#ranges) {
      if (frame <= range.last) return frame >= range.first;
    }
    return false;
  }

  /**
   * Where to read a word, and what follows it in its block.
   *
   * @param word below {@link FRAME_WORDS}
   * @returns its index in {@link Memory.words}, or {@link ABSENT} if the frame is not there
   */
  at(frame: number, word: number): number {
    const slot = this.#slotOf(frame, word);
    if (slot !== 0) return Math.imul(slot, SLOT_WORDS) + (word & WORD_MASK);
    return this.has(frame) ? word : ABSENT;
  }

  /**
   * Where to write a word: as {@link Memory.at}, and its block gets a place of its own. To be asked anew after each
   * {@link Memory.mark}.
   */
  writable(frame: number, word: number): number {
    let slot = this.#slotOf(frame, word);
    if (slot === 0) {
      if (!this.has(frame)) return ABSENT;
      slot = this.#newSlot(frame, word);
    }
    const at = slot * SLOT_WORDS;
    this.#arena.touch(at);
    return at + (word & WORD_MASK);
  }

  /**
   * Copies bytes out of memory.
   *
   * @param address first byte, below 2^52
   * @returns whether all of it was there; `into` is unspecified if not
   */
  read(address: number, into: Uint8Array): boolean {
    if (!this.#hasAll(address, into.length)) return false;
    for (let done = 0; done < into.length; ) {
      const from = address + done;
      const length = Math.min(BLOCK_BYTES - (from % BLOCK_BYTES), into.length - done);
      const slot = this.#slotOf(Math.floor(from / FRAME_BYTES), (from % FRAME_BYTES) >>> 2);
      const at = slot * BLOCK_BYTES + (from % BLOCK_BYTES);
      if (slot === 0) into.fill(0, done, done + length);
      else into.set(this.#bytes.subarray(at, at + length), done);
      done += length;
    }
    return true;
  }

  /**
   * Copies bytes into memory.
   *
   * @param address first byte, below 2^52
   * @returns whether all of it was there; nothing is written if not
   */
  write(address: number, from: Uint8Array): boolean {
    if (!this.#hasAll(address, from.length)) return false;
    for (let done = 0; done < from.length; ) {
      const to = address + done;
      const end = Math.min(done + BLOCK_BYTES - (to % BLOCK_BYTES), from.length);
      const at = this.writable(Math.floor(to / FRAME_BYTES), (to % FRAME_BYTES) >>> 2) * 4 + (to % 4);
      this.#bytes.set(end - done === from.length ? from : from.subarray(done, end), at);
      done = end;
    }
    return true;
  }

  /** Fills a frame with zeros; what was never written takes no room for it. False if the frame is not there. */
  clear(frame: number): boolean {
    if (!this.has(frame)) return false;
    for (let word = 0; word < FRAME_WORDS; word += BLOCK_WORDS) {
      const slot = this.#slotOf(frame, word);
      if (slot === 0) continue;
      const at = slot * BLOCK_WORDS;
      this.#arena.touch(at);
      this.#words.fill(0, at, at + BLOCK_WORDS);
    }
    return true;
  }

  mark(): void {
    this.#arena.mark();
    this.#radix.mark();
    this.#marked = { slots: this.#slots, radixEnd: this.#radixEnd };
    this.#newSlots = this.#arena.length / BLOCK_WORDS;
  }

  restore(): void {
    this.#arena.restore();
    this.#radix.restore();
    this.#slots = this.#marked.slots;
    this.#radixEnd = this.#marked.radixEnd;
    this.#newSlots = this.#arena.length / BLOCK_WORDS;
  }

  /** How many blocks have been asked for to be written since the mark: what a restore has to put back. */
  get dirtyBlocks(): number {
    return this.#arena.dirtyChunks + Math.max(0, this.#slots - this.#newSlots);
  }

  /** Whether a run of bytes is there. */
  #hasAll(address: number, length: number): boolean {
    if (!Number.isSafeInteger(address) || address < 0) throw new Bug(`${address} is no physical address`);
    const end = (address + length) / FRAME_BYTES;
    for (let frame = Math.floor(address / FRAME_BYTES); length > 0 && frame < end; frame++) {
      if (!this.has(frame)) return false;
    }
    return true;
  }

  /** The slot of the block that a frame's word is in, 0 if it was never written. */
  #slotOf(frame: number, word: number): number {
    const radix = this.#nodes;
    // Most frames are among the first ones, and are found without the root.
    if (frame < MIDDLE_FRAMES) {
      const leaf = radix[FIRST_NODE + (frame >>> 11)] ?? 0;
      return leaf === 0 ? 0 : (radix[leaf + (((frame << 3) | (word >>> 7)) & NODE_MASK)] ?? 0);
    }
    return frame < FRAME_LIMIT ? this.#farSlotOf(frame, word) : 0;
  }

  /** The same of any frame, through the root. */
  #farSlotOf(frame: number, word: number): number {
    const radix = this.#nodes;
    const middle = radix[Math.floor(frame / MIDDLE_FRAMES)] ?? 0;
    if (middle === 0) return 0;
    const leaf = radix[middle + ((frame / LEAF_FRAMES) & NODE_MASK)] ?? 0;
    return leaf === 0 ? 0 : (radix[leaf + indexInLeaf(frame, word)] ?? 0);
  }

  #newSlot(frame: number, word: number): number {
    const middle = this.#node(Math.floor(frame / MIDDLE_FRAMES));
    const leaf = this.#node(middle + ((frame / LEAF_FRAMES) & NODE_MASK));
    const slot = this.#slots++;
    const end = this.#slots * BLOCK_WORDS;
    if (end > this.#arena.length) {
      this.#arena.grow(end, this.#roomFor(end));
      if (this.#words !== this.#arena.words) {
        this.#words = this.#arena.words;
        this.#bytes = new Uint8Array(this.#words.buffer);
      }
    }
    this.#radix.set(leaf + indexInLeaf(frame, word), slot);
    return slot;
  }

  /**
   * How many words to make room for: twice as many each time, and from some size on all that there can be, up to a
   * limit. Room that is not used takes address space alone, and to move an arena takes it twice.
   */
  #roomFor(end: number): number {
    if (end < LARGE_WORDS) return end * 2;
    const frames = this.#ranges.reduce((sum, { first, last }) => sum + last - first + 1, 1);
    assert(end <= MOST_WORDS, 'more than 4 GiB of simulated memory are written');
    return Math.max(end, Math.min(frames * FRAME_WORDS, end * 64, MOST_WORDS));
  }

  /** The node that the radix entry at `index` leads to, made if there is none. */
  #node(index: number): number {
    const node = this.#radix.words[index] ?? 0;
    if (node !== 0) return node;
    const made = this.#radixEnd;
    this.#radixEnd += NODE_ENTRIES;
    if (this.#radixEnd > this.#radix.length) {
      this.#radix.grow(this.#radixEnd, this.#radixEnd * 2);
      this.#nodes = this.#radix.words;
    }
    this.#radix.set(index, made);
    return made;
  }
}

/** Where the lowest level's node has the entry of the block that a frame's word is in. */
const indexInLeaf = (frame: number, word: number): number => ((frame % LEAF_FRAMES) << 3) | (word >>> 7);
