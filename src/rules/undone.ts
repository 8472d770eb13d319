/**
 * UNDONE: what fails is told and leaves nothing behind; what is told as done has been done: the bytes are there.
 */
import { hex } from '../base/index.js';
import type { FailedOpen, Mismatch, Refused } from './facts.js';
import type { Rule, View } from './rule.js';
import { listText } from './text.js';

function refused({ process, action, errno, why, expected }: Refused): string | undefined {
  if (errno === expected) return undefined;
  if (errno === undefined)
    return `${process} did ${action}; the scenario says that it is refused with ${expected}`;
  const should = expected === undefined ? 'that it is done' : `that it is refused with ${expected}`;
  return `${process} was refused ${action} with ${errno} (${why}); the scenario says ${should}`;
}

/** Nothing is left of a refused open: no PASID that was not there, no state of a device that is not open. */
function failedOpen(
  { mm, device, queue, hadPasid }: FailedOpen,
  { ledger, bench }: View,
): string | undefined {
  const pasid = ledger.pasids.of(mm);
  if (pasid === undefined || ledger.opens.isBound(mm, device)) return undefined;
  if (!hadPasid) return `${mm} was refused ${queue}, and has kept the PASID ${pasid} that it got for it`;
  const remains = bench.remainsOf(device, pasid);
  if (remains.length === 0) return undefined;
  return `${mm} was refused ${queue}, and of PASID ${pasid} is left: ${listText(remains)}`;
}

function mismatch({ process, region, address, found, expected }: Mismatch): string {
  return `${process} finds ${found} at ${hex(address)} in its region ${region}, where ${expected} has to be: a job said success, and its bytes are not there`;
}

export const undone: Rule = {
  id: 'UNDONE',
  claim: 'a failure is told and leaves nothing, a success is true',
  refused,
  failedOpen,
  mismatch,
};
