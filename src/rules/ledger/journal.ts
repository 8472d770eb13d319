/**
 * What tables of a ledger held before they changed, so that a run's changes can be put back in time proportional to
 * their number. Nothing is noted before the first mark: what is never put back costs nothing.
 */
import type { Restorable } from '../../base/index.js';

/** A table of values by number. */
export interface Journaled<T> {
  /** Has under `key` again what it had; undefined: nothing. */
  putBack(key: number, value: T | undefined): void;
}

export class Journal<T> implements Restorable {
  #isMarked = false;
  /** Of so many changes; what stands behind them is from before, and keeps its room. */
  #count = 0;
  readonly #tables: (Journaled<T> | undefined)[] = [];
  readonly #keys: number[] = [];
  readonly #values: (T | undefined)[] = [];

  /** To be called before each change: what `table` has under `key`. */
  note(table: Journaled<T>, key: number, value: T | undefined): void {
    if (!this.#isMarked) return;
    const at = this.#count++;
    this.#tables[at] = table;
    this.#keys[at] = key;
    this.#values[at] = value;
  }

  /** Whether it notes what changes. */
  get isMarked(): boolean {
    return this.#isMarked;
  }

  /** Shows the keys under which something may have changed since the mark; one may come again. */
  eachChanged(show: (key: number) => void): void {
    for (let i = 0; i < this.#count; i++) show(this.#keys[i] ?? 0);
  }

  mark(): void {
    this.#isMarked = true;
    this.#count = 0;
  }

  restore(): void {
    for (let i = this.#count - 1; i >= 0; i--) {
      this.#tables[i]?.putBack(this.#keys[i] ?? 0, this.#values[i]);
      this.#tables[i] = undefined;
      this.#values[i] = undefined;
    }
    this.#count = 0;
  }
}
