/**
 * OWNER: who submits, submits for its own address space: the PASID that a descriptor carries, or that its queue
 * adds, stands for the address space of the process that sent it. Refusals that one user earns for touching what is
 * another's are the kernel's answers, and judged by the scenario (UNDONE).
 */
import type { AcceptedJob } from './ledger/jobs.js';
import type { Rule, View } from './rule.js';
import { jobText, numberText, pasidText } from './text.js';

function accepted(job: AcceptedJob, { ledger }: View): string | undefined {
  // What such a guest does to itself is its own affair.
  if (ledger.numbering.ownerOf(job.device)?.isOpaque === true) return undefined;
  const tenure = ledger.pasids.tenure(job.pasid);
  if (tenure?.until === undefined && tenure?.mm === job.mm) return undefined;
  // What such a guest does with what is its own is its own affair.
  const machine = ledger.guestOf(job.mm);
  const isOwn = tenure !== undefined && tenure.until === undefined && ledger.guestOf(tenure.mm) === machine;
  const hasWhole = machine !== undefined && ledger.numbering.ownerOf(job.device) === machine;
  if (machine?.isOpaque === true && (isOwn || hasWhole)) return undefined;
  const own = ledger.pasids.of(job.mm);
  const guest = own === undefined ? undefined : ledger.pasids.tenure(own)?.guest;
  const ownText =
    job.carried === undefined || guest === undefined ? `${own}` : `guest PASID ${guest} (host ${own})`;
  const should =
    own === undefined ? `${job.mm} has no PASID and may submit nothing` : `${job.mm}'s own is ${ownText}`;
  return `${job.queue} took ${jobText(job)}, with ${numberText(job)}, ${pasidText(tenure)}: ${should}`;
}

export const owner: Rule = {
  id: 'OWNER',
  claim: 'nobody submits with the PASID of another',
  accepted,
  survived: ({ process, action }) => `${process} did ${action}; the scenario says that it is killed for that`,
};
