/**
 * The second-stage format of VT-d with 3 to 5 levels (VT-d 3.7 and 9.9), which maps guest-physical addresses,
 * or IOVAs where there is no first stage. One pure step, from an entry to what it means. Transient mappings,
 * which revision 3.2 withdrew, are left out: their bit is reserved.
 */
import { SECOND_STAGE_ENTRY } from '../../spec/index.js';
import { ENTRY, type EntryKind, offsetIn, type PagingStep, RIGHT } from './step.js';

const { R, W, X, PS, SNP, TM, ADDR } = SECOND_STAGE_ENTRY;

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
  readonly #frameLimit: number;
  /** The levels at which a leaf may stand, as a set of bits. */
  readonly #leafLevels: number;
  readonly #hasSnoop: boolean;
  /** EXECUTE where X counts. */
  readonly #execute: number;

  constructor(options: SecondStageOptions) {
    this.#frameLimit = 2 ** (options.addressWidth - 12);
    this.#leafLevels = 0b10 | (options.largePages ? 0b100 : 0) | (options.gigabytePages ? 0b1000 : 0);
    this.#hasSnoop = options.snoopControl;
    this.#execute = options.execute ? RIGHT.EXECUTE : 0;
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
    const rights =
      (R.get(words, at) * RIGHT.READ) | (W.get(words, at) * RIGHT.WRITE) | (X.get(words, at) * this.#execute);
    if (rights === 0) return ENTRY.ABSENT;
    out.rights = rights | RIGHT.USER;
    const isLeaf = level === 1 || PS.get(words, at) === 1;
    const frame = ADDR.get(words, at);
    if (frame >= this.#frameLimit) return ENTRY.MALFORMED;
    if (isLeaf && (((this.#leafLevels >> level) & 1) === 0 || offsetIn(frame, level) !== 0)) {
      return ENTRY.MALFORMED;
    }
    if (SNP.get(words, at) === 1 && !(isLeaf && this.#hasSnoop)) return ENTRY.MALFORMED;
    if (TM.get(words, at) === 1) return ENTRY.MALFORMED;
    out.frame = frame;
    return isLeaf ? ENTRY.LEAF : ENTRY.TABLE;
  }
}
