/**
 * What the IOMMU core asks of a driver: one for each unit, whatever its make. PASID 0 stands for the requests of a
 * device that have none.
 *
 * Errors, in all of it: `EOPNOTSUPP` for a kind of domain that the unit does not have, `EINVAL` for one that it
 * has and cannot use this one of (too wide, pages too large), `EBUSY` where something is attached, `ENOSPC` for
 * domain ids, `ENOMEM` for tables, `EIO` where hardware did not confirm.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { IoasidAllocatorOps } from '../../ioasid/index.js';
import type { Pasid } from '../ids.js';
import type { Domain, NestedStage } from './domain.js';

/** What a driver knows of a function behind its unit. */
export interface Endpoint {
  readonly rid: number;
  readonly name: string;
  /** Bits of the PASIDs that both it and its IOMMU have; 0 if it can have none. */
  readonly pasidBits: number;
  /** It caches translations: each invalidation must reach it too. */
  readonly ats: boolean;
  /** It asks for pages. */
  readonly pri: boolean;
  /** How many invalidations it takes at once, as its ATS capability codes it: 0 is 32. */
  readonly invalidationDepth: number;
  /** The RID of its physical function, where the IOMMU wants it with each invalidation; 0 otherwise. */
  readonly throttledBy: number;
}

/** A page request, as hardware queued it. */
export interface PageRequest {
  readonly rid: number;
  readonly pasid: Pasid | undefined;
  readonly page: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
  readonly group: number;
  readonly isLast: boolean;
}

/** A request that was not translated, as hardware recorded it. */
export interface DmaFault {
  readonly rid: number;
  readonly pasid: Pasid | undefined;
  readonly page: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
  readonly reason: DmaFaultReason;
}

/** What kept it from being translated. */
export type DmaFaultReason =
  | 'unknown'
  | 'PASID table'
  | 'PASID entry'
  | 'PASID out of range'
  | 'walk'
  | 'not present'
  | 'permission'
  | 'address too large';

/** What a driver needs of the core. */
export interface IommuClient {
  /** Takes page requests, in the order in which the queue has them. */
  pageRequest(driver: IommuDriver, request: PageRequest): Task;
  /** Some were lost, and all that were not have been taken: the last ones of unfinished groups never come. */
  pageRequestsLost(driver: IommuDriver): void;
  /** Whose address space a (device, PASID) is, for messages; undefined if nobody's. */
  ownerOf(rid: number, pasid: number): string | undefined;
  /** Takes faults. It is called in an interrupt's context. */
  fault(fault: DmaFault): void;
}

/** What a group of page requests is answered. */
export type PageResponse = 'success' | 'invalid request' | 'failure';

/** Pages of a domain, both ends inclusive. */
export interface PageRange {
  readonly first: number;
  readonly last: number;
}

/** What a guest has changed in its first stages, behind one device, and which caches may hold it. */
export interface GuestFlush {
  /** Attached nested domains that share a domain id. */
  readonly entries: readonly { readonly pasid: Pasid; readonly domain: NestedStage }[];
  readonly iotlb: boolean;
  readonly deviceTlb: boolean;
  readonly pasidCache: boolean;
  /** All pages, if left out. */
  readonly range?: PageRange | undefined;
}

/** What a guest may use of a unit by nested translation; registers as VT-d has them. */
export interface NestingInfo {
  readonly cap: bigint;
  readonly ecap: bigint;
}

/** The page tables that a unit walks. */
export interface TableLimits {
  /** Numbers of levels, and the levels of them at which a leaf may stand; none if it has no such stage. */
  readonly levels: readonly number[];
  readonly leaves: readonly number[];
  /** Bits of the largest address that is translated. */
  readonly width: number;
}

/** Why a domain cannot be used with a device. */
export type Unsuited = Refusal<'EOPNOTSUPP' | 'EINVAL'>;

export type AttachErrno = 'EOPNOTSUPP' | 'EINVAL' | 'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO';

/**
 * A change of domain that has all it needs, and has changed nothing yet. It ends with `cancel`, or, once applied, with
 * `commit` or `revert`; none of them can fail for want of anything.
 */
export interface Replacement {
  /** Gives back what was reserved. */
  cancel(): void;
  /**
   * From now on each request meets the new domain; until then it met the old one, and at no time neither.
   *
   * On failure: `EIO`, caches may hold either; `revert` it.
   */
  apply(): Task<Refusal<'EIO'> | undefined>;
  /** Lets go of the old domain. */
  commit(): void;
  /**
   * Back to the old domain, in the same way.
   *
   * On failure: `EIO`: the old domain is back, caches may hold the new one, whose id stays taken.
   */
  revert(): Task<Refusal<'EIO'> | undefined>;
}

/** What a kernel does to have a unit forget all that it has cached: no more than that, or more. */
export type Refresh = 'caches' | 'root table' | 'translation';

