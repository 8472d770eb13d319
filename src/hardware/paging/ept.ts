/**
 * The EPT format, which CPUs in guest mode map guest-physical addresses by (Intel SDM volume 3, 29.3.2 and 29.3.3.1).
 * One pure step, from an entry to what it means; a malformed entry is an EPT misconfiguration. It is close to VT-d's
 * second stage, and stricter: W without R, memory types, and bits 6:3 of an entry that leads to a table count here.
 * Left out: execution by mode, sub-page permissions, and other rights that need a control of their own.
 */
import { EPT_ENTRY, EPT_MEMORY_TYPE } from '../../spec/index.js';
import { ENTRY, type EntryKind, offsetIn, type PagingStep, RIGHT } from './step.js';

const { R, W, X, EMT, IPAT, PS, ADDR } = EPT_ENTRY;

/** The memory types that there are, as a set of bits. */
const TYPES = Object.values(EPT_MEMORY_TYPE).reduce<number>((set, type) => set | (1 << type), 0);

/** What an implementation of the format leaves open. */
export interface EptOptions {
  /** Address bits from this one to 51 are reserved: MAXPHYADDR. */
  readonly addressWidth: number;
  /** Whether a leaf may stand at level 3 (1 GiB pages). */
  readonly gigabytePages: boolean;
  /** Whether an entry may grant execution alone. */
  readonly executeOnly: boolean;
}

/** An implementation of the EPT format. */
export class Ept {
  readonly #frameLimit: number;
  readonly #gigabytePages: boolean;
  readonly #executeOnly: boolean;

  constructor({ addressWidth, gigabytePages, executeOnly }: EptOptions) {
    this.#frameLimit = 2 ** (addressWidth - 12);
    this.#gigabytePages = gigabytePages;
    this.#executeOnly = executeOnly;
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
      (R.get(words, at) * RIGHT.READ) | (W.get(words, at) * RIGHT.WRITE) | (X.get(words, at) * RIGHT.EXECUTE);
    if (rights === 0) return ENTRY.ABSENT;
    out.rights = rights | RIGHT.USER;
    if ((rights & RIGHT.READ) === 0 && !(rights === RIGHT.EXECUTE && this.#executeOnly))
      return ENTRY.MALFORMED;
    const frame = ADDR.get(words, at);
    if (frame >= this.#frameLimit) return ENTRY.MALFORMED;
    out.frame = frame;
    const type = EMT.get(words, at);
    const isLarge = level > 1 && PS.get(words, at) === 1;
    if (level === 1 || isLarge) {
      if (isLarge && (level > 3 || (level === 3 && !this.#gigabytePages))) return ENTRY.MALFORMED;
      return ((TYPES >> type) & 1) === 0 || offsetIn(frame, level) !== 0 ? ENTRY.MALFORMED : ENTRY.LEAF;
    }
    return type !== 0 || IPAT.get(words, at) === 1 ? ENTRY.MALFORMED : ENTRY.TABLE;
  }
}
