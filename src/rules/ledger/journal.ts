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

  /** The keys under which something may have changed since the mark, each once; undefined if nothing was marked. */
  get changed(): ReadonlySet<number> | undefined {
    return this.#isMarked ? new Set(this.#keys.slice(0, this.#count)) : undefined;
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