export interface IommuDriver {
  readonly name: string;
  /** Bits of its PASIDs; 0 if it has none. */
  readonly pasidBits: number;
  readonly hasDeviceTlbs: boolean;
  /** It wants to know the physical function of a device whose TLB is invalidated. */
  readonly throttlesDeviceTlbs: boolean;
  /** Whether a device that caches translations can have the identity domain: it asks for translations then, too. */
  readonly translatesIdentity: boolean;
  readonly hasPageRequests: boolean;
  readonly firstStage: TableLimits;
  readonly secondStage: TableLimits;
  /** Whether it can make DMA snoop the CPUs' caches. */
  readonly canSnoop: boolean;
  /** The stages in which it can mark what DMA has written to so that the kernel sees it. */
  readonly dirtyStages: readonly ('first-stage' | 'second-stage')[];
  /** Undefined if it has no nested translation. */
  readonly nesting: NestingInfo | undefined;
  /** Gives out the machine's PASIDs, if that is not for the kernel to do. */
  readonly pasidAllocator: IoasidAllocatorOps | undefined;

  /** Makes the unit ready; it translates nothing yet. On failure: `ENODEV` says what it lacks; `ENOMEM`. */
  boot(client: IommuClient): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined>;

  /** All devices are there: the unit begins to translate. */
  enable(): Task;

  /**
   * Has the unit forget all that it has cached of tables: by invalidations of everything, after the root table is
   * latched anew, or translation was off for a moment. On failure: `EIO`, caches may hold what they held.
   */
  refresh(scope: Refresh): Task<Refusal<'EIO'> | undefined>;

  /** Makes tables for a device, which is blocked then. On failure: nothing is left. */
  addDevice(device: Endpoint): Task<Refusal<'ENOMEM' | 'EIO'> | undefined>;

  /** Takes the tables of a device away that nothing is attached to. On an `EIO` they stay. */
  removeDevice(device: Endpoint): Task<Refusal<'EIO'> | undefined>;

  /** Why a domain cannot be attached to a (device, PASID) here; undefined if it can. */
  judge(device: Endpoint, pasid: Pasid, domain: Domain): Unsuited | undefined;

  /**
   * Makes the entry of a (device, PASID) present.
   *
   * On failure: `EBUSY` if there is one; `ENOSPC` if no domain id is left; `ENOMEM`; what `judge` says. The entry
   * is as it was.
   */
  attach(device: Endpoint, pasid: Pasid, domain: Domain): Task<Refusal<AttachErrno> | undefined>;

  /**
   * Takes a present entry away: when it returns, nothing that hardware caches of it is used any more, and all page
   * requests that the device sent before have reached the sink. `mute` leaves it so that the faults of what still comes
   * are not recorded: then requests may still be on their way.
   *
   * On failure: `EIO` if hardware did not confirm; the entry is not present, caches may hold it.
   */
  detach(
    device: Endpoint,
    pasid: Pasid,
    options: { readonly domain: Domain; readonly mute: boolean },
  ): Task<Refusal<'EIO'> | undefined>;

  /** Makes a muted entry an empty one. */
  unmute(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined>;

  /**
   * Makes a change of a present entry to another domain ready.
   *
   * On failure: what `judge` says; `ENOSPC`, `ENOMEM`. Nothing has changed.
   */
  prepareReplace(
    device: Endpoint,
    pasid: Pasid,
    domains: { readonly from: Domain; readonly to: Domain },
  ): Replacement | Refusal<AttachErrno>;

  /**
   * Entries of these pages have changed, tables between may have gone: returns when no cache of the unit and of its
   * devices has the old ones, in whatever domain that is built on this one.
   */
  flush(domain: Domain, ranges: readonly PageRange[]): Task<Refusal<'EIO'> | undefined>;

  /**
   * What a domain says of snooping or of dirty pages has changed: its entries say so too, and those of what is built on
   * it, when this returns. Nobody attaches or replaces anything meanwhile.
   *
   * On failure: `EIO` if hardware did not confirm; the entries say so, caches may not.
   */
  update(domain: Domain): Task<Refusal<'EIO'> | undefined>;

  /** Entries of these pages have become present: says so where a unit may have cached that there are none. */
  flushNew(domain: Domain, range: PageRange): Task<Refusal<'EIO'> | undefined>;

  /** Returns when no cache has what a guest has changed, though it may have told less than hardware needs. */
  flushGuest(device: Endpoint, flush: GuestFlush): Task<Refusal<'EIO'> | undefined>;

  /** Returns when all page requests that the device sent before have reached the sink. */
  drainPageRequests(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined>;

  /** Answers a group of page requests. */
  respond(
    request: Pick<PageRequest, 'rid' | 'pasid' | 'group'>,
    response: PageResponse,
  ): Task<Refusal<'EIO'> | undefined>;
}
