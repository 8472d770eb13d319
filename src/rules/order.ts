/**
 * ORDER: a device takes work for an address space only while it is bound to it: after the IOMMU's entry is there,
 * and before it goes. The memory of a process that ends goes before its files, though: what is in flight then meets no
 * entry (flow 7), which CLEAN and ISOLATION judge. Judged by what is open, and by the look into the tables; the order
 * in which the IOASID core tells its subscribers is judged where there are any.
 */
import type { Unbound } from './facts.js';
import type { AcceptedJob } from './ledger/jobs.js';
import type { OpenQueue } from './ledger/opens.js';
import type { Rule, View } from './rule.js';
import { jobText, listText, numberText } from './text.js';

function accepted(job: AcceptedJob, { ledger, bench }: View): string | undefined {
  const tenure = ledger.pasids.tenure(job.pasid);
  if (tenure === undefined || !isJudged(job, tenure, ledger)) return undefined;
  if (ledger.dying.get(job.mm) !== undefined || bench.isBound(job.device, job.pasid)) return undefined;
  return `${job.queue} took ${jobText(job)}, with ${numberText(job)}, for which ${job.device}'s IOMMU has no entry: it has to be valid before the queue can be reached, and as long as it can`;
}

/** Whether it is the host's affair that a job's PASID is bound. */
function isJudged(job: AcceptedJob, { mm }: { readonly mm: string }, ledger: View['ledger']): boolean {
  const machine = ledger.guestOf(job.mm);
  if (machine?.isOpaque !== true) return mm === job.mm;
  // A virtual machine's CPUs translate for all its devices: for which of them such a guest binds what its descriptors
  // bring is its own affair. What a dedicated queue has, the host has put there, but for a whole function's.
  const isHosts = job.isDedicated && ledger.numbering.ownerOf(job.device) === undefined;
  return isHosts && ledger.guestOf(mm) === machine;
}

/** The phases of a tear-down: the device is drained before its entry is cleared. */
function unbound({ device, via, mm, pasid }: Unbound, { ledger }: View): string | undefined {
  const isOf = (job: AcceptedJob): boolean =>
    via === undefined || (job.via ?? job.queue).startsWith(`${via}/`);
  const jobs = ledger.jobs
    .pending()
    .filter((job) => job.device === device && job.pasid === pasid && isOf(job));
  if (jobs.length === 0) return undefined;
  const left = listText(jobs.map(jobText));
  return `${via ?? device} was unbound from ${mm}, PASID ${pasid}, and still works for it: ${left}; it has to be drained before`;
}

/** Who closes a queue is told so when the device has nothing of it any more. */
function released({ mm, queue }: OpenQueue, { ledger }: View): string | undefined {
  const isOpen = ledger.opens.for(mm).some((open) => open.queue === queue);
  const jobs = ledger.jobs.pending().filter((job) => job.mm === mm && job.queue === queue);
  if (isOpen || jobs.length === 0) return undefined;
  return `${queue} is closed for ${mm}, and still works for it: ${listText(jobs.map(jobText))}; it has to be drained before`;
}

export const order: Rule = {
  id: 'ORDER',
  claim: 'the IOMMU is ready before a device may work, and goes after it',
  accepted,
  unbound,
  released,
};
