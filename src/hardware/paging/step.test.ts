import { expect, test } from 'vitest';
import { indexAt, pagesPerEntry } from './step.js';

test.each([
  [1, 2 ** 12],
  [2, 2 ** 21],
  [3, 2 ** 30],
  [4, 2 ** 39],
  [5, 2 ** 48],
  [6, 2 ** 57],
])('an entry of level %i spans %i bytes', (level, bytes) => {
  expect(pagesPerEntry(level) * 4096).toBe(bytes);
});

test('the indices of an address are its bits from 12 up, nine a level', () => {
  const indices = [0x1ffn, 0n, 0x155n, 1n, 0x100n];
  const address = indices.reduce((sum, index) => (sum << 9n) | index) << 12n;
  const page = Number(address >> 12n);
  expect([5, 4, 3, 2, 1].map((level) => BigInt(indexAt(page, level)))).toEqual(indices);
});

test('the indices of an address in the upper half do not look at the bits above the paging mode', () => {
  const page = Number(0xffff_8000_0020_3000n >> 12n);
  expect([4, 3, 2, 1].map((level) => indexAt(page, level))).toEqual([256, 0, 1, 3]);
});
