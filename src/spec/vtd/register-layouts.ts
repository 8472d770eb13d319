/**
 * The fields of VT-d's registers, after VT-d 4.1, chapter 11. Which of them software may write, their offsets
 * and reset values stand in `registers.ts`.
 */
import { address, layout } from '../layout.js';
import { CONTEXT_GRANULARITY_NAMES, IOTLB_GRANULARITY_NAMES } from './invalidation.js';

const SOURCE = 'VT-d 4.1, chapter 11';

export const VER_REG = layout('Version register', 4, SOURCE, {
  MIN: [3, 0, 'minor version'],
  MAX: [7, 4, 'major version'],
});

export const CAP_REG = layout('Capability register', 8, SOURCE, {
  ND: [2, 0, 'there are 2^(4 + 2 ND) domains'],
  AFL: [3, 'advanced fault logging'],
  RWBF: [4, 'write-buffer flush required'],
  PLMR: [5, 'protected low memory'],
  PHMR: [6, 'protected high memory'],
  CM: [7, 'caching mode: entries that are not present or erroneous may be cached'],
  SAGAW: [12, 8, 'second-stage widths: bit 1 is 39-bit, bit 2 48-bit, bit 3 57-bit'],
  MGAW: [21, 16, 'largest width of input addresses, less 1'],
  ZLR: [22, 'zero-length reads of write-only pages'],
  FRO: [33, 24, 'offset of FRCD in units of 16 bytes'],
  SSLPS: [37, 34, 'second-stage large pages: bit 0 is 2 MiB, bit 1 is 1 GiB'],
  PSI: [39, 'page-selective invalidation'],
  NFR: [47, 40, 'number of fault recording registers, less 1'],
  MAMV: [53, 48, 'largest address mask'],
  DWD: [54, 'write draining'],
  DRD: [55, 'read draining'],
  FS1GP: [56, 'first-stage 1 GiB pages'],
  PI: [59, 'posted interrupts'],
  FS5LP: [60, 'first-stage 5-level paging'],
  ECMDS: [61, 'enhanced commands'],
  ESIRTPS: [62, 'SIRTP invalidates the interrupt entry cache'],
  ESRTPS: [63, 'SRTP invalidates all translation caches'],
});

export const ECAP_REG = layout('Extended capability register', 8, SOURCE, {
  C: [0, 'page-walk coherency'],
  QI: [1, 'queued invalidation'],
  DT: [2, 'device TLB'],
  IR: [3, 'interrupt remapping'],
  EIM: [4, 'extended interrupt mode'],
  PT: [6, 'pass-through'],
  SC: [7, 'snoop control'],
  IRO: [17, 8, 'offset of IVA in units of 16 bytes'],
  MHMV: [23, 20, 'largest interrupt handle mask'],
  MTS: [25, 'memory types'],
  NEST: [26, 'nested translation'],
  PRS: [29, 'page requests'],
  ERS: [30, 'execute requests'],
  SRS: [31, 'supervisor requests'],
  NWFS: [33, 'no-write flag of translation requests'],
  EAFS: [34, 'extended accessed flag'],
  PSS: [39, 35, 'bits of a PASID, less 1'],
  PASID: [40, 'requests with PASID'],
  DIT: [41, 'device-TLB invalidation throttle'],
  PDS: [42, 'page-request drain'],
  SMTS: [43, 'scalable mode'],
  VCS: [44, 'virtual commands'],
  SSADS: [45, 'second-stage accessed and dirty'],
  SSTS: [46, 'second stage in scalable mode'],
  FSTS: [47, 'first stage in scalable mode'],
  SMPWCS: [48, 'scalable-mode page-walk coherency'],
  RPS: [49, 'RID_PASID'],
  PMS: [51, 'performance monitoring'],
  ADMS: [52, 'abort-DMA mode'],
  RPRIVS: [53, 'RID_PRIV'],
  SMS: [58, 'stop marker messages'],
});

