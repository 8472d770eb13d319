/** The only run of a machine that is too large to be recorded: in a thread of its own, which has the room for it. */
import { Worker } from 'node:worker_threads';
import type { RunResult } from '../../machine/index.js';
import { giveRoomToThreads } from '../room.js';
import type { Named } from '../seeds/one.js';

/** What the thread is given. */
export interface LargeRun {
  readonly named: Named;
  readonly seed: number;
}

/** What it tells. */
export type Told = { readonly say: string } | { readonly result: RunResult };

/** MiB: twice as much takes no less time. */
const SHORT_LIVED = 128;
/** MiB of what lives long: what it takes, and room for what is over and was not looked for yet. */
const LONG_LIVED = 4096;

/** Runs one seed, and comes to what has come of it; `say` is told how far it is. */
export async function runApart(run: LargeRun, say: (what: string) => void): Promise<RunResult> {
  giveRoomToThreads(SHORT_LIVED);
  const thread = new Worker(new URL('./thread.js', import.meta.url), {
    workerData: run,
    resourceLimits: { maxOldGenerationSizeMb: LONG_LIVED },
  });
  try {
    return await new Promise((resolve, reject) => {
      thread.once('error', reject);
      thread.on('message', (told: Told) => {
        if ('say' in told) say(told.say);
        else resolve(told.result);
      });
    });
  } finally {
    await thread.terminate();
  }
}
