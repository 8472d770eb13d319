/**
 * Whole structures, for cold code: encoding from named values, decoding into a list that can be printed. Hot
 * paths use a layout's fields one by one.
 */
import { assert, Bug, hex } from '../base/index.js';
import type { Field, Layout, LayoutInfo } from './layout.js';
import { isNumber } from './numbers.js';

const TWO_32 = 2 ** 32;

/** One field of a decoded structure. */
export interface DecodedField {
  readonly field: Field;
  readonly value: bigint;
  /** The value as people read it: an address with its low zeros, the name of an enumerated value, or a number. */
  readonly text: string;
}

/** A decoded structure. */
export interface Decoded {
  readonly layout: LayoutInfo;
  /** Lowest bits first. */
  readonly fields: readonly DecodedField[];
  /** The reserved bits that are set, as absolute bit numbers. */
  readonly reserved: readonly number[];
}

/**
 * Makes a structure from the values of its fields; those that are not named are zero.
 *
 * @returns its words. A `Bug` for a value that does not fit, or a field that there is not
 */
export function encode<N extends string>(
  of: Layout<N>,
  values: Partial<Readonly<Record<N, number | bigint>>>,
): Int32Array {
  const words = new Int32Array(of.bytes / 4);
  for (const name in values) {
    const field: Field | undefined = of[name];
    if (field?.name !== name) throw new Bug(`${of.name} has no field ${name}`);
    const value = values[name] ?? 0;
    if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      throw new Bug(`${value} is no value for ${name}`);
    }
    if (typeof value === 'number' && isNumber(field)) field.set(words, 0, value);
    else if (typeof value === 'number' && value >= 0 && isTwoWords(field)) {
      words[field.low >> 5] = value;
      words[field.high >> 5] = value / TWO_32;
    } else field.setBig(words, 0, BigInt(value));
  }
  return words;
}

/** Whether a field is two words as they stand. */
const isTwoWords = ({ width, low }: Field): boolean => width === 64 && low % 32 === 0;

/** Takes the structure at `words[at]` apart. */
export function decode(of: LayoutInfo, words: Int32Array, at = 0): Decoded {
  const fields = of.fields.map((field) => {
    const value = field.getBig(words, at);
    return { field, value, text: textOf(field, value) };
  });
  return { layout: of, fields, reserved: reservedBits(of, words, at) };
}

/** A field's value as people read it. */
export function textOf(field: Field, value: bigint): string {
  if (field.kind === 'address') return hex(value << BigInt(field.low % 64));
  const name = field.values[Number(value)];
  if (name !== undefined) return name;
  return value < 10n ? value.toString() : hex(value);
}

/** The reserved bits that are set in the structure at `words[at]`, lowest first. */
export function reservedBits(of: LayoutInfo, words: Int32Array, at = 0): number[] {
  const bits: number[] = [];
  for (let bit = 0; bit < of.bytes * 8; bit++) {
    const mask = 1 << (bit % 32);
    if (((of.reserved[bit >> 5] ?? 0) & (words[at + (bit >> 5)] ?? 0) & mask) !== 0) bits.push(bit);
  }
  return bits;
}

/**
 * A decoded structure on one line: `P=1 AW=48-bit FSPTPTR=0x60ad000`. Fields that are zero are left out,
 * reserved bits that are set stand at the end.
 */
export function format(decoded: Decoded): string {
  const parts = decoded.fields
    .filter(({ field, value }) => value !== 0n && field.kind !== 'ignored')
    .map(({ field, text }) => `${field.name}=${text}`);
  if (decoded.reserved.length > 0) parts.push(`reserved bits set: ${decoded.reserved.join(', ')}`);
  return parts.join(' ');
}

/** The words of a structure from its 64-bit (or, for the last, 32-bit) values, as specifications print them. */
export function wordsOf(...quads: readonly bigint[]): Int32Array {
  const words = new Int32Array(quads.length * 2);
  quads.forEach((quad, i) => {
    assert(quad >= 0n && quad >> 64n === 0n, `${quad} is no 64-bit value`);
    words[i * 2] = Number(BigInt.asIntN(32, quad));
    words[i * 2 + 1] = Number(BigInt.asIntN(32, quad >> 32n));
  });
  return words;
}
