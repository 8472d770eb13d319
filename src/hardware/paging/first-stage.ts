/**
 * The first-stage format: x86-64's paging entries with 4 or 5 levels, walked by the CPU and, for requests with
 * a PASID, by VT-d and AMD's IOMMU (Intel SDM volume 3, 5.5; VT-d 3.6 and 9.8). One pure step, from an entry to
 * what it means. Accessed and dirty bits, and what a right that is missing leads to, are the walker's business.
 */
import { assert } from '../../base/index.js';
import {
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  maskOf,
  reservedWith,
} from '../../spec/index.js';
import {
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  offsetIn,
  type PagingStep,
  RIGHT,
  reservedRows,
  setFrame,
  TABLE_ROW,
} from './step.js';

const { P, RW, US, PS, XD, ADDR } = FIRST_STAGE_ENTRY;
/** The same bits of the entry's words, to be looked at as they were read. */
const [PRESENT = 0] = maskOf(FIRST_STAGE_ENTRY, P);
const [WRITABLE = 0] = maskOf(FIRST_STAGE_ENTRY, RW);
const [OF_USERS = 0] = maskOf(FIRST_STAGE_ENTRY, US);
const [LARGE = 0] = maskOf(FIRST_STAGE_ENTRY, PS);
const [, NO_EXECUTE = 0] = maskOf(FIRST_STAGE_ENTRY, XD);
assert(WRITABLE === RIGHT.WRITE, 'the bit of RW is no right');
const { ABSENT, TABLE, LEAF, MALFORMED } = ENTRY;
const { READ, EXECUTE, USER } = RIGHT;
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
    const low = words[at] ?? 0;
    const high = words[(at + 1) | 0] ?? 0;
    if ((low & PRESENT) === 0) return ABSENT;
    out.rights =
      READ |
      (low & WRITABLE) |
      ((low & OF_USERS) === 0 ? 0 : USER) |
      ((high & NO_EXECUTE) === 0 ? EXECUTE : 0);
    const isLeaf = level === 1 || (low & LARGE) !== 0;
    const row = (isLeaf ? level : TO_TABLE) * WORDS;
    const reserved = this.#reserved;
    if (((low & (reserved[row] ?? 0)) | (high & (reserved[row + 1] ?? 0))) !== 0) return MALFORMED;
    const frame = ADDR.getLow(words, at);
    // Bit 12 of a large leaf is PAT, no part of its address.
    setFrame(out, isLeaf ? frame & ~offsetIn(-1, level) : frame, ADDR.getHigh(words, at));
    return isLeaf ? LEAF : TABLE;
  }
}

/**
 * Whether a 64-bit address is canonical: all bits above the width of the paging mode equal the highest of it.
 *
 * @param high bits 63:44 of the address: the high half of its page number
 * @param levels 4 (48 bits) or 5 (57 bits)
 */
export function isCanonical(high: number, levels: number): boolean {
  const below = levels * 9 - 33;
  const equal = high >> below;
  return equal === 0 || equal === 0xfffff >> below;
}
