/** Shrinking finds what a failure hangs on, and nothing else. */
import { expect, test } from 'vitest';
import type { Case, Operation } from './case.js';
import { shrink } from './shrink.js';

const dma = (page: number): Operation => ({ do: 'dma', device: 0, page: BigInt(page) });
const CASE: Case = {
  isScalable: true,
  words: Array.from({ length: 30 }, (_, i) => [BigInt(i * 8), BigInt(i)] as const),
  operations: Array.from({ length: 37 }, (_, i) => dma(i)),
};
const pages = ({ operations }: Case): number[] =>
  operations.map((each) => (each.do === 'dma' ? Number(each.page) : -1));

test('two operations and one word are left of a failure that needs them', async () => {
  const smallest = await shrink(CASE, async (each) => {
    const left = pages(each);
    return left.includes(5) && left.includes(29) && each.words.some(([, word]) => word === 17n);
  });
  expect(pages(smallest)).toEqual([5, 29]);
  expect(smallest.words).toEqual([[136n, 17n]]);
});

test('a failure that hangs on nothing has nothing left', async () => {
  const smallest = await shrink(CASE, async () => true);
  expect([smallest.operations, smallest.words]).toEqual([[], []]);
});

test('a case that fails as a whole alone is left as it is', async () => {
  const whole = await shrink(CASE, async () => false);
  expect(whole).toEqual(CASE);
});
