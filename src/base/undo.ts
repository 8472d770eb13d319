/**
 * State in JavaScript objects that can be put back: each container saves itself once after a mark, before its
 * first change, and a restore runs what was saved. Numbers by the thousand belong into `Words`; this is for the
 * few objects that lead to them. To mark costs nothing; to restore costs what changed.
 */
import { assert } from './bug.js';
import { takeOut } from './take-out.js';
import type { Restorable } from './words.js';

/** What a set of containers saved since the mark. */
export class UndoLog implements Restorable {
  readonly #inverses: (() => void)[] = [];
  #epoch = 0;

  /** Changes with each mark and each restore: whoever saved itself in this epoch need not again. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Adds what puts one container back. */
  push(inverse: () => void): void {
    this.#inverses.push(inverse);
  }

  mark(): void {
    this.#inverses.length = 0;
    this.#epoch++;
  }

  restore(): void {
    assert(this.#epoch > 0, 'restore without a mark');
    for (let inverse = this.#inverses.pop(); inverse !== undefined; inverse = this.#inverses.pop()) inverse();
    this.#epoch++;
  }
}

/** A container on a log. One that was made after the mark needs no saving: nothing that was there leads to it. */
export abstract class Kept {
  readonly #log: UndoLog;
  #savedIn: number;

  constructor(log: UndoLog) {
    this.#log = log;
    this.#savedIn = log.epoch;
  }

  /** To be called before each change. */
  protected changing(): void {
    if (this.#savedIn === this.#log.epoch) return;
    this.#savedIn = this.#log.epoch;
    this.#log.push(this.saved());
  }

  /** What puts the present state back. */
  protected abstract saved(): () => void;
}

/**
 * An object whose public fields are put back. All may read them; whoever changes one says so by
 * {@link KeptObject.change}. For what comes by the hundred thousand: a container for each field is larger than the field.
 */
export abstract class KeptObject extends Kept {
  /** The object, for a change. */
  change(): { -readonly [K in keyof this]: this[K] } {
    this.changing();
    return this;
  }

  protected override saved(): () => void {
    const before = { ...this };
    return () => {
      Object.assign(this, before);
    };
  }
}

/** One value that is replaced whole. */
export class KeptValue<T> extends Kept {
  #value: T;

  constructor(log: UndoLog, value: T) {
    super(log);
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set value(value: T) {
    this.changing();
    this.#value = value;
  }

  protected override saved(): () => void {
    const before = this.#value;
    return () => {
      this.#value = before;
    };
  }
}

/** What all empty lists share. */
const NOTHING: readonly never[] = [];

/** A list with one item more: of just so many while there are few, for one that grows takes room for 17. */
function withOneMore<T>(items: readonly T[], item: T): readonly T[] {
  const [first, second] = items as readonly [T, T];
  if (items.length === 0) return [item];
  if (items.length === 1) return [first, item];
  if (items.length === 2) return [first, second, item];
  (items as T[]).push(item);
  return items;
}

/** So many keys are looked through faster than they are hashed. */
const FEW = 8;

/** A map, in the order in which its keys came; small, for it is saved whole. */
export class KeptMap<K, V> extends Kept {
  /** While there are few: the keys, and the value of each. There are none before the first comes: most stay empty. */
  #keys: readonly K[] = NOTHING;
  #values: readonly V[] = NOTHING;
  /** Once there are more. */
  #map: Map<K, V> | undefined;

  get size(): number {
    return this.#map === undefined ? this.#keys.length : this.#map.size;
  }

  get(key: K): V | undefined {
    if (this.#map !== undefined) return this.#map.get(key);
    const at = this.#keys.indexOf(key);
    return at < 0 ? undefined : this.#values[at];
  }

  has(key: K): boolean {
    return this.#map === undefined ? this.#keys.includes(key) : this.#map.has(key);
  }

  set(key: K, value: V): void {
    this.changing();
    if (this.#map !== undefined) {
      this.#map.set(key, value);
      return;
    }
    const { length } = this.#keys;
    const at = this.#keys.indexOf(key);
    if (at >= 0) (this.#values as V[])[at] = value;
    else if (length === FEW) this.#grow().set(key, value);
    else {
      this.#keys = withOneMore(this.#keys, key);
      this.#values = withOneMore(this.#values, value);
    }
  }

  delete(key: K): boolean {
    if (!this.has(key)) return false;
    this.changing();
    if (this.#map !== undefined) {
      this.#map.delete(key);
      if (this.#map.size === 0) this.#setFew(NOTHING, NOTHING);
    } else if (this.#keys.length === 1) {
      this.#setFew(NOTHING, NOTHING);
    } else {
      const at = this.#keys.indexOf(key);
      takeOut(this.#keys as K[], at);
      takeOut(this.#values as V[], at);
    }
    return true;
  }

  keys(): K[] {
    return this.#map === undefined ? this.#keys.slice() : [...this.#map.keys()];
  }

  /** The first value that is as wanted. */
  find(isWanted: (value: V) => boolean): V | undefined {
    if (this.#map === undefined) return this.#values.find(isWanted);
    for (const value of this.#map.values()) if (isWanted(value)) return value;
    return undefined;
  }

  values(): V[] {
    return this.#map === undefined ? this.#values.slice() : [...this.#map.values()];
  }

  protected override saved(): () => void {
    const map = this.#map && new Map(this.#map);
    const keys = this.#keys.slice();
    const values = this.#values.slice();
    return () => {
      this.#setFew(keys, values);
      this.#map = map;
    };
  }

  #grow(): Map<K, V> {
    const map = new Map(this.#keys.map((key, at) => [key, this.#values[at] as V]));
    this.#setFew(NOTHING, NOTHING);
    this.#map = map;
    return map;
  }

  #setFew(keys: readonly K[], values: readonly V[]): void {
    this.#map = undefined;
    this.#keys = keys;
    this.#values = values;
  }
}

/** A list that grows at its end and shrinks anywhere; small, for it is saved whole. */
export class KeptList<T> extends Kept {
  /** The first item makes a list of just that: an empty one that grows takes room for 17. */
  #items: readonly T[] = NOTHING;

  get length(): number {
    return this.#items.length;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  push(item: T): void {
    this.changing();
    if (this.#items.length === 0) this.#items = [item];
    else (this.#items as T[]).push(item);
  }

  /** Takes the first item out. */
  shift(): T | undefined {
    if (this.#items.length === 0) return undefined;
    this.changing();
    return (this.#items as T[]).shift();
  }

  /** Takes `item` out; whether it was there. */
  remove(item: T): boolean {
    const at = this.#items.indexOf(item);
    if (at < 0) return false;
    this.changing();
    if (this.#items.length === 1) this.#items = NOTHING;
    else takeOut(this.#items as T[], at);
    return true;
  }

  protected override saved(): () => void {
    const before = [...this.#items];
    return () => {
      this.#items = before;
    };
  }
}

/** What is saved of a container entry by entry, each once a mark. */
class SavedKeys<K> {
  readonly #log: UndoLog;
  readonly #saved = new Set<K>();
  /** When the container was made, or saved an entry last. */
  #epoch: number;
  #isNew = true;

  constructor(log: UndoLog) {
    this.#log = log;
    this.#epoch = log.epoch;
  }

  /** Whether the entry of `key` has to be saved before it changes; it counts as saved then. */
  needs(key: K): boolean {
    if (this.#epoch !== this.#log.epoch) {
      this.#epoch = this.#log.epoch;
      this.#isNew = false;
      this.#saved.clear();
    }
    if (this.#isNew || this.#saved.has(key)) return false;
    this.#saved.add(key);
    return true;
  }
}

/** Objects by small number; however many, for each is saved by itself. */
export class KeptSlots<T extends object> {
  readonly #log: UndoLog;
  readonly #values: (T | undefined)[] = [];
  readonly #saved: SavedKeys<number>;

  constructor(log: UndoLog) {
    this.#log = log;
    this.#saved = new SavedKeys(log);
  }

  at(index: number): T | undefined {
    return this.#values[index];
  }

  set(index: number, value: T | undefined): void {
    if (this.#saved.needs(index)) {
      const before = this.#values[index];
      this.#log.push(() => {
        this.#values[index] = before;
      });
    }
    // Filled up in order, so that the array stays a dense one.
    while (this.#values.length < index) this.#values.push(undefined);
    this.#values[index] = value;
  }

  /** The objects there are, in the order of their numbers. */
  list(): T[] {
    return this.#values.filter((value) => value !== undefined);
  }
}

/**
 * Values by key; however many, for each is saved by itself. There is no walk over it: the order of a map that was put
 * back is not what it was.
 */
export class KeptTable<K, V> {
  readonly #log: UndoLog;
  readonly #map = new Map<K, V>();
  readonly #saved: SavedKeys<K>;

  constructor(log: UndoLog) {
    this.#log = log;
    this.#saved = new SavedKeys(log);
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  set(key: K, value: V): void {
    this.#save(key);
    this.#map.set(key, value);
  }

  delete(key: K): boolean {
    if (!this.#map.has(key)) return false;
    this.#save(key);
    return this.#map.delete(key);
  }

  #save(key: K): void {
    if (!this.#saved.needs(key)) return;
    const isThere = this.#map.has(key);
    const before = this.#map.get(key);
    this.#log.push(() => {
      if (isThere) this.#map.set(key, before as V);
      else this.#map.delete(key);
    });
  }
}
