/**
 * A map that can be put back in time proportional to what changed: what was there at the mark stays aside, and
 * what changed since lies over it.
 */
import type { Restorable } from '../../base/index.js';

export class OverlayMap<K, V> implements Restorable {
  readonly #base = new Map<K, V>();
  readonly #over = new Map<K, V | undefined>();

  get(key: K): V | undefined {
    const over = this.#over.get(key);
    if (over !== undefined || this.#base.size === 0) return over;
    return this.#over.has(key) ? undefined : this.#base.get(key);
  }

  set(key: K, value: V): void {
    this.#over.set(key, value);
  }

  delete(key: K): void {
    // What came and went since the mark leaves nothing behind: a long run's map is as small as what is in it.
    if (this.#base.has(key)) this.#over.set(key, undefined);
    else this.#over.delete(key);
  }

  /** All that is there, in the order in which keys first came. */
  *entries(): Generator<[K, V]> {
    for (const key of this.#base.keys()) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
    for (const [key, value] of this.#over) {
      if (value !== undefined && !this.#base.has(key)) yield [key, value];
    }
  }

  /** The values of all that is there, in the same order. */
  values(): V[] {
    const values: V[] = [];
    for (const key of this.#base.keys()) {
      const value = this.get(key);
      if (value !== undefined) values.push(value);
    }
    for (const [key, value] of this.#over) {
      if (value !== undefined && !this.#base.has(key)) values.push(value);
    }
    return values;
  }

  mark(): void {
    for (const [key, value] of this.#over) {
      if (value === undefined) this.#base.delete(key);
      else this.#base.set(key, value);
    }
    this.#over.clear();
  }

  restore(): void {
    this.#over.clear();
  }
}
