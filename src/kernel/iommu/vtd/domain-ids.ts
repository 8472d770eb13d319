/**
 * The domain ids of a unit: a bit for each, the lowest free one is handed out, at a cost that does not depend on how
 * many are taken.
 */
import { KeptValue, Words } from '../../../base/index.js';
import type { KernelContext } from '../../context.js';

/** Domain id 0 tags what caching mode caches of entries that are not present. */
const FIRST_DID = 1;

export class DomainIds {
  readonly #count: number;
  readonly #taken: Words;
  /** No id below it is free. */
  readonly #firstFree: KeptValue<number>;

  /** @param count ids that the unit has, 0 included */
  constructor({ log, platform }: KernelContext, count: number) {
    this.#count = count;
    this.#taken = new Words(Math.ceil(count / 32), 16);
    this.#firstFree = new KeptValue(log, FIRST_DID);
    platform.keep(this.#taken);
  }

  /** The lowest free id; undefined if there is none. */
  take(): number | undefined {
    const { words } = this.#taken;
    let did = this.#firstFree.value;
    while (did < this.#count && ((words[did >>> 5] ?? 0) & (1 << (did & 31))) !== 0) {
      did = words[did >>> 5] === -1 ? (did | 31) + 1 : did + 1;
    }
    this.#firstFree.value = did;
    if (did >= this.#count) return undefined;
    this.#set(did, (words[did >>> 5] ?? 0) | (1 << (did & 31)));
    this.#firstFree.value = did + 1;
    return did;
  }

  give(did: number): void {
    this.#set(did, (this.#taken.words[did >>> 5] ?? 0) & ~(1 << (did & 31)));
    if (did < this.#firstFree.value) this.#firstFree.value = did;
  }

  #set(did: number, word: number): void {
    this.#taken.set(did >>> 5, word);
  }
}
