/**
 * Many seeds, on as many threads as are wanted. Each thread has a machine of its own, and a run is a pure function of
 * its seed, so what is told does not depend on their number: it is told in the order of the seeds.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { World } from '../../machine/index.js';
import { giveRoomToThreads } from '../room.js';
import { type Failing, failingOf, type Named, placed, type Range } from './one.js';
import type { RangeOutcome } from './thread.js';

/** Told what happens, in the order of the seeds. */
export interface Listener {
  /** What is done now. */
  readonly say: (what: string) => void;
  readonly failed: (failing: Failing) => void;
}

/** Between looks at what else there is to do: signals, the spinner. */
const SEEDS_AT_ONCE = 25;
/** What a thread is given at a time: so few that all end at about the same time. */
const SEEDS_A_RANGE = 8;
/** MiB of a thread's, for what lives short. */
const SHORT_LIVED = 64;
/** A thread that runs fewer takes longer to start than it saves. */
const SEEDS_A_THREAD = 40;

/** How many threads to use, if nobody says. */
export function jobsFor({ scenario }: Named, { first, last }: Range): number {
  // A machine that is too large to be recorded is too large to be there twice.
  if (!scenario.choices.recorded) return 1;
  return Math.max(1, Math.min(availableParallelism(), Math.floor((last - first + 1) / SEEDS_A_THREAD)));
}

/** Runs seeds here, one after the other. */
export async function runHere(
  named: Named,
  { first, last }: Range,
  { say, failed }: Listener,
): Promise<void> {
  const isForOneRun = first === last;
  const world = placed(named.name, () => new World(named.scenario, { progress: say, isForOneRun }));
  for (let seed = first; seed <= last; seed++) {
    say(`seed ${seed}`);
    const failing = failingOf(world, named, seed);
    if (failing !== undefined) failed(failing);
    if (seed % SEEDS_AT_ONCE === 0) await nextTurn();
  }
}

/** Runs seeds on so many threads. */
export async function runOnThreads(
  named: Named,
  { jobs, ...seeds }: Range & { readonly jobs: number },
  listener: Listener,
): Promise<void> {
  const ranges = rangesOf(seeds);
  const outcomes: RangeOutcome[] = [];
  let next = 0;
  let told = 0;
  const tell = async (): Promise<void> => {
    for (let outcome = outcomes[told]; outcome !== undefined; outcome = outcomes[++told]) {
      const { range, failing, stoppedAt } = outcome;
      listener.say(`seed ${range.last}`);
      for (const each of failing) listener.failed(each);
      // An error is not handed from thread to thread: it comes here too.
      if (stoppedAt !== undefined) await runHere(named, { first: stoppedAt, last: range.last }, listener);
    }
  };
  const work = async (thread: Worker): Promise<void> => {
    for (let mine = next++; mine < ranges.length; mine = next++) {
      thread.postMessage(ranges[mine]);
      const [outcome] = (await once(thread, 'message')) as [RangeOutcome];
      outcomes[mine] = outcome;
      await tell();
    }
  };
  giveRoomToThreads(SHORT_LIVED);
  const threads = Array.from({ length: Math.min(jobs, ranges.length) }, () => {
    return new Worker(new URL('./thread.js', import.meta.url), { workerData: named });
  });
  try {
    await Promise.all(threads.map(work));
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

function rangesOf({ first, last }: Range): Range[] {
  const ranges: Range[] = [];
  for (let at = first; at <= last; at += SEEDS_A_RANGE) {
    ranges.push({ first: at, last: Math.min(last, at + SEEDS_A_RANGE - 1) });
  }
  return ranges;
}
