/**
 * The tables that lead from a requester to its address space, after VT-d 4.1, 9.1 to 9.6: root, context and,
 * in scalable mode, PASID directory and PASID table. Pointers have all their bits up to 63 here; those at and
 * above the host address width are reserved (`reservedWith`).
 */
import { address, ignored, layout } from '../layout.js';

/** TTM of the root-table address register: which tables it points to. */
export const TTM = { LEGACY: 0, SCALABLE: 1, ABORT_DMA: 3 } as const;

/** TT of a legacy context entry. */
export const TT = { SECOND_STAGE: 0, SECOND_STAGE_DEVICE_TLB: 1, PASS_THROUGH: 2 } as const;

/** PGTT of a PASID-table entry. */
export const PGTT = { FIRST_STAGE: 1, SECOND_STAGE: 2, NESTED: 3, PASS_THROUGH: 4 } as const;

/** AW of a context or PASID-table entry. */
export const AW = { BITS_39: 1, BITS_48: 2, BITS_57: 3 } as const;

/** Levels of a second-stage table by AW; zero where AW is reserved. */
export const AW_LEVELS: readonly number[] = [0, 3, 4, 5, 0, 0, 0, 0];

/** Bits of a second-stage input address by AW; zero where AW is reserved. */
export const AW_BITS: readonly number[] = [0, 39, 48, 57, 0, 0, 0, 0];

/** FSPM of a PASID-table entry. */
export const FSPM = { LEVELS_4: 0, LEVELS_5: 1 } as const;

const AW_NAMES = { 1: '39-bit', 2: '48-bit', 3: '57-bit' };

/** Legacy mode: one for each bus, 256 to the table. */
export const ROOT_ENTRY = layout('Root entry', 16, 'VT-d 4.1, 9.1', {
  P: [0, 'present'],
  CTP: address(63, 12, 'context table'),
});

/** Scalable mode: one for each bus; the lower table serves devfn 0x00 to 0x7f, the upper one the rest. */
export const SCALABLE_ROOT_ENTRY = layout('Scalable-mode root entry', 16, 'VT-d 4.1, 9.2', {
  LP: [0, 'lower table present'],
  LCTP: address(63, 12, 'lower scalable-mode context table'),
  UP: [64, 'upper table present'],
  UCTP: address(127, 76, 'upper scalable-mode context table'),
});

/** Legacy mode: one for each devfn, 256 to the table. */
export const CONTEXT_ENTRY = layout('Context entry', 16, 'VT-d 4.1, 9.3', {
  P: [0, 'present'],
  FPD: [1, 'fault processing disable: qualified faults are not recorded'],
  TT: [3, 2, 'translation type', { 0: 'second-stage', 1: 'second-stage+device-TLB', 2: 'pass-through' }],
  SSPTPTR: address(63, 12, 'second-stage root'),
  AW: [66, 64, 'address width', AW_NAMES],
  AVAIL: ignored(70, 67, 'available to software'),
  DID: [87, 72, 'domain'],
});

/** Scalable mode: one for each devfn, 128 to the table. */
export const SCALABLE_CONTEXT_ENTRY = layout('Scalable-mode context entry', 32, 'VT-d 4.1, 9.4', {
  P: [0, 'present'],
  FPD: [1, 'fault processing disable: qualified faults are not recorded'],
  DTE: [2, 'device-TLB enable: translation and translated requests allowed; needs ECAP.DT'],
  PASIDE: [3, 'PASID enable: requests with PASID allowed; needs ECAP.PASID'],
  PRE: [4, 'page request enable; needs ECAP.PRS'],
  PDTS: [11, 9, 'PASID directory size: it serves PASIDs below 2^(PDTS + 13)'],
  PASIDDIRPTR: address(63, 12, 'PASID directory'),
  RID_PASID: [83, 64, 'the PASID of requests without one; needs ECAP.RPS'],
  RID_PRIV: [84, 'requests without a PASID are privileged; needs ECAP.RPRIVS'],
});

/** One for each 64 PASIDs: PASID bits 19:6 are the index. */
export const PASID_DIRECTORY_ENTRY = layout('Scalable-mode PASID directory entry', 8, 'VT-d 4.1, 9.5', {
  P: [0, 'present'],
  FPD: [1, 'fault processing disable: qualified faults are not recorded'],
  SMPTBLPTR: address(63, 12, 'PASID table of 64 entries'),
});

/** One for each PASID: its bits 5:0 are the index. */
export const PASID_TABLE_ENTRY = layout('Scalable-mode PASID table entry', 64, 'VT-d 4.1, 9.6', {
  P: [0, 'present'],
  FPD: [1, 'fault processing disable: qualified faults are not recorded'],
  AW: [4, 2, 'address width of the second stage', AW_NAMES],
  PGTT: [
    8,
    6,
    'PASID granular translation type',
    { 1: 'first-stage', 2: 'second-stage', 3: 'nested', 4: 'pass-through' },
  ],
  SSADE: [9, 'second-stage accessed and dirty enable; needs ECAP.SSADS'],
  SSPTPTR: address(63, 12, 'second-stage root'),
  DID: [79, 64, 'domain'],
  PWSNP: [87, 'page-walk snoop; needs ECAP.SMPWCS'],
  PGSNP: [88, 'page snoop; needs ECAP.SC'],
  CD: [89, 'cache disable; needs ECAP.MTS'],
  EMTE: [90, 'extended memory type enable; needs ECAP.MTS'],
  EMT: [93, 91, 'extended memory type; needs ECAP.MTS, reserved since 4.0'],
  PAT: [127, 96, 'page attribute table: eight types of 4 bits; needs ECAP.MTS'],
  SRE: [128, 'supervisor request enable; needs ECAP.SRS'],
  ERE: [129, 'execute request enable; needs ECAP.ERS, reserved since 4.1'],
  FSPM: [131, 130, 'first-stage paging mode', { 0: '4-level', 1: '5-level' }],
  WPE: [132, 'write protect enable: supervisor writes obey RW'],
  IGN_134_133: ignored(134, 133, 'ignored; NXE and SMEP of older revisions'),
  EAFE: [135, 'extended accessed flag enable; needs ECAP.EAFS'],
  FSPTPTR: address(191, 140, 'first-stage root; a guest-physical address when nested'),
});
