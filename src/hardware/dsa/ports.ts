/**
 * What an Intel DSA function is put together with (its configuration space, device TLB and page request
 * interface, which are PCIe's and no business of DSA), and who may watch it.
 */
import type { Chooser } from '../../base/index.js';
import { DSA_BAR0_BYTES, DSA_TABLE, DSA_WQ_PORTAL_BYTES } from '../../spec/index.js';
import { ConfigSpace } from '../pci/config-space.js';
import { DeviceTlb } from '../pci/device-tlb.js';
import { PageRequestInterface } from '../pci/page-request-interface.js';
import type { MemoryRequest, Upstream } from '../pci/ports.js';
import type { DsaOptions } from './options.js';

/** Where a function is plugged in. */
export interface DsaSlot {
  readonly rid: number;
  readonly upstream: Upstream;
  /** Decides what the device TLB evicts, which queue of a group is next, and the order of a batch. */
  readonly chooser: Chooser;
}

/** What a device is made of. */
export interface DsaParts {
  readonly rid: number;
  readonly upstream: Upstream;
  readonly config: ConfigSpace;
  readonly tlb: DeviceTlb;
  readonly pageRequests: PageRequestInterface;
}

const INTEL = 0x8086;
const DEVICE_ID = 0x0b25;
/** Base system peripheral, other. */
const CLASS_CODE = 0x088000;

/** The size of BAR2, a power of two. */
export const portalBytes = (wqs: number): number => 2 ** Math.ceil(Math.log2(wqs * DSA_WQ_PORTAL_BYTES));

/**
 * Makes the parts of a function.
 *
 * @param reset called when software has reset the function (FLR)
 */
export function dsaParts(
  { rid, upstream, chooser }: DsaSlot,
  options: DsaOptions,
  reset: () => void,
): DsaParts {
  const tlb = new DeviceTlb({ name: `${options.name} device TLB`, entries: options.tlbEntries, chooser });
  const config: ConfigSpace = new ConfigSpace({
    vendor: INTEL,
    device: DEVICE_ID,
    classCode: CLASS_CODE,
    bars: [DSA_BAR0_BYTES, portalBytes(options.wqs)],
    msix: { vectors: options.vectors, table: DSA_TABLE.MSIX, pending: DSA_TABLE.MSIX_PBA },
    functionReset: true,
    pasid: { width: 20, privileged: true },
    ats: { queueDepth: 32 },
    pri: { capacity: options.pageRequests },
    changed: (part) => {
      if (part === 'reset') reset();
      if (part === 'pri') pageRequests.controlChanged();
      if (part === 'ats' && !config.isAtsEnabled) tlb.clear();
    },
  });
  const pageRequests: PageRequestInterface = new PageRequestInterface({ rid, config, upstream });
  return { rid, upstream, config, tlb, pageRequests };
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
  /**
   * A memory request is about to be made for a descriptor, for bytes of this page of its address space; of tag 0 for
   * the event log.
   */
  requests(tag: number, request: MemoryRequest, page: number): void;
  /** A descriptor is done; with status 0 it was abandoned. */
  completed(tag: number, status: number): void;
}
