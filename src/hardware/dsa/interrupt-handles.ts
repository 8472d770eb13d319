/**
 * Interrupt handles: on a device that has the commands to request them, a descriptor names an entry of the MSI-X
 * table or of interrupt message storage by a handle alone (Intel DSA Architecture Specification, 341204, revision 3.0,
 * 3.7 and 9.2.12). On one that has not, the handle is the entry's index. The lowest free handle is given.
 */
import { type Restorable, Words } from '../../base/index.js';

/** In handles and indexes: of interrupt message storage, not of MSI-X; as in the commands' operand. */
export const IMS_TABLE = 1 << 16;
export const NO_ENTRY = -1;

export class InterruptHandles implements Restorable {
  /** How many can be given out; 0, if they are not used. */
  readonly count: number;
  /** By handle, and table: the entry, counted from 1; 0 for free. */
  readonly #given: Words;

  constructor(count: number) {
    this.count = count;
    this.#given = new Words(Math.max(count, 1) * 2);
  }

  /** The handle, with its table, for an entry, with its table; NO_ENTRY if there is none left. */
  request(entry: number): number {
    const table = entry & IMS_TABLE;
    for (let handle = 0; handle < this.count; handle++) {
      if (this.#given.words[this.#at(handle | table)] !== 0) continue;
      this.#given.set(this.#at(handle | table), (entry & ~IMS_TABLE) + 1);
      return handle | table;
    }
    return NO_ENTRY;
  }

  /** Whether it was given. */
  release(handle: number): boolean {
    if (this.entryOf(handle) === NO_ENTRY) return false;
    this.#given.set(this.#at(handle), 0);
    return true;
  }

  /** The entry of a handle, both with their table; NO_ENTRY if it was not given. */
  entryOf(handle: number): number {
    if (this.count === 0) return handle;
    if ((handle & ~IMS_TABLE) >= this.count) return NO_ENTRY;
    const given = this.#given.words[this.#at(handle)] ?? 0;
    return given === 0 ? NO_ENTRY : (given - 1) | (handle & IMS_TABLE);
  }

  reset(): void {
    for (let i = 0; i < this.count * 2; i++) if (this.#given.words[i] !== 0) this.#given.set(i, 0);
  }

  mark(): void {
    this.#given.mark();
  }

  restore(): void {
    this.#given.restore();
  }

  #at(handle: number): number {
    return (handle & ~IMS_TABLE) * 2 + ((handle & IMS_TABLE) === 0 ? 0 : 1);
  }
}
