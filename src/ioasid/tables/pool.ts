/**
 * Records of one size, numbered from 1, taken and given back: the core's `kmem_cache`. A record is a few words
 * in one array, so that a million of them are one object to the garbage collector; the list of those that were
 * given back runs through the records themselves.
 */
import { KeptSlots, type Restorable, UndoLog, Words } from '../../base/index.js';

/** Record 0 is the pool's own: the first of the free records, and how many were ever made. */
const FREE = 0;
const MADE = 1;

export class Pool implements Restorable {
  /** The words of record `n` begin at `n << shift`. */
  readonly store: Words;
  readonly shift: number;
  readonly #last: number;

  /**
   * @param shift a record has 2^shift words, at least 2
   * @param last the highest number of a record
   */
  constructor(shift: number, last = 0x7ff_ffff) {
    this.shift = shift;
    this.#last = last;
    this.store = new Words(8 << shift, Math.max(8, 1 << shift));
  }

  /** A record of zeros; its number. May grow the array, and nothing else in it can fail. */
  take(): number {
    const { store, shift } = this;
    const free = store.words[FREE] ?? 0;
    store.touch(FREE);
    if (free !== 0) {
      store.words[FREE] = store.words[free << shift] ?? 0;
      store.set(free << shift, 0);
      return free;
    }
    const made = (store.words[MADE] ?? 0) + 1;
    if ((made + 1) << shift > store.length) {
      store.grow(store.length * 2);
      store.touch(FREE);
    }
    store.words[MADE] = made;
    return made;
  }

  /** Whether every number has its record in use: then there is none to take. */
  get full(): boolean {
    return this.store.words[FREE] === 0 && this.made >= this.#last;
  }

  /** Takes a record back. */
  give(record: number): void {
    const { store, shift } = this;
    const at = record << shift;
    for (let word = at; word < at + (1 << shift); word += 8) store.touch(word);
    store.words.fill(0, at, at + (1 << shift));
    store.words[at] = store.words[FREE] ?? 0;
    store.set(FREE, record);
  }

  /** How many records were ever made: those in use are among 1 to this. */
  get made(): number {
    return this.store.words[MADE] ?? 0;
  }

  get dirtyChunks(): number {
    return this.store.dirtyChunks;
  }

  mark(): void {
    this.store.mark();
  }

  restore(): void {
    this.store.restore();
  }
}

/** A pool whose records each have one object, by which callers know them. */
export class HandlePool<T extends object> extends Pool {
  readonly #log = new UndoLog();
  readonly handles = new KeptSlots<T>(this.#log);

  /** Takes a record for the object that `make` makes of its number. */
  takeFor(make: (record: number) => T): T {
    const record = this.take();
    const handle = make(record);
    this.handles.set(record, handle);
    return handle;
  }

  override give(record: number): void {
    this.handles.set(record, undefined);
    super.give(record);
  }

  override mark(): void {
    super.mark();
    this.#log.mark();
  }

  override restore(): void {
    super.restore();
    this.#log.restore();
  }
}
