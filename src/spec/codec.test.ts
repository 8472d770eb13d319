/** Whole structures: encoded, decoded and printed. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Bug } from '../base/index.js';
import { decode, encode, format, reservedBits, textOf, wordsOf } from './codec.js';
import { address, ignored, layout } from './layout.js';

const OF = layout('an entry', 16, 'a test', {
  P: [0],
  MODE: [3, 1, 'mode', { 0: 'off', 2: 'on' }],
  ADDR: address(63, 12, 'a page'),
  IGN: ignored(70, 64),
  NUMBER: [127, 72],
});

test('encode stores what is named and leaves the rest zero', () => {
  expect([...encode(OF, { P: 1, ADDR: 0x12345n, NUMBER: 2 ** 40 })]).toEqual([0x12345001, 0, 0, 0x10000]);
  expect([...encode(OF, {})]).toEqual([0, 0, 0, 0]);
  expect(() => encode(OF, { MODE: 8 })).toThrow(/8 does not fit MODE/);
  expect(() => encode(OF, { P: 0.5 })).toThrow(/0.5 is no value for P/);
  expect(() => encode(OF, { Q: 1 } as never)).toThrow(/an entry has no field Q/);
});

test('decode gives back what was encoded', () => {
  const values = fc.record({
    P: fc.bigInt(0n, 1n),
    MODE: fc.bigInt(0n, 7n),
    ADDR: fc.bigInt(0n, 2n ** 52n - 1n),
    IGN: fc.bigInt(0n, 127n),
    NUMBER: fc.bigInt(0n, 2n ** 56n - 1n),
  });
  fc.assert(
    fc.property(values, (fields) => {
      const { fields: decoded, reserved } = decode(OF, encode(OF, fields));
      expect(Object.fromEntries(decoded.map(({ field, value }) => [field.name, value]))).toEqual(fields);
      expect(reserved).toEqual([]);
    }),
  );
});

describe('text', () => {
  test.each([
    ['P', 1n, '1'],
    ['MODE', 2n, 'on'],
    ['MODE', 0n, 'off'],
    ['MODE', 3n, '3'],
    ['ADDR', 0x12345n, '0x12345000'],
    ['NUMBER', 9n, '9'],
    ['NUMBER', 10n, '0xa'],
  ] as const)('%s of %s is %s', (name, value, text) => {
    expect(textOf(OF[name], value)).toBe(text);
  });

  test('format leaves out what is zero or ignored, and ends with reserved bits that are set', () => {
    const words = encode(OF, { P: 1, MODE: 2, ADDR: 0x607c, IGN: 5 });
    expect(format(decode(OF, words))).toBe('P=1 MODE=on ADDR=0x607c000');
    words[0] = (words[0] ?? 0) | 0x30;
    words[2] = (words[2] ?? 0) | 0x80;
    expect(format(decode(OF, words))).toBe('P=1 MODE=on ADDR=0x607c000 reserved bits set: 4, 5, 71');
  });
});

test('a structure is decoded at its place', () => {
  const words = new Int32Array([-1, 0x1001, 0, 0x80, 0, -1]);
  expect(format(decode(OF, words, 1))).toBe('P=1 ADDR=0x1000 reserved bits set: 71');
  expect(reservedBits(OF, words, 1)).toEqual([71]);
});

test('wordsOf splits 64-bit values, low half first', () => {
  expect([...wordsOf(0x8000_0000_ffff_fffen, 1n)]).toEqual([-2, -0x8000_0000, 1, 0]);
  expect([...wordsOf()]).toEqual([]);
  expect(() => wordsOf(-1n)).toThrow(Bug);
  expect(() => wordsOf(1n << 64n)).toThrow(Bug);
});
