/**
 * `ioasis inspect --against`: the kernel's log, and how often a live machine is read until it and the tables agree.
 *
 * A live machine does not wait for either. What its kernel traced before it was stopped may be printed only when it
 * goes on, so the log is read once more then; and it may have been stopped between an unmap and a map, or within
 * one, so the machine is read once more if that does not help. A difference is one that is still there at last.
 */
import { readFileSync, statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { isRefusal } from '../base/index.js';
import {
  type AgainstReport,
  compareWithLog,
  compareWithMoments,
  type Findings,
  InputError,
  isExact,
  type KernelLog,
  parseLog,
  reasonOf,
} from '../inspect/index.js';

/** A machine's tables, and its kernel's log as it was when they were read. */
export interface Reading {
  readonly found: Findings;
  readonly log: KernelLog;
}

/** How often a machine is read again, and how long it is left alone before each. */
const AGAIN = 8;
const AGAIN_MS = 250;

/**
 * Compares a reading with the log at `path`; where they disagree, others in its place.
 *
 * @param anew reads a live machine once more; undefined for an image
 * @returns what was read last, and its comparison
 */
export async function holdAgainst(
  path: string,
  reading: Reading,
  anew: (() => Promise<Reading>) | undefined,
): Promise<{ readonly found: Findings; readonly report: AgainstReport }> {
  let { found, log } = reading;
  let report = compareWithLog(found.survey, log);
  for (let again = 0; anew !== undefined && !(isExact(report) && report.verdict === 'pass'); again++) {
    await setTimeout(AGAIN_MS);
    const longer = readLog(path);
    const isLonger = longer.lines > log.lines;
    if (isLonger) report = compareWithMoments(found.survey, longer, log.lines);
    if (isExact(report) || again === AGAIN || (!isLonger && report.differences.length === 0)) break;
    ({ found, log } = await anew());
    report = compareWithLog(found.survey, log);
  }
  return { found, report };
}

/**
 * Reads a log.
 *
 * On failure: an `InputError` with the line, or why there is none to be read.
 */
export function readLog(path: string): KernelLog {
  let text: string;
  try {
    if (statSync(path).isCharacterDevice()) throw new Error('this is a device, and no log');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(path, reasonOf(error));
  }
  const log = parseLog(text);
  if (isRefusal(log)) throw new InputError(path, log.why);
  return log;
}
