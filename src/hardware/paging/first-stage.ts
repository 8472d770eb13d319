/**
 * The first-stage format: x86-64's paging entries with 4 or 5 levels, walked by the CPU and, for requests with
 * a PASID, by VT-d and AMD's IOMMU (Intel SDM volume 3, 5.5; VT-d 3.6 and 9.8). One pure step, from an entry to
 * what it means. Accessed and dirty bits, and what a right that is missing leads to, are the walker's business.
 */
import {
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  hasReservedBits,
} from '../../spec/index.js';
import { ENTRY, type EntryKind, offsetIn, type PagingStep, pagesPerEntry, RIGHT } from './step.js';

const { P, RW, US, PS, XD, ADDR } = FIRST_STAGE_ENTRY;
const leaf2M = FIRST_STAGE_LEAF_2M;
const leaf1G = FIRST_STAGE_LEAF_1G;

/** What an implementation of the format leaves open. */
export interface FirstStageOptions {
  /** Address bits from this one to 51 are reserved: MAXPHYADDR, or the host address width. */
  readonly addressWidth: number;
  /** Whether a leaf may stand at level 3 (1 GiB pages). */
  readonly gigabytePages: boolean;
}

/** An implementation of the first-stage format. */
export class FirstStage {
  readonly #gigabytePages: boolean;
  readonly #frameLimit: number;

  constructor(options: FirstStageOptions) {
    this.#gigabytePages = options.gigabytePages;
    this.#frameLimit = 2 ** (options.addressWidth - 12);
  }

  /**
   * One entry.
   *
   * @param level of the table it stands in, 1 to 5
   * @param words holds the entry
   * @param at the index of its first word
   * @param out its rights are filled unless ABSENT, its frame for TABLE and LEAF
   */
  step(level: number, words: Int32Array, at: number, out: PagingStep): EntryKind {
    if (P.get(words, at) === 0) return ENTRY.ABSENT;
    out.rights =
      RIGHT.READ |
      (RW.get(words, at) * RIGHT.WRITE) |
      (US.get(words, at) * RIGHT.USER) |
      ((1 - XD.get(words, at)) * RIGHT.EXECUTE);
    const isLeaf = level === 1 || PS.get(words, at) === 1;
    const frame = ADDR.get(words, at);
    if (frame >= this.#frameLimit) return ENTRY.MALFORMED;
    if (isLeaf && level > 1) {
      if (level > 3 || (level === 3 && !this.#gigabytePages)) return ENTRY.MALFORMED;
      if (hasReservedBits(level === 2 ? leaf2M : leaf1G, words, at)) return ENTRY.MALFORMED;
    }
    // Bit 12 of a large leaf is PAT, no part of its address.
    out.frame = isLeaf ? frame - offsetIn(frame, level) : frame;
    return isLeaf ? ENTRY.LEAF : ENTRY.TABLE;
  }
}

/**
 * Whether a 64-bit address is canonical: all bits above the width of the paging mode equal the highest of it.
 *
 * @param page the address without its low 12 bits, as a number of 52 bits
 * @param levels 4 (48 bits) or 5 (57 bits)
 */
export function isCanonical(page: number, levels: number): boolean {
  const half = pagesPerEntry(levels) * 256;
  return page < half || page >= 2 ** 52 - half;
}
