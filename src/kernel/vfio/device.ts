/**
 * What VFIO is given to hand to a virtual machine: a whole function, or a mediated device, which a parent driver has
 * composed of a part of one; and what it tells of it.
 */
import { unreachable } from '../../base/index.js';
import {
  IOMMU_FAULT,
  IOMMU_FAULT_BYTES,
  IOMMU_FAULT_EVENT_WORD,
  IOMMU_FAULT_PAGE_REQUEST,
  IOMMU_FAULT_PERM,
  IOMMU_FAULT_REASON,
  IOMMU_FAULT_TYPE,
  IOMMU_FAULT_UNRECOVERABLE,
} from '../../spec/index.js';
import { PAGE_BYTES } from '../ids.js';
import type { DmaFault, DmaFaultReason } from '../iommu/driver.js';
import type { GuestEndpoint, GuestFault } from '../iommu/guest/binding.js';

/** A device that VFIO hands out. `drain` with PASID 0 is about what it sends without one. */
export type VfioDevice = GuestEndpoint;

/** Takes faults as `struct iommu_fault`, 64 bytes. It may be called in an interrupt's context: it may not sleep. */
export type FaultListener = (fault: Uint8Array) => void;

const REASONS: Readonly<Record<DmaFaultReason, number>> = {
  unknown: IOMMU_FAULT_REASON.UNKNOWN,
  'PASID table': IOMMU_FAULT_REASON.PASID_FETCH,
  'PASID entry': IOMMU_FAULT_REASON.BAD_PASID_ENTRY,
  'PASID out of range': IOMMU_FAULT_REASON.PASID_INVALID,
  walk: IOMMU_FAULT_REASON.WALK_EABT,
  'not present': IOMMU_FAULT_REASON.PTE_FETCH,
  permission: IOMMU_FAULT_REASON.PERMISSION,
  'address too large': IOMMU_FAULT_REASON.OOR_ADDRESS,
};

type Wanted = Pick<DmaFault, 'read' | 'write' | 'execute' | 'privileged'>;

function permOf({ read, write, execute, privileged }: Wanted): number {
  const { READ, WRITE, EXEC, PRIV } = IOMMU_FAULT_PERM;
  return (read ? READ : 0) + (write ? WRITE : 0) + (execute ? EXEC : 0) + (privileged ? PRIV : 0);
}

/** The address of a page, in two words from `words[at]` on. */
function putAddress(words: Int32Array, at: number, page: number): void {
  const address = page * PAGE_BYTES;
  words[at] = address;
  words[at + 1] = address / 2 ** 32;
}

/** A fault as `struct iommu_fault`. */
export function encodeFault(told: GuestFault): Uint8Array {
  const words = new Int32Array(IOMMU_FAULT_BYTES / 4);
  const at = IOMMU_FAULT_EVENT_WORD;
  switch (told.kind) {
    case 'page request': {
      const { request, guestPasid } = told;
      const f = IOMMU_FAULT_PAGE_REQUEST;
      IOMMU_FAULT.TYPE.set(words, 0, IOMMU_FAULT_TYPE.PAGE_REQUEST);
      f.PASID_VALID.set(words, at, 1);
      f.LAST_PAGE.set(words, at, request.isLast ? 1 : 0);
      f.NEEDS_PASID.set(words, at, 1);
      f.PASID.set(words, at, guestPasid);
      f.GRPID.set(words, at, request.group);
      f.PERM.set(words, at, permOf(request));
      putAddress(words, at + f.ADDR.low / 32, request.page);
      break;
    }
    case 'unrecoverable': {
      const { fault, guestPasid } = told;
      const f = IOMMU_FAULT_UNRECOVERABLE;
      IOMMU_FAULT.TYPE.set(words, 0, IOMMU_FAULT_TYPE.UNRECOVERABLE);
      f.REASON.set(words, at, REASONS[fault.reason]);
      f.PASID_VALID.set(words, at, guestPasid === undefined ? 0 : 1);
      f.ADDR_VALID.set(words, at, 1);
      f.PASID.set(words, at, guestPasid ?? 0);
      f.PERM.set(words, at, permOf(fault));
      putAddress(words, at + f.ADDR.low / 32, fault.page);
      break;
    }
    default:
      return unreachable(told);
  }
  return new Uint8Array(words.buffer);
}
