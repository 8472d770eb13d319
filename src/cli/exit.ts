/** How a command ends: what its exit code says, and how an error is told. */
import process from 'node:process';
import { PlacedError } from '../inspect/index.js';

/** What an exit code means; one table, for the code and for the help. */
export const EXIT = {
  FINE: 0,
  FINDING: 1,
  INPUT: 2,
  ENVIRONMENT: 3,
} as const;

export const EXIT_CODES = `Exit codes:
  0  fine
  1  a finding: a broken rule, a broken table, a difference
  2  bad input or usage
  3  the environment: no such socket, QEMU gone`;

/**
 * Tells an error on one line, and answers the exit code for it. What is none of the known kinds is a bug: it is thrown
 * on.
 */
export function explain(error: unknown): number {
  if (!(error instanceof PlacedError)) throw error;
  process.stderr.write(`ioasis: ${error.message}\n`);
  return error.exitCode;
}
