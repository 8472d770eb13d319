/**
 * ISOLATION: no byte is read or written by DMA outside the address space that its submitter had when it submitted,
 * and within that, at no other address than the job's. Judged by who owns the frame that the bytes were in.
 */
import { hex } from '../base/index.js';
import type { Move } from './facts.js';
import type { Tenure } from './ledger/frames.js';
import type { Rule, View } from './rule.js';
import { addressText, jobText, lastOf, numberText, PAGE_BYTES, tenureText } from './text.js';

function moved(move: Move, view: View): string | undefined {
  const { job, page, frame, offset, bytes, isWrite } = move;
  const { ledger } = view;
  const owner = ledger.ownerOf(frame);
  const guest = ledger.numbering.ownerOf(job.device) ?? ledger.guestOf(job.mm);
  // What such a guest does to itself is its own affair: its bounds are those of its virtual machine.
  if (guest?.isOpaque === true && ledger.tenure(frame)?.vm === guest.name) return undefined;
  if (owner?.kind === 'page' && owner.mm === job.mm && owner.page === page) return notNamed(move);
  const own = job.frames?.get(page);
  if (own !== undefined && guest !== undefined && ledger.frameOf(guest, own) === frame) return notNamed(move);
  const tenure = ledger.tenure(frame);
  const did = `${job.device} ${isWrite ? 'wrote' : 'read'} ${bytes} bytes at ${addressText(page, offset)}`;
  const where = `${isWrite ? 'into' : 'from'} frame 0x${frame.toString(16)}, ${tenureText(tenure)}`;
  const why = reason(move, tenure, view);
  return `${did} for ${numberText(job)} (${jobText(job)}), ${where}: ${why}`;
}

/** Within its submitter's memory, a job moves bytes only where its descriptor says. */
function notNamed({ job, page, offset, bytes, isWrite }: Move): string | undefined {
  const first = page * PAGE_BYTES + offset;
  const may = job.names.filter(({ isWritten }) => isWritten === isWrite);
  if (may.some((named) => first >= named.address && first + bytes <= named.address + named.bytes)) {
    return undefined;
  }
  const did = `${job.device} ${isWrite ? 'wrote' : 'read'} ${bytes} bytes at ${addressText(page, offset)}`;
  const names = may.map(({ address, bytes: length }) => `${length} bytes at ${hex(address)}`);
  const should = names.length === 0 ? 'nothing' : names.join(' and ');
  return `${did} for ${numberText(job)} (${jobText(job)}), and the descriptor has it ${isWrite ? 'write' : 'read'} ${should}`;
}

/** How it came to be let through, as far as the ledger and the caches tell. */
function reason({ job, page, isTranslated }: Move, tenure: Tenure | undefined, { bench }: View): string {
  const last = lastOf(tenure, job.mm);
  if (last !== undefined) {
    const was = `it was ${job.mm}'s page ${addressText(last.page)} until step ${last.until}`;
    const caches = bench.cachesOf(job.pasid, page);
    const still =
      caches.length === 0
        ? `${job.device} went on with a translation from before, which an invalidation has to wait for`
        : `a translation of it is still in ${caches.join(' and in ')}, which has to forget it before the frame is free`;
    return `${was}, and ${still}`;
  }
  const way = isTranslated ? `${job.device}'s device TLB` : 'the IOMMU';
  const { owner } = tenure ?? {};
  if (owner?.kind === 'page' && owner.mm === job.mm) return `${way} led to the wrong page`;
  return `it has never been ${job.mm}'s, for whom ${way} let it through${elsewhere(job, tenure)}`;
}

/** That the bytes are on another machine than who asked for them. */
function elsewhere({ mm }: Move['job'], tenure: Tenure | undefined): string {
  const own = mm.includes('/') ? mm.split('/', 1)[0] : undefined;
  if (tenure?.vm === own) return '';
  return `: a way out of ${own ?? 'the host'} into ${tenure?.vm ?? 'the host'}`;
}

export const isolation: Rule = {
  id: 'ISOLATION',
  claim: "DMA stays within its submitter's address space",
  moved,
};
