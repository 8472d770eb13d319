/**
 * From (set, SPID) to the host id: one hash table for all sets, open addressing, half full at most. An entry is
 * the id alone; set and SPID are read from the id's record. A guest chooses its SPIDs, so the hash is keyed:
 * without the key it cannot make the look-ups of others slow.
 *
 * For one (set, SPID) there is one entry. Where the id that had it is being freed, the entry may already name
 * the next one: whoever erases says for which id, and another's entry stays.
 */
import { type Restorable, Words } from '../base/index.js';
import { setOf, spidOf } from './record.js';

/** Words of the table's head. */
const BITS = 0;
const COUNT = 1;

export class SpidTable implements Restorable {
  readonly #ids: Words;
  readonly #key: number;
  readonly #head = new Words(4, 4);
  readonly #slots = new Words(16, 16);

  /**
   * @param ids the records of the ids
   * @param key any 32 bits; guests should not know them
   */
  constructor(ids: Words, key: number) {
    this.#ids = ids;
    this.#key = key | 1;
    this.#head.words[BITS] = 4;
  }

  /** The id that `spid` stands for in `set`, or 0. */
  find(set: number, spid: number): number {
    return this.#slots.words[this.#slotOf(set, spid)] ?? 0;
  }

  /** Whether another entry needs a bigger table. */
  get full(): boolean {
    const { words } = this.#head;
    return ((words[COUNT] ?? 0) + 1) * 2 > 1 << (words[BITS] ?? 0);
  }

  /** Makes the table twice as big. */
  grow(): void {
    const head = this.#head.words;
    const slots = this.#slots;
    const size = 1 << (head[BITS] ?? 0);
    const entries = slots.words.slice(0, size);
    slots.grow(size * 2);
    for (let at = 0; at < size; at += 16) slots.touch(at);
    slots.words.fill(0, 0, size);
    this.#head.set(BITS, (head[BITS] ?? 0) + 1);
    for (const id of entries) {
      if (id !== 0) slots.set(this.#slotOf(setOf(this.#ids, id), spidOf(this.#ids, id)), id);
    }
  }

  /** Lets the SPID in the record of `id` stand for `id`, whatever it stood for before. There must be room. */
  put(id: number): void {
    const slot = this.#slotOf(setOf(this.#ids, id), spidOf(this.#ids, id));
    if ((this.#slots.words[slot] ?? 0) === 0) this.#head.set(COUNT, (this.#head.words[COUNT] ?? 0) + 1);
    this.#slots.set(slot, id);
  }

  /** Erases the entry of the SPID in the record of `id`, if it stands for `id`. */
  erase(id: number): void {
    const slots = this.#slots;
    let hole = this.#slotOf(setOf(this.#ids, id), spidOf(this.#ids, id));
    if (slots.words[hole] !== id) return;
    this.#head.set(COUNT, (this.#head.words[COUNT] ?? 0) - 1);
    // Entries behind the hole move up into it, unless that would put them before their own place: so there
    // are no tombstones, and a look-up ends at the first empty slot.
    const mask = (1 << (this.#head.words[BITS] ?? 0)) - 1;
    for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots.words[slot] ?? 0;
      if (entry === 0) break;
      const home = this.#hash(setOf(this.#ids, entry), spidOf(this.#ids, entry));
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        slots.set(hole, entry);
        hole = slot;
      }
    }
    slots.set(hole, 0);
  }

  mark(): void {
    this.#head.mark();
    this.#slots.mark();
  }

  restore(): void {
    this.#head.restore();
    this.#slots.restore();
  }

  /** Where (set, spid) is, or where it would go. */
  #slotOf(set: number, spid: number): number {
    const { words } = this.#slots;
    const mask = (1 << (this.#head.words[BITS] ?? 0)) - 1;
    for (let slot = this.#hash(set, spid); ; slot = (slot + 1) & mask) {
      const id = words[slot] ?? 0;
      if (id === 0 || (spidOf(this.#ids, id) === spid && setOf(this.#ids, id) === set)) return slot;
    }
  }

  #hash(set: number, spid: number): number {
    const mixed = Math.imul(spid ^ Math.imul(set, 0x9e37_79b1), this.#key);
    return Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca6b) >>> (32 - (this.#head.words[BITS] ?? 0));
  }
}
