/**
 * Interrupt message storage: entries in BAR0 like those of MSI-X, with the PASID that may use each (Intel DSA
 * Architecture Specification, 341204, revision 3.0, 3.7 and 9.2.25). Descriptors that come through an IMS portal name
 * entries here. Entries begin masked.
 */
import { type Restorable, Words } from '../../base/index.js';
import { DSA_IMS, DSA_STRIDE } from '../../spec/index.js';

const { MASK, PENDING } = DSA_IMS;
const ENTRY_WORDS = DSA_STRIDE.IMS / 4;
/** The word of the control fields. */
const CONTROL = MASK.low / 32;
const MASK_BIT = 1 << (MASK.low % 32);
const PENDING_BIT = 1 << (PENDING.low % 32);

export class MessageStore implements Restorable {
  readonly entries: number;
  readonly #state: Words;

  constructor(entries: number) {
    this.entries = entries;
    this.#state = new Words(Math.max(entries, 1) * ENTRY_WORDS);
    this.reset();
  }

  /** An entry begins at {@link MessageStore.at} in these. */
  get words(): Int32Array {
    return this.#state.words;
  }

  at(entry: number): number {
    return entry * ENTRY_WORDS;
  }

  /** @param word of the table */
  read(word: number): number {
    return this.#state.words[word] ?? 0;
  }

  /** A write by software, which cannot change the pending bit. */
  write(word: number, value: number): void {
    const isControl = word % ENTRY_WORDS === CONTROL;
    const reserved = DSA_IMS.reserved[word % ENTRY_WORDS] ?? 0;
    const kept = isControl ? this.read(word) & PENDING_BIT : 0;
    this.#state.set(word, (value & ~reserved & ~(isControl ? PENDING_BIT : 0)) | kept);
  }

  isPending(entry: number): boolean {
    return PENDING.get(this.words, this.at(entry)) === 1;
  }

  setPending(entry: number, isPending: boolean): void {
    if (this.isPending(entry) === isPending) return;
    this.#state.touch(this.at(entry));
    PENDING.set(this.words, this.at(entry), isPending ? 1 : 0);
  }

  reset(): void {
    for (let i = 0; i < this.entries * ENTRY_WORDS; i++) {
      const word = i % ENTRY_WORDS === CONTROL ? MASK_BIT : 0;
      if (this.read(i) !== word) this.#state.set(i, word);
    }
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }
}
