/**
 * UNDONE: what fails is told and leaves nothing behind; what is told as done has been done: the bytes are there.
 */
import { hex } from '../base/index.js';
import { RESPONSE_CODE } from '../spec/index.js';
import type { Answer, FailedOpen, Mismatch, Refused } from './facts.js';
import type { AcceptedJob } from './ledger/jobs.js';
import type { Rule, View } from './rule.js';
import { addressText, jobText, listText, numberText } from './text.js';

/** The code of a page group response. */
const SUCCESS = RESPONSE_CODE.SUCCESS;

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

/** A queue that takes what it has no room for loses it, or another. Told before the ledger takes it in. */
function accepted(job: AcceptedJob, { ledger }: View): string | undefined {
  const { queue, room } = job;
  const before = ledger.jobs.pending().filter((other) => other.queue === queue);
  if (before.length < room.queue + room.engines) return undefined;
  const there = listText(before.map(({ name }) => name));
  return `${queue} took ${jobText(job)}, and has room for ${room.queue}, with ${room.engines} engine(s) to take from it; there were ${there}`;
}

/** "Success" says that the page is there. An IOMMU says it too of what it lost, so that it is asked for again. */
function answered(answer: Answer, { ledger }: View): string | undefined {
  const { device, pasid, group, code, request, isByHardware } = answer;
  const mm = ledger.pasids.tenure(pasid)?.mm;
  if (request === undefined || mm === undefined || isByHardware || code !== SUCCESS) return undefined;
  // Such a guest may say of itself what it likes.
  if (ledger.guestOf(mm)?.isOpaque === true) return undefined;
  if (ledger.framesOf(mm).hadFrame(mm, request.page, request.step)) return undefined;
  return `${device} was told that the page of group ${group}, ${addressText(request.page)} of ${numberText(answer)}, is there, and ${mm} has had none since it was asked for at step ${request.step}`;
}

export const undone: Rule = {
  id: 'UNDONE',
  claim: 'a failure is told and leaves nothing, a success is true',
  refused,
  failedOpen,
  mismatch,
  answered,
  accepted,
};
