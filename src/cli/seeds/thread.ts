/**
 * A thread that runs seeds for another: it builds the machine once, and then answers each range that it is given with
 * the seeds of it that did not go as the scenario says.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { World } from '../../machine/index.js';
import { type Failing, failingOf, type Named, type Range } from './one.js';

/** What has come of a range. */
export interface RangeOutcome {
  readonly range: Range;
  /** In their order. */
  readonly failing: readonly Failing[];
  /** The seed at which it came upon an error; none after it was run. */
  readonly stoppedAt: number | undefined;
}

const named = workerData as Named;
let world: World | undefined;

function outcomeOf(range: Range): RangeOutcome {
  const failing: Failing[] = [];
  for (let seed = range.first; seed <= range.last; seed++) {
    try {
      world ??= new World(named.scenario);
      const found = failingOf(world, named, seed);
      if (found !== undefined) failing.push(found);
    } catch {
      // Whoever asked comes upon the same when it runs that seed, and tells of it.
      return { range, failing, stoppedAt: seed };
    }
  }
  return { range, failing, stoppedAt: undefined };
}

parentPort?.on('message', (range: Range) => parentPort?.postMessage(outcomeOf(range)));
