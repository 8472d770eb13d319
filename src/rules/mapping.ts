/**
 * MAPPING: within a virtual machine a guest's PASID stands for one of the host's, and no other for the same. The set's
 * private ids and KVM's translation table say the same of it whenever neither notification nor deferred work is under
 * way: when the guest's kernel has bound a device, and when it has unbound the last. What the IOMMU's entries lead to
 * is judged by TORN and ISOLATION, from who owns the frames.
 */
import type { Backed, Bound, Mapping, Migrated, Unbound } from './facts.js';
import type { Rule, View } from './rule.js';

/** Another host PASID that stands for the same, in the guest's own books. */
function backed({ mm, vm, guest, pasid }: Backed, { ledger }: View): string | undefined {
  const other = ledger.guest(vm)?.pasids.tenure(guest);
  if (other === undefined || other.until !== undefined) return undefined;
  return `guest PASID ${guest} of ${vm} is given to ${mm}, backed by ${pasid}, and is ${other.mm}'s since step ${other.from}`;
}

function bound({ mm, vm, guest, pasid, device }: Bound, { bench }: View): string | undefined {
  const found = bench.mapping(vm, guest);
  if (found.core === pasid && found.cpu === pasid) return undefined;
  return `${device} is bound to ${mm}, guest PASID ${guest}, which PASID ${pasid} backs; ${mappingText(found)}`;
}

/** With the last device of an address space the way from the guest's number is gone. */
function unbound({ mm, pasid, device }: Unbound, { ledger, bench }: View): string | undefined {
  const guest = ledger.pasids.tenure(pasid)?.guest;
  const vm = ledger.guestOf(mm)?.name;
  if (guest === undefined || vm === undefined || ledger.opens.for(mm).length > 0) return undefined;
  const found = bench.mapping(vm, guest);
  if (found.core !== pasid && found.cpu !== pasid) return undefined;
  return `${device}, the last device of ${mm}, is unbound, and guest PASID ${guest} still leads to PASID ${pasid}: ${mappingText(found)}`;
}

/** At another VMM, what a guest had bound is bound, to a number that was not its own before. */
function migrated({ vm, from, to, pasids }: Migrated, { ledger }: View): string | undefined {
  for (const { mm, guest, before, after } of pasids) {
    if (before.core === undefined) continue;
    const backing = ledger.guest(vm)?.pasids.tenure(guest)?.backing;
    const isKnown = before.cpu === undefined || after.cpu === backing;
    if (after.core === backing && backing !== before.core && isKnown) continue;
    const here = backing === before.core ? undefined : backing;
    return `${vm} went from ${from} to ${to} with guest PASID ${guest} of ${mm}, which PASID ${before.core} backed there, and ${here ?? 'no other'} backs here; ${mappingText(after)}`;
  }
  return undefined;
}

const mappingText = ({ core, cpu }: Mapping): string =>
  `the set of its virtual machine has it for ${core ?? 'none'}, KVM's table for ${cpu ?? 'none'}`;

export const mapping: Rule = {
  id: 'MAPPING',
  claim: "a guest's PASID leads to one of the host's, and all agree on which",
  backed,
  bound,
  unbound,
  migrated,
};
