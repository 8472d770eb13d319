/**
 * What keeps PASIDs of one device of a virtual machine apart from those of another. A whole function has its guest's
 * numbers and a part of one the host's (Scalable IOV 1.0, 2.4), so that one number means two address spaces of one
 * virtual machine: tables differ by RID (VT-d 4.1, 3.4), but translations are cached by domain id and PASID alone
 * (6.2), and page requests carry RID and PASID (7.4).
 *
 * All of them are on. A scenario switches one off to show what it is there for.
 */
export interface GuestProtections {
  /** Each function that a VM has something of has a domain id of its own there; off, all of a VM's have one. */
  readonly ownDomainIds: boolean;
  /** What is bound for a device is in the table of its function alone; off, in those of all that the VM has. */
  readonly bindPerDevice: boolean;
  /** A page request is for what is attached to its RID and PASID; off, to its PASID on whatever device. */
  readonly pageRequestsByRid: boolean;
}

export const ALL_PROTECTIONS: GuestProtections = {
  ownDomainIds: true,
  bindPerDevice: true,
  pageRequestsByRid: true,
};
