/**
 * PROGRESS: whoever waits is served in the end: no task sleeps for ever, no retry goes on for ever, every page
 * request is answered, every descriptor is done with.
 */
import type { End } from './facts.js';
import type { Rule, View } from './rule.js';
import { jobText, listText } from './text.js';

function ended({ stuck }: End, { ledger, bench }: View): string | undefined {
  const jobs = [...ledger.jobs.pending()].map(jobText);
  const requests = bench.unanswered();
  const waiting = [...jobs, ...requests];
  const because = waiting.length === 0 ? '' : `; not done: ${listText(waiting)}`;
  if (stuck.length > 0) {
    const who = stuck.map(({ name, at }) => `${name} waits for ${at}`);
    return `nobody can go on: ${listText(who)}${because}`;
  }
  return waiting.length === 0
    ? undefined
    : `all processes are gone, and this never came to an end: ${listText(waiting)}`;
}

export const progress: Rule = {
  id: 'PROGRESS',
  claim: 'whoever waits is served in the end',
  gaveUp: ({ process, what }) => `${process} gave up: ${what}`,
  ended,
};
