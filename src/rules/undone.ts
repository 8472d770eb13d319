/**
 * UNDONE: what fails is told and leaves nothing behind; what is told as done has been done: the bytes are there.
 */
import { hex } from '../base/index.js';
import type { Mismatch, Refused } from './facts.js';
import type { Rule } from './rule.js';

function refused({ process, action, errno, why, expected }: Refused): string | undefined {
  if (errno === expected) return undefined;
  if (errno === undefined)
    return `${process} did ${action}; the scenario says that it is refused with ${expected}`;
  const should = expected === undefined ? 'that it is done' : `that it is refused with ${expected}`;
  return `${process} was refused ${action} with ${errno} (${why}); the scenario says ${should}`;
}

function mismatch({ process, region, address, found, expected }: Mismatch): string {
  return `${process} finds ${found} at ${hex(address)} in its region ${region}, where ${expected} has to be: a job said success, and its bytes are not there`;
}

export const undone: Rule = {
  id: 'UNDONE',
  claim: 'a failure is told and leaves nothing, a success is true',
  refused,
  mismatch,
};
