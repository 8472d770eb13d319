/**
 * What the virtual IOMMU of a VM asks of the host: flow 2 seen from the VMM. A device is named by its virtual RID,
 * a PASID by the guest's number, beside the host's where one is made or given back. Plain functions answer at once,
 * as ioctls do that do not sleep; tasks may sleep in the host's kernel, and what they did is done in hardware when
 * they return.
 */
import type { Refusal, Task } from '../../base/index.js';

/** A PASID of the guest's, or 0 for requests without one, and the one of the host's that backs it. */
export interface PasidPair {
  readonly guestPasid: number;
  readonly hostPasid: number;
}

/** A guest's PASID table entry that translates by a first stage, with the number that backs it. */
export interface GuestBinding extends PasidPair {
  /** Guest frame of the first stage's root. */
  readonly root: number;
  /** Levels of the first stage: 4 or 5. */
  readonly levels: number;
  /** SRE: requests with privilege are allowed. */
  readonly supervisorRequests: boolean;
  /** WPE: they obey write protection. */
  readonly writeProtect: boolean;
  /** EAFE: the extended accessed bit is kept. */
  readonly extendedAccessed: boolean;
}

/** What the caches of the host's hardware may no longer hold: of one guest PASID, through one device. */
export interface HostInvalidation {
  /** The unit's IOTLB and paging structures, the device's own TLB, or both: a guest that sees no ATS flushes one. */
  readonly cache: 'iotlb' | 'device-tlb' | 'both';
  readonly guestPasid: number;
  /** The pages, a power of two of them, aligned; all, if undefined. */
  readonly pages: { readonly page: number; readonly pages: number } | undefined;
  /** Only leaves have changed (IH). */
  readonly leafOnly: boolean;
}

/** A guest's answer to a group of page requests. */
export interface HostPageResponse {
  readonly guestPasid: number;
  /** Page request group index. */
  readonly group: number;
  /** One of PAGE_RESPONSE, or what else the guest has written into its four bits. */
  readonly code: number;
}

export interface HostSide {
  /**
   * A host PASID of the VM's set, from `min` to `max`.
   *
   * On failure: nothing is allocated.
   */
  allocPasid(min: number, max: number): number | Refusal;
  /** Gives a host PASID back, bound or not: the host tears down by itself what is; `unbind` waits for that. */
  freePasid(hostPasid: number): Refusal | undefined;
  /**
   * Has requests of a device without a PASID reach the guest's memory as it is, as they do from the device's beginning.
   *
   * On failure: they are blocked.
   */
  attach(rid: number): Task<Refusal | undefined>;
  /** Blocks them. On failure: `EIO` if hardware did not confirm; anything else says that there is nothing to block. */
  detach(rid: number): Task<Refusal | undefined>;
  /** Those without a PASID (0) are blocked before. On failure: nothing is bound. */
  bind(rid: number, binding: GuestBinding): Task<Refusal | undefined>;
  /** Whether nobody but the guest can drain a device: what still comes of what is unbound may have to be muted. */
  isWhole(rid: number): boolean;
  /**
   * Muted, it leads nowhere, and keeps faults from being recorded until it is unbound as others are.
   *
   * On failure: `EIO` if hardware did not confirm, and it stays bound; anything else says that it was not bound.
   */
  unbind(rid: number, pair: PasidPair, options?: { readonly mute: boolean }): Task<Refusal | undefined>;
  /** On failure: `EIO` if hardware did not confirm; anything else says that there is nothing to invalidate. */
  invalidate(rid: number, what: HostInvalidation): Task<Refusal | undefined>;
  /** On failure: the host has no such request outstanding, or answers it by itself. */
  respond(rid: number, response: HostPageResponse): Task<Refusal | undefined>;
}
