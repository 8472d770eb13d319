/**
 * 64-bit values without `bigint` on hot paths: two 32-bit halves, low half first, each held as a *signed*
 * 32-bit integer (`x | 0`). A signed half always fits the engine's small integers, so that it can be passed,
 * returned and stored without allocation; a half above 2^31 as an unsigned number could not.
 *
 * Cold code (command line, JSON, `inspect`) uses `bigint`; the first part converts. Addresses below 2^53 may
 * also travel as one `number` inside a function.
 */
import { Bug } from './bug.js';

const TWO_32 = 0x1_0000_0000;
const MASK_32 = 0xffff_ffffn;

/** The low half of a `bigint`. */
export const loOf = (value: bigint): number => Number(value & MASK_32) | 0;

/** The high half of a `bigint`; bits above 63 are dropped. */
export const hiOf = (value: bigint): number => Number((value >> 32n) & MASK_32) | 0;

/** The unsigned 64-bit value of two halves. */
export const u64 = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);

/** The low half of a non-negative safe integer. */
export const loOfNumber = (value: number): number => value | 0;

/** The high half of a non-negative safe integer. */
export const hiOfNumber = (value: number): number => (value / TWO_32) | 0;

/** The value of two halves as a `number`. A `Bug` if it is 2^53 or more. */
export function numberOf(lo: number, hi: number): number {
  // A small integer stays one: the product is a number in floating point, whatever it amounts to.
  if (hi === 0 && lo >= 0) return lo;
  if (hi >>> 21 !== 0) throw new Bug(`0x${hex64(u64(lo, hi))} does not fit a number exactly`);
  return (hi >>> 0) * TWO_32 + (lo >>> 0);
}

/** -1, 0 or 1 as the first value is below, equal to or above the second, unsigned. */
export function compareU64(aLo: number, aHi: number, bLo: number, bHi: number): number {
  if (aHi !== bHi) return aHi >>> 0 < bHi >>> 0 ? -1 : 1;
  if (aLo !== bLo) return aLo >>> 0 < bLo >>> 0 ? -1 : 1;
  return 0;
}

/** The low half of the sum, modulo 2^64; {@link addHi} is the other half. */
export const addLo = (aLo: number, bLo: number): number => (aLo + bLo) | 0;

/** The high half of the sum of two 64-bit values, modulo 2^64. */
export function addHi(aLo: number, aHi: number, bLo: number, bHi: number): number {
  const carry = (aLo >>> 0) + (bLo >>> 0) >= TWO_32 ? 1 : 0;
  return (aHi + bHi + carry) | 0;
}

/** `0000000012345000`: sixteen hexadecimal digits, as tables print an entry. */
export const hex64 = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');

/** `0x12345000`: as the kernel's log prints an address. Of halves, print `u64(lo, hi)`: a half has a sign. */
export const hex = (value: bigint | number): string =>
  value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
