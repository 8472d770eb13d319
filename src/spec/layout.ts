/**
 * Layouts as data: every register, table entry, descriptor and command is declared once, as a table of fields
 * as its specification prints them (name, bits, meaning). Accessors, reserved bits, encoder, decoder and
 * documentation all come from that one declaration.
 *
 * A structure lies in an `Int32Array` of little-endian words, from a word index on. A field's accessors cost
 * what a hand-written shift and mask costs, *if* the module that uses them binds the field, or its layout, to
 * a constant of its own (`const { P, AW } = PASID_TABLE_ENTRY`): the engine folds what hangs on a module's own
 * constant, and loads what hangs on an imported one at each use. `bench/layouts.ts` shows both.
 */
import { assert, Bug } from '../base/index.js';

/** Names for the values of a field. */
export type ValueNames = Readonly<Record<number, string>>;

/** How a field is meant: what the decoder prints and what the reserved-bit check passes over. */
export type FieldKind =
  /** a number or an enumeration */
  | 'number'
  /** an address whose low bits, below the field, are zero; the field's value is the frame number */
  | 'address'
  /** bits that hardware ignores and software may use */
  | 'ignored';

/** A field in its long form, as {@link address} and {@link ignored} make it. */
export interface FieldSpec {
  readonly high: number;
  readonly low: number;
  readonly kind: FieldKind;
  readonly meaning: string;
  readonly values?: ValueNames;
}

/** A field as a layout's table states it: `[bit, …]` or `[high, low, …]`, bits counted from the structure's first. */
export type FieldBits =
  | readonly [bit: number, meaning?: string, values?: ValueNames]
  | readonly [high: number, low: number, meaning?: string, values?: ValueNames]
  | FieldSpec;

/** An address field: bits `high` to `low` of the structure hold those of the address. */
export const address = (high: number, low: number, meaning: string): FieldSpec => ({
  high,
  low,
  kind: 'address',
  meaning,
});

/** Bits that hardware ignores: neither reserved nor of any meaning to it. */
export const ignored = (high: number, low: number, meaning = 'ignored by hardware'): FieldSpec => ({
  high,
  low,
  kind: 'ignored',
  meaning,
});

/** One field of a {@link Layout}, with its accessors. */
export interface Field {
  readonly name: string;
  /** Bit positions in the structure, inclusive. */
  readonly high: number;
  readonly low: number;
  readonly width: number;
  readonly kind: FieldKind;
  readonly meaning: string;
  readonly values: ValueNames;
  /**
   * The field of the structure that begins at `words[at]`: an unsigned number, for an address its frame
   * number. A `Bug` for a field of more than 53 bits or more than two words: it has {@link Field.getBig} alone.
   */
  get(words: Int32Array, at: number): number;
  /**
   * The low 32 bits of what {@link Field.get} gives, as a signed word; {@link Field.getHigh} has the others. For hot
   * paths: the engine computes with a number that may exceed a word in floating point.
   */
  getLow(words: Int32Array, at: number): number;
  getHigh(words: Int32Array, at: number): number;
  /** Stores the field and leaves the other bits. A `Bug` for a value that does not fit. */
  set(words: Int32Array, at: number, value: number): void;
  /** The field, of any width. */
  getBig(words: Int32Array, at: number): bigint;
  /** Stores the field, of any width. A `Bug` for a value that does not fit. */
  setBig(words: Int32Array, at: number, value: bigint): void;
}

/** What is known of a layout beside its fields, which are properties by their names. */
export interface LayoutInfo {
  readonly name: string;
  /** Size in bytes, a multiple of 4. */
  readonly bytes: number;
  /** Where the specification prints it: document and section. */
  readonly source: string;
  /** Lowest bits first. */
  readonly fields: readonly Field[];
  /** The bits that belong to no field: a word of them for each of the structure's words. */
  readonly reserved: Int32Array;
}

/** A layout whose fields are named `N`. */
export type Layout<N extends string = never> = LayoutInfo & { readonly [K in N]: Field };

const WORD = 32;

class BaseField {
  readonly name: string;
  readonly high: number;
  readonly low: number;
  readonly width: number;
  readonly kind: FieldKind;
  readonly meaning: string;
  readonly values: ValueNames;

  constructor(name: string, spec: FieldSpec) {
    this.name = name;
    this.high = spec.high;
    this.low = spec.low;
    this.width = spec.high - spec.low + 1;
    this.kind = spec.kind;
    this.meaning = spec.meaning;
    this.values = spec.values ?? {};
  }

  getBig(words: Int32Array, at: number): bigint {
    let value = 0n;
    for (let word = this.high >> 5; word >= this.low >> 5; word--) {
      value = (value << 32n) | BigInt((words[at + word] ?? 0) >>> 0);
    }
    return BigInt.asUintN(this.width, value >> BigInt(this.low % WORD));
  }

