/**
 * What the IOMMU core asks of a driver: one for each unit, whatever its make.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { Pasid } from '../ids.js';
import type { FirstStageDomain, RidDomain } from './domain.js';

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

/** What a driver needs of the core. */
export interface IommuClient {
  /** Takes page requests, in the order in which the queue has them. */
  pageRequest(driver: IommuDriver, request: PageRequest): Task;
  /** Whose address space a (device, PASID) is, for messages; undefined if nobody's. */
  ownerOf(rid: number, pasid: number): string | undefined;
}

/** What a group of page requests is answered. */
export type PageResponse = 'success' | 'invalid request' | 'failure';

export interface IommuDriver {
  readonly name: string;
  /** Bits of its PASIDs; 0 if it has none. */
  readonly pasidBits: number;
  readonly hasDeviceTlbs: boolean;
  readonly hasPageRequests: boolean;

  /** Makes the unit ready; it translates nothing yet. On failure: `ENODEV` says what it lacks; `ENOMEM`. */
  boot(client: IommuClient): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined>;

  /** All devices are there: the unit begins to translate. */
  enable(): Task;

  /** Makes tables for a device, and what its requests without a PASID meet. On failure: nothing is left. */
  addDevice(device: Endpoint, rid: RidDomain): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined>;

  /**
   * Makes the entry of a (device, PASID) present.
   *
   * On failure: `EBUSY` if there is one; `ENOSPC` if no domain id is left; `ENOMEM`; the entry is as it was.
   */
  setFirstStage(
    device: Endpoint,
    pasid: Pasid,
    domain: FirstStageDomain,
  ): Task<Refusal<'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO'> | undefined>;

  /**
   * Takes a present entry away: when it returns, nothing that hardware caches of it is used any more. `mute`
   * leaves it so that the faults of what still comes are not recorded.
   *
   * On failure: `EIO` if hardware did not confirm; the entry is not present, caches may hold it.
   */
  clearPasid(
    device: Endpoint,
    pasid: Pasid,
    options: { readonly domain: FirstStageDomain; readonly mute: boolean },
  ): Task<Refusal<'EIO'> | undefined>;

  /** Makes a muted entry an empty one. */
  unmutePasid(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined>;

  /** Leaves of these pages have changed: returns when no cache of the unit and its devices has old ones. */
  flushRange(
    domain: FirstStageDomain,
    range: { readonly pasid: Pasid; readonly first: number; readonly last: number },
  ): Task<Refusal<'EIO'> | undefined>;

  /** Returns when all page requests that the device sent before have reached the sink. */
  drainPageRequests(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined>;

  /** Answers a group of page requests. */
  respond(
    request: Pick<PageRequest, 'rid' | 'pasid' | 'group'>,
    response: PageResponse,
  ): Task<Refusal<'EIO'> | undefined>;
}
