/**
 * TORN: an IOMMU never takes in a half-written PASID-table entry. An entry that it takes in as present has the root
 * of the page table of the address space that the PASID stands for, whole; judged by who owns that frame. So has one
 * that memory holds as present after any store of the kernel's: an IOMMU may read it then, though in this run none
 * does.
 */
import { hex } from '../base/index.js';
import type { Fetch } from './facts.js';
import type { GuestLedger } from './ledger/guests.js';
import type { Rule, View } from './rule.js';
import { numberText, pasidText, tenureText } from './text.js';

function fault(fact: Fetch, { ledger }: View, what: string): string | undefined {
  const { pasid, root, second } = fact;
  const tenure = ledger.pasids.tenure(pasid);
  const mm = tenure?.mm ?? '';
  // The first stage of a nested entry lies in the guest's memory, and its root is one of the guest's frames.
  const frames = second === undefined ? ledger.frames : ledger.framesOf(mm);
  const owner = root === undefined ? undefined : frames.tenure(root)?.owner;
  const guest = ledger.numbering.ownerOf(fact.device) ?? ledger.guestOf(mm);
  const vm = guest?.name;
  const isAnything = guest?.isOpaque === true && second !== undefined;
  const isKernels = vm !== undefined && mm === `${vm}/kernel`;
  const isOwn =
    isAnything ||
    (isKernels && root === undefined) ||
    (owner?.kind === 'kernel' && (isTableOf(owner.use, mm) || (isKernels && isForDma(owner.use))));
  if (isOwn && isSecondStage(second, guest, ledger)) return undefined;
  const of =
    root === undefined ? 'no root' : `the root ${hex(root * 4096)}, ${tenureText(frames.tenure(root))}`;
  if (isOwn) {
    const stage =
      second === undefined
        ? 'no second stage'
        : `the second stage ${hex(second * 4096)}, ${tenureText(ledger.frames.tenure(second))}`;
    return `${what} of ${numberText(fact)}, ${pasidText(tenure)}, with ${stage}; the entry was ${fact.entry}`;
  }
  return `${what} of ${numberText(fact)}, ${pasidText(tenure)}, with ${of}; the entry was ${fact.entry}`;
}

function visible(fact: Fetch, view: View): string | undefined {
  return fault(fact, view, `memory holds ${fact.device}'s entry`);
}

function fetched(fact: Fetch, view: View): string | undefined {
  return fault(fact, view, `the IOMMU took in ${fact.device}'s entry`);
}

/** A guest's addresses go through a second stage of a VMM of its, the host's own through none. */
function isSecondStage(
  second: number | undefined,
  guest: GuestLedger | undefined,
  { frames }: View['ledger'],
): boolean {
  if (guest === undefined) return second === undefined;
  const owner = second === undefined ? undefined : frames.tenure(second)?.owner;
  return owner?.kind === 'kernel' && guest.vmms.some((vmm) => isTableOf(owner.use, vmm));
}

/** What a guest's kernel maps for a device's requests without a PASID; it may map nothing, and have them reach all. */
const isForDma = (use: string): boolean => use.startsWith('page table of dma ');

/** The kernel names a frame's use after what it is for. */
const isTableOf = (use: string, mm: string): boolean =>
  use === `page table of ${mm}` || use.split(/[\s:]+/).includes(mm);

export const torn: Rule = {
  id: 'TORN',
  claim: 'hardware never acts on a half-written entry',
  fetched,
  visible,
};
