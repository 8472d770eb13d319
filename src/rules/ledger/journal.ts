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
  readonly #tables: Journaled<T>[] = [];
  readonly #keys: number[] = [];
  readonly #values: (T | undefined)[] = [];

  /** To be called before each change: what `table` has under `key`. */
  note(table: Journaled<T>, key: number, value: T | undefined): void {
    if (!this.#isMarked) return;
    this.#tables.push(table);
    this.#keys.push(key);
    this.#values.push(value);
  }

  /** The keys under which something may have changed since the mark, each once; undefined if nothing was marked. */
  get changed(): ReadonlySet<number> | undefined {
    return this.#isMarked ? new Set(this.#keys) : undefined;
  }

  mark(): void {
    this.#isMarked = true;
    this.#clear();
  }

  restore(): void {
    for (let i = this.#keys.length - 1; i >= 0; i--) {
      this.#tables[i]?.putBack(this.#keys[i] ?? 0, this.#values[i]);
    }
    this.#clear();
  }

  #clear(): void {
    this.#tables.length = 0;
    this.#keys.length = 0;
    this.#values.length = 0;
  }
}
