/**
 * The configuration space of a function: the header of type 0, and the capabilities that address spaces, their
 * translation and interrupts need. After PCI Express 6.0, 7.5.1 (header), 7.5.3 (PCI Express, of which the reset),
 * 7.7.2 (MSI-X), 7.7.11 (ACS), 7.8.8 (PASID), 10.5.1 (ATS) and 10.5.2 (PRI). Error reporting, power management and link
 * registers are left out.
 *
 * Fields hold what the specification prints; offsets of tables and capabilities are in bytes unless a field's
 * meaning says otherwise.
 */
import { address, layout } from '../layout.js';

/** Bytes of a function's configuration space; the part below 256 is PCI's own. */
export const CONFIGURATION_BYTES = 4096;

/** Where the list of extended capabilities begins. */
export const EXTENDED_CAPABILITIES = 0x100;

/** Capability IDs, of the list that CAP_PTR leads to. */
export const CAPABILITY = { MSI: 0x05, EXPRESS: 0x10, MSI_X: 0x11 } as const;

/** Extended capability IDs. */
export const EXTENDED_CAPABILITY = { ACS: 0x0d, ATS: 0x0f, PRI: 0x13, PASID: 0x1b } as const;

const STATUS = 16;

export const TYPE_0_HEADER = layout('Type 0 configuration header', 64, 'PCIe 6.0, 7.5.1', {
  VENDOR: [15, 0, 'vendor ID'],
  DEVICE: [31, 16, 'device ID'],
  IO: [32, 'I/O space enable'],
  MEMORY: [33, 'memory space enable: the BARs answer'],
  BUS_MASTER: [34, 'bus master enable: the function may send requests'],
  PARITY: [38, 'parity error response'],
  SERR: [40, 'SERR# enable'],
  INTX_DISABLE: [42, 'INTx disable'],
  INTX_STATUS: [32 + STATUS + 3, 'INTx pending'],
  CAP_LIST: [32 + STATUS + 4, 'there is a capability list'],
  MASTER_PARITY: [32 + STATUS + 8, 'master data parity error'],
  SIGNALED_TARGET_ABORT: [32 + STATUS + 11, 'signaled target abort'],
  RECEIVED_TARGET_ABORT: [32 + STATUS + 12, 'received a completion with completer abort'],
  RECEIVED_MASTER_ABORT: [32 + STATUS + 13, 'received a completion with unsupported request'],
  SIGNALED_ERROR: [32 + STATUS + 14, 'signaled system error'],
  PARITY_ERROR: [32 + STATUS + 15, 'detected parity error'],
  REVISION: [71, 64, 'revision ID'],
  CLASS: [95, 72, 'class code: base class, subclass, programming interface'],
  CACHE_LINE: [103, 96, 'cache line size; of no effect'],
  TYPE: [118, 112, 'header type: 0'],
  MULTI_FUNCTION: [119, 'the device has several functions'],
  BAR0: [159, 128, 'base address 0'],
  BAR1: [191, 160, 'base address 1'],
  BAR2: [223, 192, 'base address 2'],
  BAR3: [255, 224, 'base address 3'],
  BAR4: [287, 256, 'base address 4'],
  BAR5: [319, 288, 'base address 5'],
  SUBSYSTEM_VENDOR: [367, 352, 'subsystem vendor ID'],
  SUBSYSTEM: [383, 368, 'subsystem ID'],
  CAP_PTR: [423, 416, 'offset of the first capability'],
  INT_LINE: [487, 480, 'interrupt line: for software'],
  INT_PIN: [495, 488, 'interrupt pin: 0 for none'],
});

/** One base address register. */
export const BASE_ADDRESS_REG = layout('Base address register', 4, 'PCIe 6.0, 7.5.1.2.1', {
  IO: [0, 'I/O space'],
  TYPE: [2, 1, 'width of the address', { 0: '32-bit', 2: '64-bit: the next register holds the upper half' }],
  PREFETCHABLE: [3, 'prefetchable'],
  BASE: address(31, 4, 'base address, bits 31:4'),
});

export const EXPRESS_CAPABILITY = layout('PCI Express capability', 12, 'PCIe 6.0, 7.5.3', {
  ID: [7, 0, 'capability ID', { 16: 'PCI Express' }],
  NEXT: [15, 8, 'offset of the next capability, 0 for none'],
  VERSION: [19, 16, 'capability version'],
  TYPE: [23, 20, 'device or port type', { 0: 'endpoint', 9: 'root complex integrated endpoint' }],
  FLR: [60, 'the function can be reset by itself'],
  INITIATE_FLR: [79, 'written 1, resets the function; reads 0'],
  PENDING: [85, 'requests have no completion yet'],
});

