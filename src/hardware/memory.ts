/**
 * Physical memory as the hardware sees it: 52-bit addresses, little-endian, in frames of 4 KiB.
 *
 * All frames that were ever written lie in one arena of 32-bit words; a radix table leads from a frame's number
 * to its place. Frames that were never written take no room and read as zero. What lies outside of the ranges
 * given at the start is not there at all: reads and writes of it are refused, as a bus would.
 *
 * Hot paths take frame numbers and word indices: {@link Memory.at} once a frame, then plain reads of
 * {@link Memory.words}. Everything can be put back to a mark in time proportional to the frames that changed.
 */
import { assert, Bug, type Restorable, Words } from '../base/index.js';

/** Bytes a frame. */
export const FRAME_BYTES = 4096;
/** 32-bit words a frame. */
export const FRAME_WORDS = 1024;
/** One past the last frame of a 52-bit address. */
export const FRAME_LIMIT = 2 ** 40;

/** A run of frames, both ends inclusive. */
export interface FrameRange {
  readonly first: number;
  readonly last: number;
}

/** What reads tables needs of memory: a walk of a machine that somebody else built gets them elsewhere. */
export interface FrameReader {
  /** Holds the frame asked for last: to be fetched after {@link FrameReader.at}. */
  readonly words: Int32Array;
  /** The index of the first word of `frame` in `words`, or {@link ABSENT}. */
  at(frame: number): number;
}

/** What may also be written: as {@link Memory.writable} says. */
export interface FrameMemory extends FrameReader {
  writable(frame: number): number;
}

/** What {@link FrameReader.at} answers for a frame that is not there. */
export const ABSENT = -1;

/** A radix table of 40 bits in three levels: 14, 13 and 13. The root's first node is always there, right behind it. */
const ROOT_ENTRIES = 1 << 14;
const NODE_ENTRIES = 1 << 13;
const NODE_MASK = NODE_ENTRIES - 1;
const FIRST_NODE = ROOT_ENTRIES;
/** A slot's first word is its number by this; what is exported would be loaded at each use. */
const SLOT_WORDS = FRAME_WORDS;
/** 4 GiB: as many bytes as an array of the engine's has at most. */
const MOST_WORDS = 2 ** 30;
/** 64 MiB. */
const LARGE_WORDS = 1 << 24;
/** Frames that it leads to: 256 GiB. */
const FIRST_FRAMES = NODE_ENTRIES * NODE_ENTRIES;

const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

export class Memory implements FrameMemory, Restorable {
  readonly #ranges: readonly FrameRange[];
  /** Frame 0 of the arena is the one that all unwritten frames share: it stays zero. */
  readonly #arena = new Words(4 * FRAME_WORDS, FRAME_WORDS);
  readonly #radix = new Words(ROOT_ENTRIES + 2 * NODE_ENTRIES);
  /** The words of both, replaced where they grow: a look-up follows as few references as may be. */
  #words = this.#arena.words;
  #nodes = this.#radix.words;
  #bytes: Uint8Array;
  #slots = 1;
  #radixEnd = FIRST_NODE + NODE_ENTRIES;
  #marked = { slots: 1, radixEnd: FIRST_NODE + NODE_ENTRIES };
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

  /** How many frames have been written and take room. */
  get writtenFrames(): number {
    return this.#slots - 1;
  }

  /** Whether `frame` is there. */
  has(frame: number): boolean {
    for (const range of this.#ranges) {
      if (frame <= range.last) return frame >= range.first;
    }
    return false;
  }

  /**
   * Where to read a frame.
   *
   * @param frame its number
   * @returns the index of its first word in {@link Memory.words}, or {@link ABSENT} if it is not there
   */
  at(frame: number): number {
    const slot = this.#slotOf(frame);
    if (slot !== 0) return Math.imul(slot, SLOT_WORDS);
    return this.has(frame) ? 0 : ABSENT;
  }

  /**
   * Where to write a frame: as {@link Memory.at}, and the frame gets a place of its own. To be asked anew
   * after each {@link Memory.mark}.
   */
  writable(frame: number): number {
    let slot = this.#slotOf(frame);
    if (slot === 0) {
      if (!this.has(frame)) return ABSENT;
      slot = this.#newSlot(frame);
    }
    const at = slot * FRAME_WORDS;
    this.#arena.touch(at);
    return at;
  }

