/**
 * From (set, SPID) to the host id: one hash table for all sets, open addressing, half full at most. An entry is
 * two words that say all, so that a look-up reads one line of the cache. A guest chooses its SPIDs, so the hash
 * is keyed: without the key it cannot make the look-ups of others slow.
 *
 *     0  SPID (20 bits), low 12 bits of the set      1  id (20 bits), high 12 bits of the set
 *
 * For one (set, SPID) there is one entry. Where the id that had it is being freed, the entry may already name
 * the next one: whoever erases says for which id, and another's entry stays.
 */
import { type Restorable, Words } from '../../base/index.js';

const LOW = 0xfffff;
/** Words of the table's head: its size is 2^BITS entries. */
const BITS = 0;
const COUNT = 1;

/** All ones if both words are the same, else zero; without a branch. */
const ifSame = (a: number, b: number): number => {
  const unlike = a ^ b;
  return ~((unlike | -unlike) >> 31);
};

const firstWord = (set: number, spid: number): number => spid | (set << 20);
const setHigh = (set: number): number => (set >>> 12) << 20;

export class SpidTable implements Restorable {
  readonly #key: number;
  readonly #head = new Words(4, 4);
  readonly #slots = new Words(32, 16);

  /** @param key any 32 bits; guests should not know them */
  constructor(key: number) {
    this.#key = key | 1;
    this.#head.words[BITS] = 4;
  }

  /**
   * The id that `spid` stands for in `set`, or 0. The first four places are looked at without a branch: one that
   * nobody can predict costs more than they do, and nearly always the entry is there.
   */
  find(set: number, spid: number): number {
    const { words } = this.#slots;
    const first = firstWord(set, spid);
    const mask = (2 << (this.#head.words[BITS] ?? 0)) - 1;
    const at0 = this.#hash(first, set) & mask;
    const at1 = (at0 + 2) & mask;
    const at2 = (at0 + 4) & mask;
    const at3 = (at0 + 6) & mask;
    const second =
      (ifSame(words[at0] ?? 0, first) & (words[at0 + 1] ?? 0)) |
      (ifSame(words[at1] ?? 0, first) & (words[at1 + 1] ?? 0)) |
      (ifSame(words[at2] ?? 0, first) & (words[at2 + 1] ?? 0)) |
      (ifSame(words[at3] ?? 0, first) & (words[at3 + 1] ?? 0));
    const id = second & LOW;
    // Sets whose numbers have the same low bits could answer together: then, and further away, one by one.
    if (set < 0x1000 && id !== 0 && second === id) return id;
    return (words[this.#placeOf(set, spid) + 1] ?? 0) & LOW;
  }

  /** The place where (set, SPID) is looked for first. */
  home(set: number, spid: number): number {
    return (this.#hash(firstWord(set, spid), set) & ((2 << (this.#head.words[BITS] ?? 0)) - 1)) / 2;
  }

  /** How many places from its own the entry of (set, SPID) stands, or would: what a look-up costs. */
  distance(set: number, spid: number): number {
    const mask = (2 << (this.#head.words[BITS] ?? 0)) - 1;
    return ((this.#placeOf(set, spid) - this.#hash(firstWord(set, spid), set)) & mask) / 2;
  }

  /** Whether another entry needs a bigger table. */
  get full(): boolean {
    const { words } = this.#head;
    return ((words[COUNT] ?? 0) + 1) * 2 > 1 << (words[BITS] ?? 0);
  }

  /** Makes the table twice as big. */
  grow(): void {
    const slots = this.#slots;
    const bits = this.#head.words[BITS] ?? 0;
    const entries = slots.words.slice(0, 2 << bits);
    slots.grow(entries.length * 2);
    for (let at = 0; at < entries.length; at += 16) slots.touch(at);
    slots.words.fill(0, 0, entries.length);
    this.#head.set(BITS, bits + 1);
    for (let at = 0; at < entries.length; at += 2) {
      const [first, second] = [entries[at] ?? 0, entries[at + 1] ?? 0];
      if (second !== 0) this.#store(this.#placeOf(setIn(first, second), first & LOW), first, second);
    }
  }

  /** Lets (set, SPID) stand for an id, whatever it stood for before. There must be room. */
  put(set: number, spid: number, id: number): void {
    const place = this.#placeOf(set, spid);
    if ((this.#slots.words[place + 1] ?? 0) === 0) this.#head.set(COUNT, (this.#head.words[COUNT] ?? 0) + 1);
    this.#store(place, firstWord(set, spid), id | setHigh(set));
  }

  /** Erases the entry of (set, SPID), if it stands for this id. */
  erase(set: number, spid: number, id: number): void {
    const { words } = this.#slots;
    let hole = this.#placeOf(set, spid);
    if (((words[hole + 1] ?? 0) & LOW) !== id) return;
    this.#head.set(COUNT, (this.#head.words[COUNT] ?? 0) - 1);
    // Entries behind the hole move up into it, unless that would put them before their own place: so there
    // are no tombstones, and a look-up ends at the first empty place.
    const mask = (2 << (this.#head.words[BITS] ?? 0)) - 1;
    for (let place = (hole + 2) & mask; ; place = (place + 2) & mask) {
      const first = words[place] ?? 0;
      const second = words[place + 1] ?? 0;
      if (second === 0) break;
      const home = this.#hash(first, setIn(first, second)) & mask;
      if (((place - home) & mask) >= ((place - hole) & mask)) {
        this.#store(hole, first, second);
        hole = place;
      }
    }
    this.#store(hole, 0, 0);
  }

  get dirtyChunks(): number {
    return this.#head.dirtyChunks + this.#slots.dirtyChunks;
  }

  mark(): void {
    this.#head.mark();
    this.#slots.mark();
  }

  restore(): void {
    this.#head.restore();
    this.#slots.restore();
  }

  #store(place: number, first: number, second: number): void {
    const slots = this.#slots;
    slots.touch(place);
    slots.words[place] = first;
    slots.words[place + 1] = second;
  }

  /** Where the entry of (set, SPID) is, or where it would go. */
  #placeOf(set: number, spid: number): number {
    const { words } = this.#slots;
    const first = firstWord(set, spid);
    const high = setHigh(set);
    const mask = (2 << (this.#head.words[BITS] ?? 0)) - 1;
    for (let place = this.#hash(first, set) & mask; ; place = (place + 2) & mask) {
      const second = words[place + 1] ?? 0;
      if (second === 0 || (words[place] === first && (second & ~LOW) === high)) return place;
    }
  }

  /** Even: the index of the first word of an entry, before the mask. */
  #hash(first: number, set: number): number {
    const mixed = Math.imul(first ^ (set >>> 12), this.#key);
    const more = Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca6b);
    return (more ^ (more >>> 13)) << 1;
  }
}

const setIn = (first: number, second: number): number => (first >>> 20) | ((second >>> 20) << 12);
