/**
 * The second-stage format of VT-d with 3 to 5 levels (VT-d 3.7 and 9.9), which maps guest-physical addresses,
 * or IOVAs where there is no first stage. One pure step, from an entry to what it means. Transient mappings,
 * which revision 3.2 withdrew, are left out: their bit is reserved.
 */
import { assert } from '../../base/index.js';
import {
  maskOf,
  reservedWith,
  SECOND_STAGE_ENTRY,
  SECOND_STAGE_LEAF_1G,
  SECOND_STAGE_LEAF_2M,
} from '../../spec/index.js';
import {
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  type PagingStep,
  RIGHT,
  reservedRows,
  setFrame,
  TABLE_ROW,
} from './step.js';

const { R, W, X, PS, SNP, TM, ADDR } = SECOND_STAGE_ENTRY;
const [LARGE = 0] = maskOf(SECOND_STAGE_ENTRY, PS);
const { ABSENT, TABLE, LEAF, MALFORMED } = ENTRY;
const { USER } = RIGHT;
/** The words of an entry, and the row of entries that lead to a table: constants of this module, as above. */
const WORDS = ENTRY_WORDS;
const TO_TABLE = TABLE_ROW;

/** The bits of R and W, and of X too: they are the rights that they grant. */
const [READ_WRITE = 0] = maskOf(SECOND_STAGE_ENTRY, R, W);
const [READ_WRITE_EXECUTE = 0] = maskOf(SECOND_STAGE_ENTRY, R, W, X);
assert(READ_WRITE === (RIGHT.READ | RIGHT.WRITE), 'the bits of R and W are no rights');
assert(READ_WRITE_EXECUTE === (READ_WRITE | RIGHT.EXECUTE), 'the bit of X is no right');

/** What an implementation of the format leaves open. */
export interface SecondStageOptions {
  /** Address bits from this one to 51 are reserved: the host address width. */
  readonly addressWidth: number;
  /** Whether a leaf may stand at level 2 (2 MiB pages): CAP.SSLPS bit 0. */
  readonly largePages: boolean;
  /** Whether a leaf may stand at level 3 (1 GiB pages): CAP.SSLPS bit 1. */
  readonly gigabytePages: boolean;
  /** Whether entries may force snooping: ECAP.SC. */
  readonly snoopControl: boolean;
  /** Whether entries may grant execution: the PASID entry's ERE. Where they may not, the bit is ignored. */
  readonly execute: boolean;
}

/** An implementation of the second-stage format. */
export class SecondStage {
  /** The bits that count as rights. */
  readonly #granting: number;
  readonly #reserved: Int32Array;

  constructor(options: SecondStageOptions) {
    const { addressWidth, largePages, gigabytePages, snoopControl, execute } = options;
    const leaf = (of: typeof SECOND_STAGE_LEAF_2M): Int32Array =>
      snoopControl ? reservedWith(of, addressWidth, of.TM) : reservedWith(of, addressWidth, of.TM, of.SNP);
    this.#granting = execute ? READ_WRITE_EXECUTE : READ_WRITE;
    this.#reserved = reservedRows({
      [TABLE_ROW]: reservedWith(SECOND_STAGE_ENTRY, addressWidth, TM, SNP),
      1: leaf(SECOND_STAGE_ENTRY),
      ...(largePages ? { 2: leaf(SECOND_STAGE_LEAF_2M) } : {}),
      ...(gigabytePages ? { 3: leaf(SECOND_STAGE_LEAF_1G) } : {}),
    });
  }

  /**
   * One entry. It is present if it grants any right.
   *
   * @param level of the table it stands in, 1 to 5
   * @param words holds the entry
   * @param at the index of its first word
   * @param out its rights are filled unless ABSENT, its frame for TABLE and LEAF
   */
  step(level: number, words: Int32Array, at: number, out: PagingStep): EntryKind {
    const low = words[at] ?? 0;
    const rights = low & this.#granting;
    if (rights === 0) return ABSENT;
    out.rights = rights | USER;
    const isLeaf = level === 1 || (low & LARGE) !== 0;
    const row = (isLeaf ? level : TO_TABLE) * WORDS;
    const reserved = this.#reserved;
    const high = words[(at + 1) | 0] ?? 0;
    if (((low & (reserved[row] ?? 0)) | (high & (reserved[row + 1] ?? 0))) !== 0) return MALFORMED;
    setFrame(out, ADDR.getLow(words, at), ADDR.getHigh(words, at));
    return isLeaf ? LEAF : TABLE;
  }
}
