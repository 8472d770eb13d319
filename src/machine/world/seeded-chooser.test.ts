import { expect, it } from 'vitest';
import { Random, RandomChooser } from '../../base/index.js';
import { moodOf, seededChooser } from './seeded-chooser.js';

const picks = (seed: number, n: number, count: number): number[] => {
  const chooser = seededChooser(seed);
  return Array.from({ length: count }, () => chooser.choose(n, 'x'));
};

const share = (list: readonly number[], way: number): number =>
  list.filter((each) => each === way).length / list.length;

it('three seeds in a row have the three moods', () => {
  expect([1, 2, 3, 4].map(moodOf)).toEqual(['even', 'slow-hardware', 'fast-hardware', 'even']);
});

it('even is the random chooser', () => {
  const random = new RandomChooser(new Random(1));
  expect(picks(1, 7, 50)).toEqual(Array.from({ length: 50 }, () => random.choose(7, 'x')));
});

// The smallest of three draws of four is the first way in 1 - (3/4)^3 of all cases, the last in (1/4)^3.
it.each([
  [2, 0, 0.58, 0.016],
  [3, 3, 0.58, 0.016],
])('seed %d prefers way %d of 0 to 3, and comes to all', (seed, way, likely, unlikely) => {
  const list = picks(seed, 4, 20_000);
  expect(share(list, way)).toBeCloseTo(likely, 1);
  expect(share(list, 3 - way)).toBeCloseTo(unlikely, 2);
  expect(new Set(list)).toEqual(new Set([0, 1, 2, 3]));
});

it('the same seed picks the same, and one way is no choice', () => {
  expect(picks(5, 9, 100)).toEqual(picks(5, 9, 100));
  expect(picks(5, 1, 3)).toEqual([0, 0, 0]);
});
