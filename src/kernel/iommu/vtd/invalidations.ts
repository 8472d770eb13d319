/**
 * The invalidation descriptors that the driver sends, and how ranges of pages are coded in them (VT-d 4.1, 6.5.2;
 * PCIe 6.0, 10.3.1).
 */
import {
  CONTEXT_CACHE_INVALIDATION,
  CONTEXT_GRANULARITY,
  DEVICE_TLB_INVALIDATION,
  INVALIDATION,
  IOTLB_GRANULARITY,
  IOTLB_INVALIDATION,
  PAGE_GROUP_RESPONSE,
  PASID_CACHE_GRANULARITY,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_GRANULARITY,
  PASID_IOTLB_INVALIDATION,
} from '../../../spec/index.js';
import { structure } from '../../words.js';
import type { Endpoint } from '../driver.js';

const iotlb = IOTLB_INVALIDATION;
const deviceTlb = DEVICE_TLB_INVALIDATION;
const pasidCache = PASID_CACHE_INVALIDATION;
const pasidIotlb = PASID_IOTLB_INVALIDATION;
const pasidDeviceTlb = PASID_DEVICE_TLB_INVALIDATION;

/** What a range is rounded up to: 2^order pages, aligned. */
export interface Block {
  readonly page: number;
  readonly order: number;
}

/** Pages of the whole address space: 2^52. */
const ALL_ORDER = 52;
const EVERYTHING: Block = { page: 0, order: ALL_ORDER };

/** The smallest block that covers the pages `first` to `last`. */
export function blockOf(first: number, last: number): Block {
  let order = 0;
  while (Math.floor(first / 2 ** order) !== Math.floor(last / 2 ** order)) order++;
  return { page: first - (first % 2 ** order), order };
}

export const flushContexts = (): Int32Array =>
  structure(CONTEXT_CACHE_INVALIDATION, { TYPE: INVALIDATION.CONTEXT_CACHE, G: CONTEXT_GRANULARITY.GLOBAL });

export const flushContext = (rid: number, did: number): Int32Array =>
  structure(CONTEXT_CACHE_INVALIDATION, {
    TYPE: INVALIDATION.CONTEXT_CACHE,
    G: CONTEXT_GRANULARITY.DEVICE,
    DID: did,
    SID: rid,
  });

export const flushPasids = (): Int32Array =>
  structure(PASID_CACHE_INVALIDATION, { TYPE: INVALIDATION.PASID_CACHE, G: PASID_CACHE_GRANULARITY.GLOBAL });

export function flushPasid(did: number, pasid: number): Int32Array {
  const words = new Int32Array(PASID_CACHE_INVALIDATION.bytes / 4);
  pasidCache.TYPE.set(words, 0, INVALIDATION.PASID_CACHE);
  pasidCache.G.set(words, 0, PASID_CACHE_GRANULARITY.PASID);
  pasidCache.DID.set(words, 0, did);
  pasidCache.PASID.set(words, 0, pasid);
  return words;
}

export const flushIotlb = (): Int32Array =>
  structure(IOTLB_INVALIDATION, { TYPE: INVALIDATION.IOTLB, G: IOTLB_GRANULARITY.GLOBAL, DW: 1, DR: 1 });

/** Of a domain: all that a second stage has a part in; in legacy mode, all there is. */
export function flushDomain(did: number): Int32Array {
  const words = new Int32Array(IOTLB_INVALIDATION.bytes / 4);
  iotlb.TYPE.set(words, 0, INVALIDATION.IOTLB);
  iotlb.G.set(words, 0, IOTLB_GRANULARITY.DOMAIN);
  iotlb.DW.set(words, 0, 1);
  iotlb.DR.set(words, 0, 1);
  iotlb.DID.set(words, 0, did);
  return words;
}

/** Of a domain: second-stage translations of a block, and all nested ones. */
export const flushDomainPages = (did: number, { page, order }: Block): Int32Array =>
  structure(IOTLB_INVALIDATION, {
    TYPE: INVALIDATION.IOTLB,
    G: IOTLB_GRANULARITY.PAGE,
    DW: 1,
    DR: 1,
    DID: did,
    AM: order,
    ADDR: page,
  });

export function flushPasidIotlb(did: number, pasid: number): Int32Array {
  const words = new Int32Array(PASID_IOTLB_INVALIDATION.bytes / 4);
  pasidIotlb.TYPE.set(words, 0, INVALIDATION.PASID_IOTLB);
  pasidIotlb.G.set(words, 0, PASID_IOTLB_GRANULARITY.PASID);
  pasidIotlb.DID.set(words, 0, did);
  pasidIotlb.PASID.set(words, 0, pasid);
  return words;
}

export const flushPages = (of: { did: number; pasid: number }, { page, order }: Block): Int32Array =>
  structure(PASID_IOTLB_INVALIDATION, {
    TYPE: INVALIDATION.PASID_IOTLB,
    G: PASID_IOTLB_GRANULARITY.PAGE,
    DID: of.did,
    PASID: of.pasid,
    AM: order,
    ADDR: page,
  });

/** Of one device: a block, or all there is of the PASID; PASID 0 stands for what it asked without one. */
export function flushDeviceTlb(device: Endpoint, pasid: number, block: Block = EVERYTHING): Int32Array {
  const { page, order } = block;
  // The lowest zero bit n of the page's number says 2^(n + 1) pages.
  const size = order === 0 ? 0 : 2 ** (order - 1) - 1;
  if (pasid === 0) {
    const words = new Int32Array(DEVICE_TLB_INVALIDATION.bytes / 4);
    deviceTlb.TYPE.set(words, 0, INVALIDATION.DEVICE_TLB);
    setFunction(deviceTlb, words, device);
    deviceTlb.S.set(words, 0, order === 0 ? 0 : 1);
    deviceTlb.ADDR.set(words, 0, page + size);
    return words;
  }
  const words = new Int32Array(PASID_DEVICE_TLB_INVALIDATION.bytes / 4);
  pasidDeviceTlb.TYPE.set(words, 0, INVALIDATION.PASID_DEVICE_TLB);
  setFunction(pasidDeviceTlb, words, device);
  pasidDeviceTlb.S.set(words, 0, order === 0 ? 0 : 1);
  pasidDeviceTlb.ADDR.set(words, 0, page + size);
  pasidDeviceTlb.PASID.set(words, 0, pasid);
  return words;
}

/** The fields that say which function is meant, and what it can take. */
function setFunction(
  of: Pick<typeof deviceTlb | typeof pasidDeviceTlb, 'MIP' | 'PFSID_LOW' | 'PFSID_HIGH' | 'SID'>,
  words: Int32Array,
  { rid, throttledBy, invalidationDepth }: Endpoint,
): void {
  of.MIP.set(words, 0, invalidationDepth);
  of.PFSID_LOW.set(words, 0, throttledBy & 0xf);
  of.PFSID_HIGH.set(words, 0, throttledBy >> 4);
  of.SID.set(words, 0, rid);
}

export const groupResponse = (of: {
  readonly rid: number;
  readonly pasid: number | undefined;
  readonly group: number;
  readonly code: number;
}): Int32Array =>
  structure(PAGE_GROUP_RESPONSE, {
    TYPE: INVALIDATION.PAGE_GROUP_RESPONSE,
    PP: of.pasid === undefined ? 0 : 1,
    RC: of.code,
    RID: of.rid,
    PASID: of.pasid ?? 0,
    LPIG: 1,
    PRGI: of.group,
  });
