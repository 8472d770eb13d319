/**
 * TORN: an IOMMU never takes in a half-written PASID-table entry. An entry that it takes in as present has the root
 * of the page table of the address space that the PASID stands for, whole; judged by who owns that frame. So has one
 * that memory holds as present after any store of the kernel's: an IOMMU may read it then, though in this run none does.
 */
import { hex } from '../base/index.js';
import type { Fetch } from './facts.js';
import type { Rule, View } from './rule.js';
import { pasidText, tenureText } from './text.js';

function fault({ pasid, root, entry }: Fetch, { ledger }: View, what: string): string | undefined {
  const tenure = ledger.pasids.tenure(pasid);
  const owner = root === undefined ? undefined : ledger.frames.tenure(root)?.owner;
  const mm = tenure?.mm ?? '';
  if (owner?.kind === 'kernel' && isTableOf(owner.use, mm)) return undefined;
  const of =
    root === undefined
      ? 'no root'
      : `the root ${hex(root * 4096)}, ${tenureText(ledger.frames.tenure(root))}`;
  return `${what} of PASID ${pasid}, ${pasidText(tenure)}, with ${of}; the entry was ${entry}`;
}

function visible(fact: Fetch, view: View): string | undefined {
  return fault(fact, view, `memory holds ${fact.device}'s entry`);
}

function fetched(fact: Fetch, view: View): string | undefined {
  return fault(fact, view, `the IOMMU took in ${fact.device}'s entry`);
}

/** The kernel names a frame's use after what it is for. */
const isTableOf = (use: string, mm: string): boolean => use.split(/[\s:]+/).includes(mm);

export const torn: Rule = {
  id: 'TORN',
  claim: 'hardware never acts on a half-written entry',
  fetched,
  visible,
};
