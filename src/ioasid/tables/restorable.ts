/**
 * References to JavaScript objects that go back with the rest of the core. Numbers live in `Words`; what cannot
 * (a handle, a handler, a token) stands in one of these, under a number or a key. Objects in them never change:
 * what changes about a set or a subscriber is in words, so that to put back a reference is to put back all.
 */
import { assert, type Restorable, type Words } from '../../base/index.js';

/** Objects by small number. */
export class Refs<T extends object> implements Restorable {
  readonly #values: (T | undefined)[] = [];
  readonly #before = new Map<number, T | undefined>();
  #marked = false;

  at(index: number): T | undefined {
    return this.#values[index];
  }

  set(index: number, value: T | undefined): void {
    if (this.#marked && !this.#before.has(index)) this.#before.set(index, this.#values[index]);
    // Filled up in order, so that the array stays a dense one.
    while (this.#values.length < index) this.#values.push(undefined);
    this.#values[index] = value;
  }

  /** The objects there are, in the order of their numbers. */
  list(): T[] {
    return this.#values.filter((value) => value !== undefined);
  }

  mark(): void {
    this.#marked = true;
    this.#before.clear();
  }

  restore(): void {
    assert(this.#marked, 'restore without a mark');
    for (const [index, value] of this.#before) this.#values[index] = value;
    this.#before.clear();
  }
}

/** Objects by key. There is no walk over it: the order of a map that was put back is not what it was. */
export class RefMap<K, T extends object> implements Restorable {
  readonly #values = new Map<K, T>();
  readonly #before = new Map<K, T | undefined>();
  #marked = false;

  get(key: K): T | undefined {
    return this.#values.get(key);
  }

  set(key: K, value: T | undefined): void {
    if (this.#marked && !this.#before.has(key)) this.#before.set(key, this.#values.get(key));
    this.#put(key, value);
  }

  mark(): void {
    this.#marked = true;
    this.#before.clear();
  }

  restore(): void {
    assert(this.#marked, 'restore without a mark');
    for (const [key, value] of this.#before) this.#put(key, value);
    this.#before.clear();
  }

  #put(key: K, value: T | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }
}

/** One value that is replaced whole, and is never changed in place. */
export class Cell<T> implements Restorable {
  value: T;
  #before: T | undefined;
  #marked = false;

  constructor(value: T) {
    this.value = value;
  }

  mark(): void {
    this.#marked = true;
    this.#before = this.value;
  }

  restore(): void {
    assert(this.#marked, 'restore without a mark');
    this.value = this.#before as T;
  }
}

/** Adds to one word; the sum. */
export function add(store: Words, index: number, by: number): number {
  const sum = (store.words[index] ?? 0) + by;
  store.set(index, sum);
  return sum;
}
