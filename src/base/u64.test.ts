import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bug } from './bug.js';
import {
  addHi,
  addLo,
  compareU64,
  hex,
  hex64,
  hiOf,
  hiOfNumber,
  loOf,
  loOfNumber,
  numberOf,
  u64,
} from './u64.js';

// Where halves carry, change sign or overflow; all of them signed, as halves are.
const EDGES = [0, 1, -1, 2, 0x7fff_ffff, -0x8000_0000, -0x7fff_ffff, 0x1f_ffff, 0x20_0000, 0x1234_5678];
const aHalf = fc.oneof(fc.constantFrom(...EDGES), fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }));
const aU64 = fc
  .tuple(aHalf, aHalf)
  .map(([lo, hi]) => BigInt.asUintN(64, (BigInt(hi) << 32n) + BigInt.asUintN(32, BigInt(lo))));
const aSafeInteger = fc.oneof(
  fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52, 2 ** 53 - 1),
  fc.maxSafeNat(),
);
const isHalf = (value: number) => Object.is(value, value | 0);

describe('halves', () => {
  it.each([
    [0n, 0, 0],
    [1n, 1, 0],
    [0xffff_ffffn, -1, 0],
    [0x1_0000_0000n, 0, 1],
    [0x8000_0000_7fff_ffffn, 0x7fff_ffff, -0x8000_0000],
    [0x1234_5678_9abc_def0n, 0x9abc_def0 - 2 ** 32, 0x1234_5678],
    [0xffff_ffff_ffff_ffffn, -1, -1],
  ])('of %d', (value, lo, hi) => {
    expect([loOf(value), hiOf(value)]).toEqual([lo, hi]);
    expect(u64(lo, hi)).toBe(value);
  });

  it('are signed, and make up the value again', () => {
    fc.assert(
      fc.property(aU64, (value) => {
        expect([loOf(value), hiOf(value)].every(isHalf)).toBe(true);
        expect(u64(loOf(value), hiOf(value))).toBe(value);
      }),
    );
  });

  it('drop bits above 63, and take a negative value modulo 2^64', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), (value) => {
        expect(u64(loOf(value), hiOf(value))).toBe(BigInt.asUintN(64, value));
      }),
    );
  });

  it('of a number are those of the bigint', () => {
    fc.assert(
      fc.property(aSafeInteger, (value) => {
        expect(loOfNumber(value)).toBe(loOf(BigInt(value)));
        expect(hiOfNumber(value)).toBe(hiOf(BigInt(value)));
      }),
    );
  });
});

describe('numberOf', () => {
  it('is the value below 2^53, and a Bug from there on', () => {
    fc.assert(
      fc.property(aHalf, aHalf, (lo, hi) => {
        const value = u64(lo, hi);
        if (value < 2n ** 53n) expect(numberOf(lo, hi)).toBe(Number(value));
        else expect(() => numberOf(lo, hi)).toThrow(Bug);
      }),
    );
  });

  it.each([
    [-1, 0x1f_ffff, 2 ** 53 - 1],
    [-0x8000_0000, 0, 2 ** 31],
    [0, 0, 0],
  ])('of %d and %d is %d', (lo, hi, value) => {
    expect(numberOf(lo, hi)).toBe(value);
  });

  it('says which value is too large', () => {
    expect(() => numberOf(-1, -1)).toThrow('0xffffffffffffffff does not fit');
    expect(() => numberOf(0, 0x20_0000)).toThrow('0x0020000000000000 does not fit');
  });
});

describe('arithmetic', () => {
  it('compares as unsigned 64-bit values', () => {
    fc.assert(
      fc.property(aU64, aU64, (a, b) => {
        const order = a < b ? -1 : a > b ? 1 : 0;
        expect(compareU64(loOf(a), hiOf(a), loOf(b), hiOf(b))).toBe(order);
      }),
    );
  });

  it.each([
    ['a high half with its top bit', [0, -1], [0, 1], 1],
    ['a low half with its top bit', [-1, 3], [1, 3], 1],
    ['the high half first', [-1, 0], [0, 1], -1],
    ['equal', [-1, -1], [-1, -1], 0],
  ] as const)('compares %s', (_what, [aLo, aHi], [bLo, bHi], order) => {
    expect(compareU64(aLo, aHi, bLo, bHi)).toBe(order);
    expect(compareU64(bLo, bHi, aLo, aHi) + order).toBe(0);
  });

  it('adds modulo 2^64', () => {
    fc.assert(
      fc.property(aU64, aU64, (a, b) => {
        const lo = addLo(loOf(a), loOf(b));
        const hi = addHi(loOf(a), hiOf(a), loOf(b), hiOf(b));
        expect([lo, hi].every(isHalf)).toBe(true);
        expect(u64(lo, hi)).toBe(BigInt.asUintN(64, a + b));
      }),
    );
  });

  it('carries exactly when the low halves reach 2^32', () => {
    expect(addHi(-1, 0, 0, 0)).toBe(0);
    expect(addHi(-1, 0, 1, 0)).toBe(1);
    expect(addHi(-1, -1, 1, 0)).toBe(0);
  });
});

describe('hexadecimal', () => {
  it('hex64 has sixteen digits, of the value modulo 2^64', () => {
    expect(hex64(0x1234_5000n)).toBe('0000000012345000');
    expect(hex64(-1n)).toBe('ffffffffffffffff');
    fc.assert(
      fc.property(aU64, (value) => {
        expect(hex64(value)).toMatch(/^[0-9a-f]{16}$/);
        expect(BigInt(`0x${hex64(value)}`)).toBe(value);
      }),
    );
  });

  it.each([
    [0, '0x0'],
    [0x1234_5000, '0x12345000'],
    [0xfee0_0000n, '0xfee00000'],
    [2n ** 64n - 1n, '0xffffffffffffffff'],
    [-1, '-0x1'],
    [-16n, '-0x10'],
  ])('hex of %d', (value, text) => {
    expect(hex(value)).toBe(text);
  });
});