  /**
   * Copies bytes out of memory.
   *
   * @param address first byte, below 2^52
   * @returns whether all of it was there; `into` is unspecified if not
   */
  read(address: number, into: Uint8Array): boolean {
    return this.#transfer(address, into.length, (at, offset, length) => {
      into.set(this.#bytes.subarray(at, at + length), offset);
    });
  }

  /**
   * Copies bytes into memory.
   *
   * @param address first byte, below 2^52
   * @returns whether all of it was there; nothing is written if not
   */
  write(address: number, from: Uint8Array): boolean {
    if (!this.#transfer(address, from.length, () => {})) return false;
    for (let done = 0; done < from.length; ) {
      const offset = (address + done) % FRAME_BYTES;
      const length = Math.min(FRAME_BYTES - offset, from.length - done);
      const frame = Math.floor((address + done) / FRAME_BYTES);
      const piece = from.subarray(done, done + length);
      // Zeroes where nothing was ever written are there already: a cleared frame that nobody uses takes no room.
      if (this.#slotOf(frame) !== 0 || !isZero(piece)) {
        const at = this.writable(frame) * 4 + offset;
        this.#bytes.set(piece, at);
      }
      done += length;
    }
    return true;
  }

  mark(): void {
    this.#arena.mark();
    this.#radix.mark();
    this.#marked = { slots: this.#slots, radixEnd: this.#radixEnd };
    this.#newSlots = this.#arena.length / FRAME_WORDS;
  }

  restore(): void {
    this.#arena.restore();
    this.#radix.restore();
    this.#slots = this.#marked.slots;
    this.#radixEnd = this.#marked.radixEnd;
    this.#newSlots = this.#arena.length / FRAME_WORDS;
  }

  /** How many frames have been asked for to be written since the mark: what a restore has to put back. */
  get dirtyFrames(): number {
    return this.#arena.dirtyChunks + Math.max(0, this.#slots - this.#newSlots);
  }

  /**
   * Calls `visit` with the place of each piece of a run of bytes; false, and nothing visited after, where it is absent.
   */
  #transfer(
    address: number,
    length: number,
    visit: (at: number, offset: number, length: number) => void,
  ): boolean {
    if (!Number.isSafeInteger(address) || address < 0) throw new Bug(`${address} is no physical address`);
    for (let done = 0; done < length; ) {
      const offset = (address + done) % FRAME_BYTES;
      const piece = Math.min(FRAME_BYTES - offset, length - done);
      const at = this.at(Math.floor((address + done) / FRAME_BYTES));
      if (at === ABSENT) return false;
      visit(at * 4 + offset, done, piece);
      done += piece;
    }
    return true;
  }

  /** The slot of a frame, 0 if it was never written. */
  #slotOf(frame: number): number {
    const radix = this.#nodes;
    // Most frames are among the first ones, and are found without the root.
    if (frame < FIRST_FRAMES) {
      const last = radix[FIRST_NODE + (frame >>> 13)] ?? 0;
      return last === 0 ? 0 : (radix[last + (frame & NODE_MASK)] ?? 0);
    }
    return frame < FRAME_LIMIT ? this.#farSlotOf(frame) : 0;
  }

  /** The same of any frame, through the root. */
  #farSlotOf(frame: number): number {
    const radix = this.#nodes;
    const middle = radix[(frame / 0x400_0000) & (ROOT_ENTRIES - 1)] ?? 0;
    if (middle === 0) return 0;
    const leaf = radix[middle + ((frame / NODE_ENTRIES) & NODE_MASK)] ?? 0;
    return leaf === 0 ? 0 : (radix[leaf + (frame & NODE_MASK)] ?? 0);
  }

  #newSlot(frame: number): number {
    const middle = this.#node((frame / 0x400_0000) & (ROOT_ENTRIES - 1));
    const leaf = this.#node(middle + ((frame / NODE_ENTRIES) & NODE_MASK));
    const slot = this.#slots++;
    const end = this.#slots * FRAME_WORDS;
    if (end > this.#arena.length) {
      this.#arena.grow(end, this.#roomFor(end));
      if (this.#words !== this.#arena.words) {
        this.#words = this.#arena.words;
        this.#bytes = new Uint8Array(this.#words.buffer);
      }
    }
    this.#radix.set(leaf + (frame & NODE_MASK), slot);
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
      this.#radix.grow(this.#radixEnd * 2);
      this.#nodes = this.#radix.words;
    }
    this.#radix.set(index, made);
    return made;
  }
}

/** Word by word where it can be: what is cleared are pages. */
function isZero(bytes: Uint8Array): boolean {
  const { buffer, byteOffset, length } = bytes;
  const isAligned = (byteOffset | length) % 4 === 0;
  const parts = isAligned ? new Int32Array(buffer, byteOffset, length / 4) : bytes;
  for (let i = 0; i < parts.length; i++) if (parts[i] !== 0) return false;
  return true;
}
