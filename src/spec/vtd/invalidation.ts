/**
 * The descriptors of the invalidation queue, after VT-d 4.1, 6.5.2 and 7.7. A queue has slots of 16 bytes, or
 * of 32 in a wide one (IQA.DW): descriptors of 16 bytes fill half of a wide slot and leave the rest zero,
 * those of 32 bytes fit a wide queue alone. The withdrawn page-stream response (0xA) is left out.
 *
 * The private data of page-group responses before revision 4.0 is left out: its bits are reserved here.
 */
import { type Decoded, decode } from '../codec.js';
import { address, type LayoutInfo, layout } from '../layout.js';

/** Descriptor types: bits 11:9 above bits 3:0. */
export const INVALIDATION = {
  CONTEXT_CACHE: 0x1,
  IOTLB: 0x2,
  DEVICE_TLB: 0x3,
  INTERRUPT_ENTRY_CACHE: 0x4,
  WAIT: 0x5,
  PASID_IOTLB: 0x6,
  PASID_CACHE: 0x7,
  PASID_DEVICE_TLB: 0x8,
  PAGE_GROUP_RESPONSE: 0x9,
} as const;

/** G of a context-cache invalidation, and CIRG and CAIG of CCMD. */
export const CONTEXT_GRANULARITY = { GLOBAL: 1, DOMAIN: 2, DEVICE: 3 } as const;

/** G of an IOTLB invalidation, and IIRG and IAIG of IOTLB. */
export const IOTLB_GRANULARITY = { GLOBAL: 1, DOMAIN: 2, PAGE: 3 } as const;

/** G of a PASID-based IOTLB invalidation. */
export const PASID_IOTLB_GRANULARITY = { PASID: 2, PAGE: 3 } as const;

/** G of a PASID-cache invalidation. */
export const PASID_CACHE_GRANULARITY = { DOMAIN: 0, PASID: 1, GLOBAL: 3 } as const;

/** RC of a page-group response, as in PCIe. */
export const RESPONSE_CODE = { SUCCESS: 0x0, INVALID_REQUEST: 0x1, RESPONSE_FAILURE: 0xf } as const;

/** Names of {@link CONTEXT_GRANULARITY}. */
export const CONTEXT_GRANULARITY_NAMES = { 1: 'global', 2: 'domain', 3: 'device' };
/** Names of {@link IOTLB_GRANULARITY}. */
export const IOTLB_GRANULARITY_NAMES = { 1: 'global', 2: 'domain', 3: 'page' };
const PASID_IOTLB_NAMES = { 2: 'pasid', 3: 'page' };
const PASID_CACHE_NAMES = { 0: 'domain', 1: 'pasid', 3: 'global' };
const RESPONSE_NAMES = { 0: 'success', 1: 'invalid request', 15: 'response failure' };

const TYPE = {
  TYPE: [3, 0, 'descriptor type, bits 3:0'],
  TYPE_HIGH: [11, 9, 'descriptor type, bits 6:4: zero in every type there is'],
} as const;

export const CONTEXT_CACHE_INVALIDATION = layout('Context-cache invalidate', 16, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  G: [5, 4, 'granularity', CONTEXT_GRANULARITY_NAMES],
  DID: [31, 16, 'domain'],
  SID: [47, 32, 'requester'],
  FM: [49, 48, 'function mask: so many low bits of the function number are ignored'],
});

export const IOTLB_INVALIDATION = layout('IOTLB invalidate', 16, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  G: [5, 4, 'granularity', IOTLB_GRANULARITY_NAMES],
  DW: [6, 'drain writes'],
  DR: [7, 'drain reads'],
  DID: [31, 16, 'domain'],
  AM: [69, 64, 'address mask: 2^AM pages'],
  IH: [70, 'invalidation hint: no entry above a leaf has changed'],
  ADDR: address(127, 76, 'first page'),
});

export const DEVICE_TLB_INVALIDATION = layout('Device-TLB invalidate', 16, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  PFSID_LOW: [15, 12, 'physical function, bits 3:0'],
  MIP: [20, 16, 'maximum invalidations pending'],
  SID: [47, 32, 'device'],
  PFSID_HIGH: [63, 52, 'physical function, bits 15:4'],
  S: [64, 'the size is coded in ADDR: its lowest zero bit n gives 2^(n + 1) pages'],
  ADDR: address(127, 76, 'first page, with the size'),
});

