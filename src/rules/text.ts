/** Words that several rules' messages share. */
import { hex } from '../base/index.js';
import type { FrameOwner } from '../kernel/index.js';
import type { Tenure } from './ledger/frames.js';
import type { Job } from './ledger/jobs.js';
import { NOBODY } from './ledger/numbering.js';
import type { PasidTenure } from './ledger/pasids.js';

export const PAGE_BYTES = 4096;

export const addressText = (page: number, offset = 0): string => hex(page * PAGE_BYTES + offset);

export const jobText = ({ name, process, queue, step }: Job): string =>
  `job ${name} of ${process}, submitted to ${queue} at step ${step}`;

/** `bob's page 0x20000`, `the kernel's (page table of bob)`. */
export const ownerText = (owner: FrameOwner, vm?: string): string =>
  owner.kind === 'page'
    ? `${owner.mm}'s page ${addressText(owner.page)}`
    : `${vm === undefined ? 'the' : `${vm}'s`} kernel's (${owner.use})`;

/** Whose a frame is, and since when. */
export function tenureText(tenure: Tenure | undefined): string {
  if (tenure === undefined) return 'which nobody ever owned';
  const { owner, since, vm } = tenure;
  const free = vm === undefined ? 'free' : `free memory of ${vm}`;
  return owner === undefined
    ? `which is ${free} since step ${since}`
    : `which is ${ownerText(owner, vm)} since step ${since}`;
}

/** A PASID of a device's, as its requests have it: of a function that a guest has whole, by the guest's numbers. */
export function numberText({
  pasid,
  carried,
}: {
  readonly pasid: number;
  readonly carried?: number | undefined;
}): string {
  if (carried === undefined || carried === pasid) return `PASID ${pasid}`;
  return `guest PASID ${carried} (${pasid === NOBODY ? "nobody's" : `host ${pasid}`})`;
}

/** Whose a PASID is, or was. */
export function pasidText(tenure: PasidTenure | undefined): string {
  if (tenure === undefined) return 'which was never given to anybody';
  const { mm, from, until, guest } = tenure;
  const number = guest === undefined ? '' : `, guest PASID ${guest},`;
  return until === undefined
    ? `which is ${mm}'s${number} since step ${from}`
    : `which was ${mm}'s${number} until step ${until}`;
}

/** The tenure in which a frame last was a page of this address space. */
export function lastOf(tenure: Tenure | undefined, mm: string): { until: number; page: number } | undefined {
  let end = tenure;
  for (let at = tenure?.before; at !== undefined; at = at.before) {
    if (at.owner?.kind === 'page' && at.owner.mm === mm && end !== undefined) {
      return { until: end.since, page: at.owner.page };
    }
    end = at;
  }
  return undefined;
}

/** A list that is cut where it would not be read on. */
export function listText(items: readonly string[], most = 4): string {
  const more = items.length - most;
  return more > 0 ? `${items.slice(0, most).join('; ')}; and ${more} more` : items.join('; ');
}
