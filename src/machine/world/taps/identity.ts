/**
 * Whose a PASID is. Every event that has one tells the same of it: `pasid`, the number of the host's that requests
 * carry; `owner`, the address space that it stands for; and for a virtual machine's, `vm` and `guestPasid`, the number
 * that its guest has for it.
 */
import { NO_PASID } from '../../../hardware/index.js';
import { type GuestLedger, type Ledger, NOBODY } from '../../../rules/index.js';
import { type Fields, present } from './names.js';

/** Of one of the host's numbers: its present owner, or its last. */
export function whose(ledger: Ledger, pasid: number): Fields {
  const tenure = ledger.pasids.tenure(pasid);
  if (tenure === undefined) return {};
  const { mm, guest } = tenure;
  return present({ owner: mm, vm: ledger.guestOf(mm)?.name, guestPasid: guest });
}

/** A number that a device's requests carry: the host's, and where it is another's, that one too. */
export function numberOf(
  { numbering }: Ledger,
  device: string,
  carried: number,
): { readonly pasid: number; readonly carried?: number } {
  const pasid = numbering.idOf(device, carried);
  return numbering.ownerOf(device) === undefined ? { pasid } : { pasid, carried };
}

/** Of one of a device's: the host's number, and whose it is. */
export function whoseOn(ledger: Ledger, device: string, carried: number): Fields {
  if (carried === NO_PASID) return {};
  const pasid = ledger.numbering.idOf(device, carried);
  const vm = ledger.numbering.ownerOf(device)?.name;
  return pasid !== NOBODY || vm === undefined
    ? { pasid, ...whose(ledger, pasid) }
    : { vm, guestPasid: carried };
}

/** Of one of a guest's numbers. */
export function whoseGuest(ledger: Ledger, guest: GuestLedger, guestPasid: number): Fields {
  const mm = guest.pasids.tenure(guestPasid)?.mm;
  const pasid = mm === undefined ? undefined : ledger.pasids.of(mm);
  const isItsOwn = pasid !== undefined && ledger.pasids.tenure(pasid)?.guest === guestPasid;
  return present({ vm: guest.name, guestPasid, owner: mm, pasid: isItsOwn ? pasid : undefined });
}
