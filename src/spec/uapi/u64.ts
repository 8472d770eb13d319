/**
 * Fields of 64 bits in structures of the user-space interface, as numbers: an accessor of a field so wide is one of
 * `bigint`, which costs a hundred times as much.
 */
import type { Field } from '../layout.js';

/** A field of 64 bits of the structure at `words[at]`; undefined if it exceeds 53 bits. */
export function getU64(field: Field, words: Int32Array, at = 0): number | undefined {
  const word = at + (field.low >> 5);
  const low = words[word] ?? 0;
  const high = (words[word + 1] ?? 0) >>> 0;
  // A small integer stays one: a product is floating point, and with it a PASID, wherever it is kept from then on.
  if (high === 0 && low >= 0) return low;
  return high < 2 ** 21 ? high * 2 ** 32 + (low >>> 0) : undefined;
}

/** Stores a number's integer below 2^64 to a field of 64 bits of the structure at `words[at]`. */
export function setU64(field: Field, words: Int32Array, at: number, value: number): void {
  const word = at + (field.low >> 5);
  words[word] = value;
  words[word + 1] = value / 2 ** 32;
}
