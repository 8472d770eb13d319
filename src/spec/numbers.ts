/**
 * Fields as numbers, whatever their width: some are too wide for one in one revision alone, and have a `bigint` for it,
 * which costs a hundred times as much.
 */
import type { Field } from './layout.js';

/** Bits of an integer that a number holds exactly. */
const NUMBER_BITS = 53;

/** Whether a field has {@link Field.get} and {@link Field.set}. */
export const isNumber = ({ width, high, low }: Field): boolean =>
  width <= NUMBER_BITS && (high >> 5) - (low >> 5) <= 1;

/** A field of the structure at `words[at]`; not exact above 53 bits. */
export function getNumber(field: Field, words: Int32Array, at: number): number {
  if (!isNumber(field)) return Number(field.getBig(words, at));
  // A small integer stays one: a product is floating point, wherever it is kept from then on.
  const low = field.getLow(words, at);
  return field.getHigh(words, at) === 0 && low >= 0 ? low : field.get(words, at);
}

/** Stores an integer to a field of the structure at `words[at]`. A `Bug` for a value that does not fit. */
export function setNumber(field: Field, words: Int32Array, at: number, value: number): void {
  if (!isNumber(field)) field.setBig(words, at, BigInt(value));
  else field.set(words, at, value);
}
