/**
 * Choices by a seed, in one of three moods, so that runs differ in more than their luck. Ways are listed with those
 * of software first: tasks before engines, "nothing steps in" before what may. Where all ways are as likely, nobody
 * is left behind for long, and what happens only if somebody is, never does.
 */
import { type Chooser, Random, RandomChooser } from '../../base/index.js';

/** `even`: all ways are as likely; `slow-hardware`: the first ones are likelier; `fast-hardware`: the last ones. */
export const MOODS = ['fast-hardware', 'even', 'slow-hardware'] as const;
export type Mood = (typeof MOODS)[number];

/** The likelier ways are the best of so many draws. */
const DRAWS = 3;

/** The mood of a seed. */
export const moodOf = (seed: number): Mood => MOODS[seed % MOODS.length] ?? 'even';

/** @param seed any integer from 0 to 2^53 - 1 */
export function seededChooser(seed: number): Chooser {
  const mood = moodOf(seed);
  const random = new Random(seed);
  if (mood === 'even') return new RandomChooser(random);
  const isFirst = mood === 'slow-hardware';
  return {
    choose(n) {
      if (n === 1) return 0;
      let picked = random.below(n);
      for (let i = 1; i < DRAWS; i++) {
        const drawn = random.below(n);
        if (drawn < picked === isFirst) picked = drawn;
      }
      return picked;
    },
  };
}
