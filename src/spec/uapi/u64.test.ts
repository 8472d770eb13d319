import fc from 'fast-check';
import { expect, test } from 'vitest';
import { layout } from '../layout.js';
import { getU64, setU64 } from './u64.js';

const { ADDRESS } = layout('a structure', 24, 'nowhere', { HEAD: [31, 0], ADDRESS: [127, 64] });

test('a number is stored as the accessor of big integers reads it, and read as that stores it', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat(3), (value, at) => {
      const words = new Int32Array(9).fill(-1);
      setU64(ADDRESS, words, at, value);
      expect([ADDRESS.getBig(words, at), getU64(ADDRESS, words, at)]).toEqual([BigInt(value), value]);
      expect([words[at + 1], words[at + 4]]).toEqual([-1, -1]);
    }),
  );
});

test('what exceeds 53 bits is no number', () => {
  const words = new Int32Array(6);
  for (const [value, expected] of [
    [2n ** 53n - 1n, 2 ** 53 - 1],
    [2n ** 53n, undefined],
    [2n ** 64n - 1n, undefined],
  ] as const) {
    ADDRESS.setBig(words, 0, value);
    expect(getU64(ADDRESS, words)).toBe(expected);
  }
});