  setBig(words: Int32Array, at: number, value: bigint): void {
    if (value < 0n || value >> BigInt(this.width) !== 0n) throw this.misfit(value);
    const shift = BigInt(this.low % WORD);
    let mask = ((1n << BigInt(this.width)) - 1n) << shift;
    let bits = value << shift;
    for (let word = this.low >> 5; word <= this.high >> 5; word++) {
      const keep = ~Number(BigInt.asIntN(32, mask));
      words[at + word] = ((words[at + word] ?? 0) & keep) | Number(BigInt.asIntN(32, bits));
      mask >>= 32n;
      bits >>= 32n;
    }
  }

  /** The error of a value that the field can't hold. */
  misfit(value: number | bigint): Bug {
    return new Bug(`${value} does not fit ${this.name}, which has ${this.width} bits`);
  }
}

/*
 * The state of the two classes below is declared and not defined: a property that the compiler's output defines
 * is `undefined` first and gets its value second, and the engine folds only what is stored once. It makes an
 * accessor four times as fast (`bench/layouts.ts`).
 */

/** A field inside one word. */
class NarrowField extends BaseField implements Field {
  declare private readonly word: number;
  declare private readonly shift: number;
  declare private readonly mask: number;

  constructor(name: string, spec: FieldSpec) {
    super(name, spec);
    this.word = spec.low >> 5;
    this.shift = spec.low % WORD;
    this.mask = 2 ** this.width - 1;
  }

  get(words: Int32Array, at: number): number {
    // `| 0` spares the engine its check for overflow, and floating point where an index came as any number.
    return ((words[((at | 0) + this.word) | 0] ?? 0) >>> this.shift) & this.mask;
  }

  getLow(words: Int32Array, at: number): number {
    return this.get(words, at);
  }

  getHigh(): number {
    return 0;
  }

  set(words: Int32Array, at: number, value: number): void {
    if ((value & this.mask) !== value) throw this.misfit(value);
    const word = (at + this.word) | 0;
    words[word] = ((words[word] ?? 0) & ~(this.mask << this.shift)) | (value << this.shift);
  }
}

/** A field of two words, of at most 53 bits; or of the whole of one word, whose values exceed a signed word. */
class WideField extends BaseField implements Field {
  declare private readonly word: number;
  declare private readonly next: number;
  declare private readonly shift: number;
  declare private readonly highMask: number;
  declare private readonly scale: number;
  declare private readonly limit: number;

  constructor(name: string, spec: FieldSpec) {
    super(name, spec);
    this.word = spec.low >> 5;
    this.next = spec.high >> 5;
    this.shift = spec.low % WORD;
    this.highMask = this.next === this.word ? 0 : -1 >>> (WORD - 1 - (spec.high % WORD));
    this.scale = 2 ** (WORD - this.shift);
    this.limit = 2 ** this.width;
  }

  get(words: Int32Array, at: number): number {
    const low = this.getLow(words, at);
    const high = this.getHigh(words, at);
    // Most values are small integers, and stay so: the product is a number in floating point whatever it amounts to.
    return high === 0 && low >= 0 ? low : high * 2 ** WORD + (low >>> 0);
  }

  getLow(words: Int32Array, at: number): number {
    const low = (words[((at | 0) + this.word) | 0] ?? 0) >>> this.shift;
    // Shifted in two steps: by 32 bits it would not be shifted at all.
    return (
      low | ((((words[((at | 0) + this.next) | 0] ?? 0) & this.highMask) << 1) << (WORD - 1 - this.shift))
    );
  }

  getHigh(words: Int32Array, at: number): number {
    return ((words[((at | 0) + this.next) | 0] ?? 0) & this.highMask) >>> this.shift;
  }

  set(words: Int32Array, at: number, value: number): void {
    if (!(value >= 0 && value < this.limit && Number.isInteger(value))) throw this.misfit(value);
    const word = (at + this.word) | 0;
    const next = (at + this.next) | 0;
    const keep = this.shift === 0 ? 0 : -1 >>> (WORD - this.shift);
    // What of the value does not belong into this word is shifted out of it.
    words[word] = ((words[word] ?? 0) & keep) | (value << this.shift);
    if (next === word) return;
    words[next] = ((words[next] ?? 0) & ~this.highMask) | (value / this.scale);
  }
}

/** A field of more than 53 bits, or of more than two words. */
class BigField extends BaseField implements Field {
  get(): number {
    throw new Bug(`${this.name} has ${this.width} bits, from ${this.low} to ${this.high}: use getBig`);
  }

  getLow(): number {
    return this.get();
  }

  getHigh(): number {
    return this.get();
  }

  set(): void {
    this.get();
  }
}

