/**
 * The first-stage format: x86-64's paging entries with 4 or 5 levels, walked by the CPU and, for requests with
 * a PASID, by VT-d and AMD's IOMMU (Intel SDM volume 3, 5.5; VT-d 3.6 and 9.8). One pure step, from an entry to
 * what it means. Accessed and dirty bits, and what a right that is missing leads to, are the walker's business.
 */
import {
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  reservedWith,
} from '../../spec/index.js';
import {
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  offsetIn,
  type PagingStep,
  pagesPerEntry,
  RIGHT,
  reservedRows,
  setFrame,
  TABLE_ROW,
} from './step.js';

const { P, RW, US, PS, XD, ADDR } = FIRST_STAGE_ENTRY;
const { ABSENT, TABLE, LEAF, MALFORMED } = ENTRY;
const { READ, WRITE, EXECUTE, USER } = RIGHT;
/** The words of an entry, and the row of entries that lead to a table: constants of this module, as above. */
const WORDS = ENTRY_WORDS;
const TO_TABLE = TABLE_ROW;

/** What an implementation of the format leaves open. */
export interface FirstStageOptions {
  /** Address bits from this one to 51 are reserved: MAXPHYADDR, or the host address width. */
  readonly addressWidth: number;
  /** Whether a leaf may stand at level 3 (1 GiB pages). */
  readonly gigabytePages: boolean;
}

/** An implementation of the first-stage format. */
export class FirstStage {
  readonly #reserved: Int32Array;

  constructor({ addressWidth, gigabytePages }: FirstStageOptions) {
    const common = reservedWith(FIRST_STAGE_ENTRY, addressWidth);
    this.#reserved = reservedRows({
      [TABLE_ROW]: common,
      1: common,
      2: reservedWith(FIRST_STAGE_LEAF_2M, addressWidth),
      ...(gigabytePages ? { 3: reservedWith(FIRST_STAGE_LEAF_1G, addressWidth) } : {}),
    });
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
    if (P.get(words, at) === 0) return ABSENT;
    out.rights =
      READ | (RW.get(words, at) * WRITE) | (US.get(words, at) * USER) | ((1 - XD.get(words, at)) * EXECUTE);
    const isLeaf = level === 1 || PS.get(words, at) === 1;
    const row = (isLeaf ? level : TO_TABLE) * WORDS;
    const reserved = this.#reserved;
    const low = (words[at] ?? 0) & (reserved[row] ?? 0);
    if ((low | ((words[at + 1] ?? 0) & (reserved[row + 1] ?? 0))) !== 0) return MALFORMED;
    const frame = ADDR.getLow(words, at);
    // Bit 12 of a large leaf is PAT, no part of its address.
    setFrame(out, isLeaf ? frame & ~offsetIn(-1, level) : frame, ADDR.getHigh(words, at));
    return isLeaf ? LEAF : TABLE;
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