export const GCMD_REG = layout('Global command register', 4, SOURCE, {
  CFI: [23, 'compatibility-format interrupts'],
  SIRTP: [24, 'set interrupt remapping table pointer; once'],
  IRE: [25, 'interrupt remapping enable'],
  QIE: [26, 'queued invalidation enable'],
  WBF: [27, 'write-buffer flush; once'],
  EAFL: [28, 'enable advanced fault logging'],
  SFL: [29, 'set fault log; once'],
  SRTP: [30, 'set root table pointer; once'],
  TE: [31, 'translation enable'],
});

export const GSTS_REG = layout('Global status register', 4, SOURCE, {
  CFIS: [23, 'compatibility-format interrupts are allowed'],
  IRTPS: [24, 'interrupt remapping table pointer is set'],
  IRES: [25, 'interrupt remapping is enabled'],
  QIES: [26, 'queued invalidation is enabled'],
  WBFS: [27, 'write-buffer flush is in progress'],
  AFLS: [28, 'advanced fault logging is enabled'],
  FLS: [29, 'fault log is set'],
  RTPS: [30, 'root table pointer is set'],
  TES: [31, 'translation is enabled'],
});

export const RTADDR_REG = layout('Root table address register', 8, SOURCE, {
  TTM: [11, 10, 'translation table mode', { 0: 'legacy', 1: 'scalable', 3: 'abort-DMA' }],
  RTA: address(63, 12, 'root table'),
});

export const CCMD_REG = layout('Context command register', 8, SOURCE, {
  DID: [15, 0, 'domain'],
  SID: [31, 16, 'requester'],
  FM: [33, 32, 'function mask'],
  CAIG: [60, 59, 'granularity of what was invalidated', CONTEXT_GRANULARITY_NAMES],
  CIRG: [62, 61, 'granularity requested', CONTEXT_GRANULARITY_NAMES],
  ICC: [63, 'invalidate context cache; hardware clears it when done'],
});

export const IVA_REG = layout('Invalidate address register', 8, SOURCE, {
  AM: [5, 0, 'address mask: 2^AM pages'],
  IH: [6, 'invalidation hint: no entry above a leaf has changed'],
  ADDR: address(63, 12, 'first page'),
});

export const IOTLB_REG = layout('IOTLB invalidate register', 8, SOURCE, {
  DID: [47, 32, 'domain'],
  DW: [48, 'drain writes'],
  DR: [49, 'drain reads'],
  IAIG: [58, 57, 'granularity of what was invalidated', IOTLB_GRANULARITY_NAMES],
  IIRG: [61, 60, 'granularity requested', IOTLB_GRANULARITY_NAMES],
  IVT: [63, 'invalidate IOTLB; hardware clears it when done'],
});

export const FSTS_REG = layout('Fault status register', 4, SOURCE, {
  PFO: [0, 'primary fault overflow'],
  PPF: [1, 'primary pending fault: a fault recording register has F set'],
  AFO: [2, 'advanced fault overflow'],
  APF: [3, 'advanced pending fault'],
  IQE: [4, 'invalidation queue error'],
  ICE: [5, 'invalidation completion error'],
  ITE: [6, 'invalidation time-out error'],
  FRI: [15, 8, 'fault record index: the first with F set'],
});

/** FECTL, IECTL, PECTL and PERFINTRCTL. */
export const EVENT_CONTROL_REG = layout('Event control register', 4, SOURCE, {
  IP: [30, 'interrupt pending'],
  IM: [31, 'interrupt mask'],
});

/** FEDATA, IEDATA, PEDATA and PERFINTRDATA. */
export const EVENT_DATA_REG = layout('Event data register', 4, SOURCE, {
  IMD: [15, 0, 'interrupt message data'],
});

/** FEADDR, IEADDR, PEADDR and PERFINTRADDR. */
export const EVENT_ADDRESS_REG = layout('Event address register', 4, SOURCE, {
  MA: address(31, 2, 'message address'),
});

