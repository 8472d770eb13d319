/** One seed of many: run, and judged; and said which one it was, where we ourselves come upon something. */
import { Bug } from '../../base/index.js';
import { type RunResult, type Scenario, seededChooser, type World } from '../../machine/index.js';
import { type Judgement, judged } from '../run-judge.js';

/** From the first to the last, both of them too. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** A scenario as a file has it. */
export interface Named {
  readonly name: string;
  readonly scenario: Scenario;
}

/** A seed that did not go as the scenario says. */
export interface Failing extends Pick<RunResult, 'end' | 'steps'> {
  readonly seed: number;
  readonly judgement: Judgement;
}

/** Runs a seed; undefined if it went as the scenario says. */
export function failingOf(world: World, { name, scenario }: Named, seed: number): Failing | undefined {
  const result = placed(`${name} --seed ${seed}`, () => world.run(seededChooser(seed)));
  const judgement = judged(scenario, result, 'unknown');
  const { end, steps } = result;
  return judgement.isGood ? undefined : { seed, end, steps, judgement };
}

/** Runs what may come upon an error of our own, and says in which case it did. */
export function placed<T>(which: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Bug)
      throw new Error(`ioasis run ${which} came upon a bug of ioasis`, { cause: error });
    throw error;
  }
}