function fieldOf(name: string, bits: FieldBits): Field {
  const spec = specOf(bits);
  const at = `field ${name} at ${spec.high}:${spec.low}`;
  assert(/^[A-Z][A-Za-z0-9_]*$/.test(name), `${at}: a field's name begins with a capital`);
  assert(Number.isInteger(spec.low) && spec.low >= 0 && spec.high >= spec.low, `${at}: high bit first`);
  const width = spec.high - spec.low + 1;
  const words = (spec.high >> 5) - (spec.low >> 5) + 1;
  for (const value of Object.keys(spec.values ?? {})) {
    assert(Number(value) < 2 ** width, `${at}: ${value} is named and does not fit`);
  }
  if (words === 1 && width < WORD) return new NarrowField(name, spec);
  return words <= 2 && width <= 53 ? new WideField(name, spec) : new BigField(name, spec);
}

function specOf(bits: FieldBits): FieldSpec {
  if (!('length' in bits)) return bits;
  const [high, second, third, fourth] = bits;
  const isRange = typeof second === 'number';
  const meaning = (isRange ? third : second) ?? '';
  const values = (isRange ? fourth : third) ?? {};
  assert(typeof meaning === 'string' && typeof values === 'object', `the bits ${JSON.stringify(bits)}`);
  return { high, low: isRange ? second : high, kind: 'number', meaning, values };
}

/**
 * Declares a structure.
 *
 * @param name as the specification spells it
 * @param bytes its size, a multiple of 4
 * @param source document and section that print it
 * @param table its fields by name; what no field covers is reserved
 * @returns the layout, checked: a `Bug` for fields that overlap or lie outside
 */
export function layout<const N extends string>(
  name: string,
  bytes: number,
  source: string,
  table: Readonly<Record<N, FieldBits>>,
): Layout<N> {
  assert(bytes > 0 && bytes % 4 === 0, `${name}: ${bytes} bytes`);
  const reserved = new Int32Array(bytes / 4).fill(-1);
  const accessors: Partial<Record<N, Field>> = {};
  const fields: Field[] = [];
  for (const key of Object.keys(table) as N[]) {
    const field = fieldOf(key, table[key]);
    assert(
      field.high < bytes * 8,
      `${name}: ${key} ends at bit ${field.high}, outside of its ${bytes} bytes`,
    );
    claim(reserved, field, name);
    accessors[key] = field;
    fields.push(field);
  }
  fields.sort((a, b) => a.low - b.low);
  const info: LayoutInfo = { name, bytes, source, fields, reserved };
  // A copy by spreading: an object that grew key by key is a dictionary to the engine, and slow to read.
  return { ...(accessors as Record<N, Field>), ...info };
}

/** Takes the bits of `field` out of those that are still free; a `Bug` if another field has one of them. */
function claim(free: Int32Array, field: Field, where: string): void {
  for (let bit = field.low; bit <= field.high; bit++) {
    const mask = 1 << (bit % WORD);
    const word = free[bit >> 5] ?? 0;
    assert((word & mask) !== 0, `${where}: bit ${bit} of ${field.name} belongs to another field too`);
    free[bit >> 5] = word & ~mask;
  }
}

/**
 * The reserved bits of a structure on hardware with physical addresses of `width` bits: an address field's bits
 * at and above that are reserved too, and so are the fields named, which want a capability that is not there.
 *
 * @returns a mask for {@link hasBits}, a word of it for each of the structure's words
 */
export function reservedWith(of: LayoutInfo, width: number, ...absent: readonly Field[]): Int32Array {
  const mask = maskOf(of, ...absent);
  for (const field of of.fields) {
    if (field.kind !== 'address') continue;
    const first = field.low - (field.low % 64) + width;
    for (let bit = Math.max(first, field.low); bit <= field.high; bit++)
      mask[bit >> 5] = (mask[bit >> 5] ?? 0) | (1 << (bit % WORD));
  }
  return mask.map((bits, i) => bits | (of.reserved[i] ?? 0));
}

/** Whether a reserved bit is set in the structure at `words[at]`. */
export function hasReservedBits(of: LayoutInfo, words: Int32Array, at: number): boolean {
  return hasBits(of.reserved, words, at);
}

/** Whether any bit of `mask` is set in the words from `words[at]` on. */
export function hasBits(mask: Int32Array, words: Int32Array, at: number): boolean {
  for (let i = 0; i < mask.length; i++) {
    if (((words[at + i] ?? 0) & (mask[i] ?? 0)) !== 0) return true;
  }
  return false;
}

/** The mask of the given fields' bits, a word of it for each of the structure's words. */
export function maskOf(of: LayoutInfo, ...fields: readonly Field[]): Int32Array {
  const mask = new Int32Array(of.bytes / 4);
  for (const field of fields) {
    for (let bit = field.low; bit <= field.high; bit++)
      mask[bit >> 5] = (mask[bit >> 5] ?? 0) | (1 << (bit % WORD));
  }
  return mask;
}
