/** The layout engine: what a table may say, and accessors against a model that computes with `bigint`. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Bug } from '../base/index.js';
import {
  address,
  type Field,
  type FieldBits,
  hasBits,
  hasReservedBits,
  ignored,
  type Layout,
  layout,
  maskOf,
  reservedWith,
} from './layout.js';

describe('a declaration is checked', () => {
  const wrong: readonly [string, Record<string, FieldBits>, RegExp][] = [
    ['overlap', { A: [3, 0], B: [3] }, /bit 3 of B belongs to another field too/],
    ['a field outside', { A: [64] }, /A ends at bit 64, outside of its 8 bytes/],
    ['the low bit first', { A: [0, 3] }, /high bit first/],
    ['a negative bit', { A: [0, -1] }, /high bit first/],
    ['a broken bit', { A: [1.5, 1.5] }, /high bit first/],
    ['a name in lower case', { a: [0] }, /begins with a capital/],
    ['a name like a property of the layout', { reserved: [0] }, /begins with a capital/],
    ['a name for a value that does not fit', { A: [1, 0, '', { 4: 'four' }] }, /4 is named and does not fit/],
  ];
  test.each(wrong)('%s', (_, table, message) => {
    expect(() => layout('wrong', 8, 'nowhere', table)).toThrow(Bug);
    expect(() => layout('wrong', 8, 'nowhere', table)).toThrow(message);
  });

  test.each([0, -4, 6])('a size of %d bytes', (bytes) => {
    expect(() => layout('wrong', bytes, 'nowhere', {})).toThrow(Bug);
  });

  test('fields are sorted, and know what the table says', () => {
    const of = layout('sorted', 8, 'somewhere', {
      B: address(63, 12, 'a page'),
      C: ignored(11, 9),
      A: [1, 0, 'a mode', { 1: 'one' }],
    });
    expect(of.fields.map(({ name, kind, width }) => [name, kind, width])).toEqual([
      ['A', 'number', 2],
      ['C', 'ignored', 3],
      ['B', 'address', 52],
    ]);
    expect([of.A.meaning, of.A.values[1], of.B.meaning]).toEqual(['a mode', 'one', 'a page']);
    expect([of.name, of.bytes, of.source]).toEqual(['sorted', 8, 'somewhere']);
  });
});

/** A layout whose fields and gaps have these widths in turn, lowest first. */
function striped(widths: readonly number[]): Layout<string> {
  const table: Record<string, FieldBits> = {};
  let low = 0;
  widths.forEach((width, i) => {
    if (i % 2 === 0) table[`F${low}`] = [low + width - 1, low];
    low += width;
  });
  return layout('striped', Math.ceil(low / 32) * 4, 'a property', table);
}

/** Every field is stored here as one number of the whole structure: what the accessors have to agree with. */
class Model {
  value = 0n;

  get(field: Field): bigint {
    return (this.value >> BigInt(field.low)) & ((1n << BigInt(field.width)) - 1n);
  }

  set(field: Field, value: bigint): void {
    const mask = ((1n << BigInt(field.width)) - 1n) << BigInt(field.low);
    this.value = (this.value & ~mask) | (value << BigInt(field.low));
  }

  load(words: readonly number[]): void {
    this.value = words.reduceRight((all, word) => (all << 32n) | BigInt(word >>> 0), 0n);
  }

  words(count: number): number[] {
    return Array.from({ length: count }, (_, i) => Number(BigInt.asIntN(32, this.value >> BigInt(i * 32))));
  }
}

/** Whether a field has the accessors of plain numbers: 53 bits of two words. */
const hasNumbers = ({ width, low, high }: Field): boolean => width <= 53 && (high >> 5) - (low >> 5) < 2;

const widths = fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 8 });

