/**
 * Structures from numbers, for paths that run often: `encode` takes values of any width, and is slower for it.
 */
import type { Layout } from '../spec/index.js';

/** The words of a structure with these fields, the others zero. A `Bug` for a value that does not fit. */
export function structure<N extends string>(
  of: Layout<N>,
  values: Partial<Readonly<Record<N, number>>>,
): Int32Array {
  const words = new Int32Array(of.bytes / 4);
  for (const name in values) {
    const value = values[name];
    if (value !== undefined) of[name].set(words, 0, value);
  }
  return words;
}
