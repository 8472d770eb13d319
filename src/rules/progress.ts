/**
 * PROGRESS: whoever waits is served in the end: no task sleeps for ever, no retry goes on for ever, every page
 * request is answered, every descriptor is done with.
 */
import type { CutOff, End } from './facts.js';
import type { Rule, View } from './rule.js';
import { jobText, listText } from './text.js';

/** Steps in which anything that can be done is done. */
const LEAST_PATIENCE = 10_000;

function ended({ stuck }: End, { ledger, bench }: View): string | undefined {
  const jobs = ledger.jobs.pending().map(jobText);
  const requests = bench.unanswered();
  // Who was killed may leave what nobody took; who still waits was not.
  const lost = ledger.jobs
    .notTaken()
    .filter(({ process }) => stuck.some(({ name }) => name === process))
    .map((job) => `${jobText(job)}, which no queue took`);
  const waiting = [...jobs, ...lost, ...requests];
  const because = waiting.length === 0 ? '' : `; not done: ${listText(waiting)}`;
  if (stuck.length > 0) {
    const who = stuck.map(({ name, at }) => `${name} waits for ${at}`);
    return `nobody can go on: ${listText(who)}${because}`;
  }
  return waiting.length === 0
    ? undefined
    : `all processes are gone, and this never came to an end: ${listText(waiting)}`;
}

/** A run that is cut off is not judged, but for what has been left undone for most of it. */
function cutOff({ tasks }: CutOff, { ledger, bench }: View): string | undefined {
  const patience = Math.max(ledger.step / 2, LEAST_PATIENCE);
  const old = ledger.jobs.pending().filter(({ accepted }) => ledger.step - accepted > patience);
  if (old.length === 0) return undefined;
  const at = tasks.map((task) => `${task.name} at ${task.at}`);
  const left = [...old.map(jobText), ...bench.unanswered()];
  return `for more than ${Math.floor(patience)} steps this has not come to an end: ${listText(left)}; meanwhile: ${listText(at)}`;
}

export const progress: Rule = {
  id: 'PROGRESS',
  claim: 'whoever waits is served in the end',
  gaveUp: ({ process, what }) => `${process} gave up: ${what}`,
  cutOff,
  ended,
};