export const INTERRUPT_ENTRY_CACHE_INVALIDATION = layout(
  'Interrupt entry cache invalidate',
  16,
  'VT-d 4.1, 6.5.2',
  {
    ...TYPE,
    G: [4, 'granularity', { 0: 'global', 1: 'index' }],
    IM: [31, 27, 'index mask: 2^IM entries'],
    IIDX: [47, 32, 'first index'],
  },
);

export const INVALIDATION_WAIT = layout('Invalidation wait', 16, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  IF: [4, 'interrupt flag: sets ICS.IWC'],
  SW: [5, 'status write: STATUS_DATA goes to STATUS_ADDR'],
  FN: [6, 'fence: what follows starts after this is done'],
  PD: [7, 'page-request drain; needs ECAP.PDS'],
  STATUS_DATA: [63, 32, 'what is written'],
  STATUS_ADDR: address(127, 66, 'where: a doubleword'),
});

export const PASID_IOTLB_INVALIDATION = layout('PASID-based IOTLB invalidate', 32, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  G: [5, 4, 'granularity', PASID_IOTLB_NAMES],
  DID: [31, 16, 'domain'],
  PASID: [51, 32, 'PASID'],
  AM: [69, 64, 'address mask: 2^AM pages'],
  IH: [70, 'invalidation hint: no entry above a leaf has changed'],
  ADDR: address(127, 76, 'first page'),
});

export const PASID_CACHE_INVALIDATION = layout('PASID-cache invalidate', 32, 'VT-d 4.1, 6.5.2', {
  ...TYPE,
  G: [5, 4, 'granularity', PASID_CACHE_NAMES],
  DID: [31, 16, 'domain'],
  PASID: [51, 32, 'PASID'],
});

export const PASID_DEVICE_TLB_INVALIDATION = layout(
  'PASID-based device-TLB invalidate',
  32,
  'VT-d 4.1, 6.5.2',
  {
    ...TYPE,
    MIP: [8, 4, 'maximum invalidations pending'],
    PFSID_LOW: [15, 12, 'physical function, bits 3:0'],
    SID: [31, 16, 'device'],
    PASID: [51, 32, 'PASID'],
    PFSID_HIGH: [63, 52, 'physical function, bits 15:4'],
    G: [64, 'global: the entries of all PASIDs'],
    S: [75, 'the size is coded in ADDR: its lowest zero bit n gives 2^(n + 1) pages'],
    ADDR: address(127, 76, 'first page, with the size'),
  },
);

export const PAGE_GROUP_RESPONSE = layout('Page group response', 32, 'VT-d 4.1, 7.7', {
  ...TYPE,
  PP: [4, 'PASID present'],
  RC: [15, 12, 'response code', RESPONSE_NAMES],
  RID: [31, 16, 'requester'],
  PASID: [51, 32, 'PASID, if present'],
  LPIG: [66, 'last page in group'],
  PRGI: [75, 67, 'page request group index'],
});

/** The descriptors by their type; undefined where there is none. */
export const INVALIDATION_DESCRIPTORS: readonly (LayoutInfo | undefined)[] = [
  undefined,
  CONTEXT_CACHE_INVALIDATION,
  IOTLB_INVALIDATION,
  DEVICE_TLB_INVALIDATION,
  INTERRUPT_ENTRY_CACHE_INVALIDATION,
  INVALIDATION_WAIT,
  PASID_IOTLB_INVALIDATION,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PAGE_GROUP_RESPONSE,
];

const { TYPE: TYPE_LOW, TYPE_HIGH } = CONTEXT_CACHE_INVALIDATION;

/** The type of the descriptor at `words[at]`, all seven bits of it. */
export function invalidationType(words: Int32Array, at: number): number {
  return TYPE_HIGH.get(words, at) * 16 + TYPE_LOW.get(words, at);
}

/**
 * Takes the descriptor in the slot at `words[at]` apart.
 *
 * @param wide whether the queue has slots of 32 bytes (IQA.DW)
 * @returns its fields, and as reserved bits also those of the slot that a short descriptor leaves empty;
 *   nothing for a type that there is not, or not in a narrow queue
 */
export function decodeInvalidation(words: Int32Array, at: number, wide: boolean): Decoded | undefined {
  const of = INVALIDATION_DESCRIPTORS[invalidationType(words, at)];
  if (of === undefined || (of.bytes === 32 && !wide)) return undefined;
  const decoded = decode(of, words, at);
  if (!wide || of.bytes === 32) return decoded;
  const rest: number[] = [];
  for (let bit = 128; bit < 256; bit++) {
    if (((words[at + (bit >> 5)] ?? 0) & (1 << (bit % 32))) !== 0) rest.push(bit);
  }
  return { ...decoded, reserved: [...decoded.reserved, ...rest] };
}
