/**
 * What an Intel DSA function is put together with (its configuration space, device TLB and page request
 * interface, which are PCIe's and no business of DSA), and who may watch it.
 */
import type {
  DeviceTlbInvalidation,
  MemoryRequest,
  PageGroupResponse,
  TranslationCompletion,
  Upstream,
} from '../pci/ports.js';

/** The function's configuration space, and what the device reads of it. */
export interface DsaConfigSpace {
  readonly rid: number;
  readConfig(offset: number, bytes: number): number;
  writeConfig(offset: number, bytes: number, value: number): void;
  /** Bus Master Enable. */
  readonly isBusMaster: boolean;
  /** PASID capability: enable, and privileged mode enable. */
  readonly hasPasid: boolean;
  readonly hasPrivilegedMode: boolean;
  /** ATS capability: enable. */
  readonly hasAts: boolean;
  /** Page request capability: enable, and not stopped. */
  readonly hasPageRequests: boolean;
  /** MSI-X capability: enabled, and the function not masked. */
  readonly hasMsix: boolean;
}

/** The function's device TLB. */
export interface DsaDeviceTlb {
  /** Answers from the cache, or by a translation request; a completion that grants nothing is not kept. */
  translate(request: MemoryRequest, out: TranslationCompletion): void;
  /** Drops what is named. The device itself sends the completion. */
  invalidate(invalidation: DeviceTlbInvalidation): void;
}

/** The function's page request interface. */
export interface DsaPageRequests {
  /** Whether a request can be sent now: an allocation and a group index are free. */
  readonly canSend: boolean;
  /**
   * Sends a page request that is alone in its group.
   *
   * @param rights of READ and WRITE, and USER for an unprivileged one
   * @returns the group's index
   */
  send(pasid: number, page: number, rights: number): number;
  /** Takes a response. @returns whether its group was outstanding; unexpected ones are only recorded */
  response(response: PageGroupResponse): boolean;
}

/** What a device is made of. */
export interface DsaParts {
  readonly config: DsaConfigSpace;
  readonly tlb: DsaDeviceTlb;
  readonly pageRequests: DsaPageRequests;
  readonly upstream: Upstream;
}

/**
 * Watches a device, for the ledger of what was submitted by whom and what came of it. Never changes anything.
 * Each descriptor that is accepted has a tag, counted from 1. Words are lent for the time of the call.
 */
export interface DsaAudit {
  /** A work queue took a descriptor: 16 words, as they arrived. */
  submitted(tag: number, wq: number, words: Int32Array): void;
  /** A portal did not take one: answered with a retry, or dropped where it was posted. */
  refused(wq: number, words: Int32Array): void;
  /** An engine is about to make a memory request for a descriptor. */
  requests(tag: number, request: MemoryRequest): void;
  /** A descriptor is done; with status 0 it was abandoned. */
  completed(tag: number, status: number): void;
}
