/**
 * A guest's physical memory, in frames of its VMM's process. This is the one place where a guest-physical address
 * becomes the host's: KVM and VFIO are told pages of the VMM's own address space, and build tables of their own.
 *
 * Where the guest's frames lie is read from the VMM's page table once they are there; they stay as long as the
 * VMM does not unmap them, and it does not.
 */
import { assert, Words } from '../base/index.js';
import { ABSENT, FRAME_BYTES, type FrameRange, type FrameReader, type Memory } from '../hardware/index.js';

/** Below it are the BIOS's areas. */
const FIRST_FRAME = 0x100;
/** RAM leaves room for registers below 4 GiB. */
const LOW_END_FRAME = 0xc_0000;
const HIGH_FIRST_FRAME = 0x10_0000;
const CHUNK = 64;

/** A run of guest frames that lies in one run of pages of the VMM's. */
export interface MemorySlot {
  /** The first guest frame. */
  readonly gfn: number;
  readonly pages: number;
  /** The page of the VMM's address space that is the first frame. */
  readonly page: number;
}

/** Where a guest has so much RAM. */
export function guestRanges(bytes: number): readonly FrameRange[] {
  const pages = Math.ceil(bytes / FRAME_BYTES);
  const low = Math.min(pages, LOW_END_FRAME - FIRST_FRAME);
  const ranges = [{ first: FIRST_FRAME, last: FIRST_FRAME + low - 1 }];
  if (pages > low) ranges.push({ first: HIGH_FIRST_FRAME, last: HIGH_FIRST_FRAME + pages - low - 1 });
  return ranges;
}

/** A page of a guest's, and what it holds. */
export interface PageState {
  readonly gfn: number;
  readonly bytes: Uint8Array;
}

export class GuestRam implements FrameReader {
  readonly ranges: readonly FrameRange[];
  readonly #memory: Memory;
  /** By the order of the ranges: the host's frame, plus 1. */
  readonly #frames: Words;

  /** @param memory the host's */
  constructor(memory: Memory, ranges: readonly FrameRange[]) {
    this.#memory = memory;
    this.ranges = ranges;
    this.#frames = new Words(
      ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0),
      CHUNK,
    );
  }

  /** The table of frames, to be put back with the machine. */
  get table(): Words {
    return this.#frames;
  }

  /** Says where a guest frame lies. */
  place(gfn: number, frame: number): void {
    const index = this.#indexOf(gfn);
    assert(index !== ABSENT, `guest frame ${gfn} is no RAM`);
    this.#frames.set(index, frame + 1);
  }

  /** The memory is the host's again: nothing is there any more. */
  forget(): void {
    for (let index = 0; index < this.#frames.length; index++) {
      if (this.#frames.words[index] !== 0) this.#frames.set(index, 0);
    }
  }

  /** The host's frame of a guest's, or {@link ABSENT}. */
  hostFrame(gfn: number): number {
    const index = this.#indexOf(gfn);
    return index === ABSENT ? ABSENT : (this.#frames.words[index] ?? 0) - 1;
  }

  /** As the host's memory has them: fetch them anew after {@link GuestRam.writable}. */
  get words(): Int32Array {
    return this.#memory.words;
  }

  /** The index of a guest frame's word, or {@link ABSENT}; good as far as {@link Memory.at} says. */
  at(gfn: number, word: number): number {
    const frame = this.hostFrame(gfn);
    return frame === ABSENT ? ABSENT : this.#memory.at(frame, word);
  }

  /** As {@link GuestRam.at}, to be stored to. */
  writable(gfn: number, word: number): number {
    const frame = this.hostFrame(gfn);
    return frame === ABSENT ? ABSENT : this.#memory.writable(frame, word);
  }

  /** Copies bytes out of it; false if some are not there, and `into` is unspecified then. */
  read(address: number, into: Uint8Array): boolean {
    return this.#transfer(address, into.length, (at, offset, length) =>
      this.#memory.read(at, into.subarray(offset, offset + length)),
    );
  }

  /** Copies bytes into it; false, and nothing stored, if some are not there. */
  write(address: number, from: Uint8Array): boolean {
    if (!this.#transfer(address, from.length, () => true)) return false;
    return this.#transfer(address, from.length, (at, offset, length) =>
      this.#memory.write(at, from.subarray(offset, offset + length)),
    );
  }

  /** Fills a guest frame with zeros; nothing happens where none is. */
  clear(gfn: number): void {
    const frame = this.hostFrame(gfn);
    if (frame !== ABSENT) this.#memory.clear(frame);
  }

  /** The pages that are not all zeros. */
  *pages(): Generator<PageState> {
    for (const { first, last } of this.ranges) {
      for (let gfn = first; gfn <= last; gfn++) {
        const bytes = new Uint8Array(FRAME_BYTES);
        if (this.read(gfn * FRAME_BYTES, bytes) && bytes.some((byte) => byte !== 0)) yield { gfn, bytes };
      }
    }
  }

  /** Calls `piece` with the host's address of each part that lies in one frame. */
  #transfer(
    address: number,
    length: number,
    piece: (at: number, offset: number, length: number) => boolean,
  ): boolean {
    for (let done = 0; done < length; ) {
      const offset = (address + done) % FRAME_BYTES;
      const part = Math.min(FRAME_BYTES - offset, length - done);
      const frame = this.hostFrame(Math.floor((address + done) / FRAME_BYTES));
      if (frame === ABSENT || !piece(frame * FRAME_BYTES + offset, done, part)) return false;
      done += part;
    }
    return true;
  }

  #indexOf(gfn: number): number {
    let before = 0;
    for (const { first, last } of this.ranges) {
      if (gfn >= first && gfn <= last) return before + gfn - first;
      before += last - first + 1;
    }
    return ABSENT;
  }
}