describe('accessors', () => {
  test('agree with the model, wherever a field lies and the structure begins', () => {
    fc.assert(
      fc.property(
        widths,
        fc.integer({ min: 0, max: 3 }),
        fc.infiniteStream(fc.bigInt(0n, 2n ** 70n)),
        (w, at, stream) => {
          const of = striped(w);
          const words = new Int32Array(at + of.bytes / 4 + 1).map(() =>
            Number(stream.next().value & 0xffffffffn),
          );
          const model = new Model();
          model.load([...words.subarray(at, at + of.bytes / 4)]);
          const around = [...words.subarray(0, at), words.at(-1)];
          for (const field of of.fields) {
            const value = BigInt.asUintN(field.width, stream.next().value);
            expect(field.getBig(words, at)).toBe(model.get(field));
            if (hasNumbers(field)) {
              expect(field.get(words, at)).toBe(Number(model.get(field)));
              expect(field.getLow(words, at)).toBe(Number(BigInt.asIntN(32, model.get(field))));
              expect(field.getHigh(words, at)).toBe(Number(model.get(field) >> 32n));
            }
            model.set(field, value);
            if (hasNumbers(field) && value % 2n === 0n) field.set(words, at, Number(value));
            else field.setBig(words, at, value);
            expect([...words.subarray(at, at + of.bytes / 4)]).toEqual(model.words(of.bytes / 4));
          }
          expect([...words.subarray(0, at), words.at(-1)]).toEqual(around);
        },
      ),
      { numRuns: 200 },
    );
  });

  const of = layout('widths', 32, 'a test', {
    BIT: [31],
    NARROW: [62, 32],
    WORD: [95, 64],
    WIDE: [148, 96],
    BIG: [202, 149],
    ACROSS: [235, 220],
  });

  test.each([
    ['BIT', 1],
    ['NARROW', 2 ** 31 - 1],
    ['WORD', 2 ** 32 - 1],
    ['ACROSS', 2 ** 16 - 1],
  ] as const)('%s takes what fits, and refuses the rest', (name, largest) => {
    const field = of[name];
    const words = new Int32Array(8);
    field.set(words, 0, largest);
    expect(field.get(words, 0)).toBe(largest);
    const before = [...words];
    for (const value of [largest + 1, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => field.set(words, 0, value), `${value}`).toThrow(Bug);
    }
    expect(() => field.setBig(words, 0, BigInt(largest) + 1n)).toThrow(Bug);
    expect(() => field.setBig(words, 0, -1n)).toThrow(Bug);
    expect([...words]).toEqual(before);
  });

  test('a field of more than 53 bits or of three words has getBig alone', () => {
    const words = new Int32Array(8);
    expect(() => of.BIG.get(words, 0)).toThrow(/use getBig/);
    expect(() => of.BIG.set(words, 0, 1)).toThrow(/use getBig/);
    of.BIG.setBig(words, 0, 2n ** 54n - 1n);
    expect(of.BIG.getBig(words, 0)).toBe(2n ** 54n - 1n);
    const three = layout('three words', 12, 'a test', { MIDDLE: [64, 31] }).MIDDLE;
    expect(() => three.get(words, 0)).toThrow(/has 34 bits, from 31 to 64: use getBig/);
    three.setBig(words, 0, 2n ** 34n - 1n);
    expect([...words.subarray(0, 3)]).toEqual([-0x8000_0000, -1, 1]);
  });
});

describe('masks', () => {
  const of = layout('masks', 16, 'a test', {
    P: [0],
    CAPABLE: [4],
    IGN: ignored(63, 52),
    ADDR: address(51, 12, 'a page'),
    OTHER: address(127, 76, 'a page'),
  });
  const mask = (words: Int32Array) => [...words].map((word) => word >>> 0);

  test('what no field covers is reserved', () => {
    expect(mask(of.reserved)).toEqual([0x00000fee, 0, 0x00000fff, 0]);
  });

  test('maskOf has the bits of the fields', () => {
    expect(mask(maskOf(of, of.P, of.ADDR))).toEqual([0xfffff001, 0x000fffff, 0, 0]);
    expect(mask(maskOf(of))).toEqual([0, 0, 0, 0]);
  });

  test('reservedWith adds the bits at and above the width, in each 64-bit value, and absent fields', () => {
    expect(mask(reservedWith(of, 46))).toEqual([0x00000fee, 0x000fc000, 0x00000fff, 0xffffc000]);
    expect(mask(reservedWith(of, 52, of.CAPABLE))).toEqual([0x00000ffe, 0, 0x00000fff, 0xfff00000]);
    expect(mask(reservedWith(of, 64))).toEqual(mask(of.reserved));
  });

  test('hasReservedBits and hasBits look at the structure at its place', () => {
    const words = new Int32Array(6);
    expect(hasReservedBits(of, words, 1)).toBe(false);
    words[0] = -1;
    words[5] = -1;
    words[1] = 0x11;
    expect(hasReservedBits(of, words, 1)).toBe(false);
    words[3] = 1;
    expect(hasReservedBits(of, words, 1)).toBe(true);
    expect(hasBits(maskOf(of, of.P), words, 1)).toBe(true);
    expect(hasBits(maskOf(of, of.OTHER), words, 1)).toBe(false);
  });
});
