/** Sums in words. */
import type { Words } from '../../base/index.js';

/** Adds to one word; the sum. */
export function add(store: Words, index: number, by: number): number {
  const sum = (store.words[index] ?? 0) + by;
  store.set(index, sum);
  return sum;
}