export const MSI_X_CAPABILITY = layout('MSI-X capability', 12, 'PCIe 6.0, 7.7.2', {
  ID: [7, 0, 'capability ID', { 17: 'MSI-X' }],
  NEXT: [15, 8, 'offset of the next capability, 0 for none'],
  TABLE_SIZE: [26, 16, 'vectors, less 1'],
  MASK_ALL: [30, 'function mask: all vectors are masked'],
  ENABLE: [31, 'MSI-X enable'],
  TABLE_BIR: [34, 32, 'the BAR that the table lies in'],
  TABLE: address(63, 35, 'offset of the table in it'),
  PBA_BIR: [66, 64, 'the BAR that the pending bits lie in'],
  PBA: address(95, 67, 'offset of the pending bits in it'),
});

export const MSI_X_TABLE_ENTRY = layout('MSI-X table entry', 16, 'PCIe 6.0, 7.7.2.5', {
  ADDRESS: address(31, 2, 'message address'),
  UPPER: [63, 32, 'message upper address'],
  DATA: [95, 64, 'message data'],
  MASK: [96, 'masked: no message is sent'],
});

const HEADER = {
  ID: [15, 0, 'extended capability ID', { 13: 'ACS', 15: 'ATS', 19: 'PRI', 27: 'PASID' }],
  VERSION: [19, 16, 'capability version'],
  NEXT: [31, 20, 'offset of the next capability, 0 for none'],
} as const;

export const EXTENDED_CAPABILITY_HEADER = layout('Extended capability header', 4, 'PCIe 6.0, 7.6.3', HEADER);

export const ATS_CAPABILITY = layout('ATS extended capability', 8, 'PCIe 6.0, 10.5.1', {
  ...HEADER,
  QUEUE_DEPTH: [36, 32, 'invalidations that it takes at once; 0 is 32'],
  PAGE_ALIGNED: [37, 'untranslated addresses are always page-aligned'],
  GLOBAL_INVALIDATE: [38, 'invalidations may name all PASIDs'],
  RELAXED_ORDERING: [39, 'translation requests may be relaxed'],
  STU: [52, 48, 'smallest translation unit: 2^STU pages of 4 KiB'],
  ENABLE: [63, 'the function may cache translations'],
});

export const PRI_CAPABILITY = layout('PRI extended capability', 16, 'PCIe 6.0, 10.5.2', {
  ...HEADER,
  ENABLE: [32, 'the function may request pages'],
  RESET: [33, 'written 1 while disabled, forgets pending requests'],
  RESPONSE_FAILURE: [48, 'a response said "failure"'],
  UNEXPECTED_GROUP: [49, 'a response named a group that was not outstanding'],
  STOPPED: [56, 'all earlier requests are complete'],
  PASID_REQUIRED: [63, 'group responses carry the PASID'],
  CAPACITY: [95, 64, 'how many page requests can be outstanding at most'],
  ALLOCATION: [127, 96, 'how many software allows'],
});

export const PASID_CAPABILITY = layout('PASID extended capability', 8, 'PCIe 6.0, 7.8.8', {
  ...HEADER,
  EXECUTE_SUPPORTED: [33, 'requests may ask for execution'],
  PRIVILEGED_SUPPORTED: [34, 'requests may be privileged'],
  WIDTH: [44, 40, 'bits of a PASID, 0 to 20'],
  ENABLE: [48, 'requests may carry a PASID'],
  EXECUTE_ENABLE: [49, 'requests may ask for execution'],
  PRIVILEGED_ENABLE: [50, 'requests may be privileged'],
});

export const ACS_CAPABILITY = layout('ACS extended capability', 8, 'PCIe 6.0, 7.7.11', {
  ...HEADER,
  VALIDATION_SUPPORTED: [32, 'source validation'],
  BLOCKING_SUPPORTED: [33, 'translation blocking'],
  REQUEST_REDIRECT_SUPPORTED: [34, 'peer-to-peer request redirect'],
  COMPLETION_REDIRECT_SUPPORTED: [35, 'peer-to-peer completion redirect'],
  FORWARDING_SUPPORTED: [36, 'upstream forwarding'],
  EGRESS_SUPPORTED: [37, 'peer-to-peer egress control'],
  DIRECT_SUPPORTED: [38, 'direct translated peer-to-peer'],
  EGRESS_SIZE: [47, 40, 'bits of the egress control vector'],
  VALIDATION: [48, 'source validation enable'],
  BLOCKING: [49, 'translation blocking enable'],
  REQUEST_REDIRECT: [50, 'peer-to-peer request redirect enable'],
  COMPLETION_REDIRECT: [51, 'peer-to-peer completion redirect enable'],
  FORWARDING: [52, 'upstream forwarding enable'],
  EGRESS: [53, 'peer-to-peer egress control enable'],
  DIRECT: [54, 'direct translated peer-to-peer enable'],
});
