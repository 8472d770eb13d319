/**
 * Which ids are free, for the policy `cyclic`: of those in the range, the one that has been free longest comes
 * first, and ids that were never used come in ascending order before any that was. A number that was freed is
 * so the last to come back, which gives whoever still holds it by mistake the most time to be found out.
 *
 * A queue could not serve a range without a walk. So each id has the time at which it became free, and a
 * tournament tree above them has the earliest of each pair: 20 steps for any range of 2^20 ids.
 */
import { assert, Words } from '../../base/index.js';
import type { FreeIds } from './bitmap.js';

/** The time of an id that is not free: later than any. */
const NEVER = 0x7fff_ffff;

export class FreeQueue implements FreeIds {
  /** Node 1 is the root, node n has 2n and 2n + 1 below it, id i is the leaf `#leaves + i`; word 0 is the time. */
  readonly #tree: Words;
  readonly #leaves: number;

  /**
   * @param capacity ids 1 to `capacity` - 1 are free at first; at most 2^20
   * @param start the first time to be given to a freed id; the rest of the times above it are the reserve
   */
  constructor(capacity: number, start = capacity) {
    assert(start >= capacity && start < NEVER, `times from ${start} on for ${capacity} ids`);
    this.#leaves = 1 << (32 - Math.clz32(capacity - 1));
    this.#tree = new Words(this.#leaves * 2, 16);
    this.#tree.words.fill(NEVER);
    this.#tree.words[0] = start;
    const { words } = this.#tree;
    for (let id = 1; id < capacity; id++) words[this.#leaves + id] = id;
    for (let node = this.#leaves - 1; node > 0; node--) {
      words[node] = Math.min(words[node * 2] ?? NEVER, words[node * 2 + 1] ?? NEVER);
    }
  }

  first(min: number, max: number): number {
    const tree = this.#tree.words;
    // The subtrees that make up the range, from both ends inwards; of their roots, the earliest.
    let best = 0;
    let bestTime = NEVER;
    let low = min + this.#leaves;
    let high = max + this.#leaves + 1;
    for (; low < high; low >>>= 1, high >>>= 1) {
      if ((low & 1) === 1) {
        const time = tree[low] ?? NEVER;
        if (time < bestTime) [best, bestTime] = [low, time];
        low++;
      }
      if ((high & 1) === 1) {
        high--;
        const time = tree[high] ?? NEVER;
        if (time < bestTime) [best, bestTime] = [high, time];
      }
    }
    if (best === 0) return -1;
    while (best < this.#leaves) best = best * 2 + (tree[best * 2] === bestTime ? 0 : 1);
    return best - this.#leaves;
  }

  isFree(id: number): boolean {
    return this.#tree.words[this.#leaves + id] !== NEVER;
  }

  take(id: number): void {
    this.#put(id, NEVER);
  }

  give(id: number): void {
    if (this.#tree.words[0] === NEVER) this.#renumber();
    const time = this.#tree.words[0] ?? 0;
    this.#put(id, time);
    this.#tree.set(0, time + 1);
  }

  get dirtyChunks(): number {
    return this.#tree.dirtyChunks;
  }

  mark(): void {
    this.#tree.mark();
  }

  restore(): void {
    this.#tree.restore();
  }

  #put(id: number, time: number): void {
    const tree = this.#tree;
    tree.set(this.#leaves + id, time);
    for (let node = (this.#leaves + id) >>> 1; node !== 0; node >>>= 1) {
      const left = tree.words[node * 2] ?? NEVER;
      const right = tree.words[node * 2 + 1] ?? NEVER;
      tree.set(node, Math.min(left, right));
    }
  }

  /** Once in two thousand million frees the times run out: the free ids keep their order, from 1 on. */
  #renumber(): void {
    const times = this.#tree.words.subarray(this.#leaves);
    const order = [...times.keys()].filter((id) => times[id] !== NEVER);
    order.sort((a, b) => (times[a] ?? 0) - (times[b] ?? 0));
    order.forEach((id, rank) => {
      this.#put(id, rank + 1);
    });
    this.#tree.set(0, order.length + 1);
  }
}
