import { expect, it } from 'vitest';
import { type Few, NONE, named, withNamed } from './few.js';

it('a few things are found by their names, and replaced', () => {
  const one = withNamed(NONE as Few<number>, 'a', 1);
  const two = withNamed(withNamed(one, 'b', 2), 'a', 3);
  expect(['a', 'b', 'c'].map((name) => named(two, name))).toEqual([3, 2, undefined]);
  expect([two.length, named(one, 'a'), named(one, 'b')]).toEqual([2, 1, undefined]);
});
