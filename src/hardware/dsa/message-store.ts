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
  /** The entries, and behind them how many of the first ones may have changed since the last reset. */
  readonly #state: Words;
  readonly #used: number;

  constructor(entries: number) {
    this.entries = entries;
    this.#used = entries * ENTRY_WORDS;
    this.#state = new Words(this.#used + 1);
    for (let entry = 0; entry < entries; entry++) this.#clear(entry);
  }

  /** From this entry on all are as a reset leaves them: few are ever used. */
  get used(): number {
    return this.#state.words[this.#used] ?? 0;
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
    this.#use(Math.floor(word / ENTRY_WORDS));
    this.#state.set(word, (value & ~reserved & ~(isControl ? PENDING_BIT : 0)) | kept);
  }

  isPending(entry: number): boolean {
    return PENDING.get(this.words, this.at(entry)) === 1;
  }

  setPending(entry: number, isPending: boolean): void {
    if (this.isPending(entry) === isPending) return;
    this.#use(entry);
    this.#state.touch(this.at(entry));
    PENDING.set(this.words, this.at(entry), isPending ? 1 : 0);
  }

  reset(): void {
    for (let entry = 0; entry < this.used; entry++) this.#clear(entry);
    if (this.used > 0) this.#state.set(this.#used, 0);
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  #use(entry: number): void {
    if (entry >= this.used) this.#state.set(this.#used, entry + 1);
  }

  #clear(entry: number): void {
    const at = this.at(entry);
    for (let word = 0; word < ENTRY_WORDS; word++)
      this.#state.set(at + word, word === CONTROL ? MASK_BIT : 0);
  }
}
