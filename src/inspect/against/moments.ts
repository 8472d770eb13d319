/**
 * Compares a live machine's tables with a console's log that goes on. What the kernel traces is printed a little
 * later; so a log that is read again after the tables holds the moment of the reading somewhere behind the lines
 * that were there before. The tables are held against each moment in turn, and the one that leaves least counts:
 * what is not explained by any is a difference, as it is with one log.
 *
 * Left out: what the machine was in the middle of when it was stopped. It has written an entry then that it will
 * trace a moment later, and maybe after something else; whoever reads such a machine once more finds it at rest.
 */
import type { Survey } from '../survey-types.js';
import { type AgainstReport, compareWithLog } from './compare.js';
import { type KernelLog, logUntil } from './log.js';

/** Moments that are tried at most: a console that is behind is so by a buffer of some 4 KiB, 30 lines. */
export const MOST_MOMENTS = 64;

/**
 * Compares the tables with what the log said at its line `from` and at the moments after that.
 *
 * @param from how many lines the log had for certain when the tables were read
 */
export function compareWithMoments(survey: Survey, log: KernelLog, from: number): AgainstReport {
  let best: AgainstReport | undefined;
  for (const lines of moments(log, from)) {
    const report = compareWithLog(survey, logUntil(log, lines));
    if (best === undefined || isCloser(report, best)) best = report;
    if (isExact(best)) break;
  }
  return best ?? compareWithLog(survey, logUntil(log, from));
}

/** Whether the log explains all that the tables map, and the tables all that it says: nothing is taken for late. */
export const isExact = ({ differences, late }: AgainstReport): boolean =>
  differences.length === 0 && late.length === 0;

const isCloser = (one: AgainstReport, other: AgainstReport): boolean =>
  one.differences.length < other.differences.length ||
  (one.differences.length === other.differences.length && one.late.length < other.late.length);

/** Line `from`, and the later lines after which a mapping is another. */
function moments({ events, domains }: KernelLog, from: number): number[] {
  const changes = [...events.filter(({ kind }) => kind !== 'flush'), ...domains].map(({ line }) => line);
  const later = changes.filter((line) => line > from).sort((a, b) => a - b);
  return [from, ...later.slice(0, MOST_MOMENTS)];
}