/** FEUADDR, IEUADDR, PEUADDR and PERFINTRUADDR. */
export const EVENT_UPPER_ADDRESS_REG = layout('Event upper address register', 4, SOURCE, {
  MUA: [31, 0, 'message upper address'],
});

export const AFLOG_REG = layout('Advanced fault log register', 8, SOURCE, {
  FLS: [11, 9, 'fault log size: 2^FLS pages'],
  FLA: address(63, 12, 'fault log'),
});

export const PMEN_REG = layout('Protected memory enable register', 4, SOURCE, {
  PRS: [0, 'protected region status'],
  EPM: [31, 'enable protected memory'],
});

/** PLMBASE and PLMLIMIT. How many low bits are fixed is up to the implementation. */
export const PROTECTED_LOW_REG = layout('Protected low-memory base or limit register', 4, SOURCE, {
  ADDR: [31, 0, 'address'],
});

/** PHMBASE and PHMLIMIT. How many low bits are fixed is up to the implementation. */
export const PROTECTED_HIGH_REG = layout('Protected high-memory base or limit register', 8, SOURCE, {
  ADDR: [63, 0, 'address'],
});

export const IQH_REG = layout('Invalidation queue head register', 8, SOURCE, {
  QH: address(18, 4, 'offset of the descriptor fetched next'),
});

export const IQT_REG = layout('Invalidation queue tail register', 8, SOURCE, {
  QT: address(18, 4, 'offset of the descriptor written next; bit 4 is zero in a wide queue'),
});

export const IQA_REG = layout('Invalidation queue address register', 8, SOURCE, {
  QS: [2, 0, 'queue size: 2^QS pages'],
  DW: [11, 'descriptor width', { 0: '128-bit', 1: '256-bit' }],
  IQA: address(63, 12, 'queue'),
});

export const ICS_REG = layout('Invalidation completion status register', 4, SOURCE, {
  IWC: [0, 'an invalidation wait descriptor with IF is complete'],
});

/** IQEI of {@link IQER_REG}. */
export const IQEI = {
  NOT_AVAILABLE: 0,
  TAIL_BEYOND_QUEUE: 1,
  FETCH_FAILED: 2,
  DESCRIPTOR_TYPE: 3,
  RESERVED_BITS: 4,
  DESCRIPTOR_WIDTH: 5,
  TAIL_MISALIGNED: 6,
  TABLE_MODE: 7,
} as const;

const IQEI_NAMES = {
  0: 'not available',
  1: 'tail beyond queue',
  2: 'fetch failed',
  3: 'descriptor type',
  4: 'reserved bits',
  5: 'descriptor width',
  6: 'tail misaligned',
  7: 'table mode',
};

export const IQER_REG = layout('Invalidation queue error record register', 8, SOURCE, {
  IQEI: [3, 0, 'invalidation queue error information', IQEI_NAMES],
  ITESID: [47, 32, 'the device whose invalidation timed out'],
  ICESID: [63, 48, 'the device whose completion was wrong'],
});

export const IRTA_REG = layout('Interrupt remapping table address register', 8, SOURCE, {
  S: [3, 0, 'size: 2^(S + 1) entries'],
  EIME: [11, 'extended interrupt mode enable'],
  IRTA: address(63, 12, 'interrupt remapping table'),
});

export const PQH_REG = layout('Page request queue head register', 8, SOURCE, {
  PQH: address(18, 5, 'offset of the request that software reads next'),
});

export const PQT_REG = layout('Page request queue tail register', 8, SOURCE, {
  PQT: address(18, 5, 'offset of the request that hardware writes next'),
});

export const PQA_REG = layout('Page request queue address register', 8, SOURCE, {
  PQS: [2, 0, 'queue size: 2^PQS pages'],
  PQA: address(63, 12, 'queue'),
});

export const PRS_REG = layout('Page request status register', 4, SOURCE, {
  PPR: [0, 'pending page request'],
  PRO: [1, 'page request overflow'],
});
