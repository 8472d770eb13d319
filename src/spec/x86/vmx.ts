/**
 * What VMX has for PASIDs: the fields of the VMCS that matter here, the exits, and the structure that a guest's
 * PASIDs are translated by (Intel SDM volume 3, 25.6, 26.5.8 and appendices B and C). A guest's PASID chooses one of
 * two directories by bit 19, an entry of it by bits 18:10, and an entry of the table that this leads to by bits 9:0.
 */
import { address, layout } from '../layout.js';

/** Encodings of VMCS fields. */
export const VMCS_FIELD = {
  EPT_POINTER: 0x201a,
  LOW_PASID_DIRECTORY: 0x2038,
  HIGH_PASID_DIRECTORY: 0x203a,
  SECONDARY_CONTROLS: 0x401e,
} as const;

/** The secondary processor-based controls that matter here, as bits. */
export const SECONDARY_CONTROL = { ENABLE_EPT: 1 << 1, PASID_TRANSLATION: 1 << 21 } as const;

/** Basic exit reasons. */
export const EXIT_REASON = {
  EPT_VIOLATION: 48,
  EPT_MISCONFIGURATION: 49,
  ENQCMD: 72,
  ENQCMDS: 73,
} as const;

const SOURCE = 'Intel SDM volume 3, 26.5.8';

/** 512 to a page. */
export const VMX_PASID_DIRECTORY_ENTRY = layout('VMX PASID directory entry', 8, SOURCE, {
  P: [0, 'present'],
  ADDR: address(51, 12, 'PASID table; bits at and above the physical address width are reserved'),
});

/** 1024 to a page. */
export const VMX_PASID_TABLE_ENTRY = layout('VMX PASID table entry', 4, SOURCE, {
  PASID: [19, 0, 'PASID that the device is sent'],
  VALID: [31, 'the translation is valid'],
});

/** How a guest's PASID is taken apart. */
export const VMX_PASID_INDEX = {
  /** The bit that chooses the high directory. */
  HIGH_SHIFT: 19,
  DIRECTORY_SHIFT: 10,
  DIRECTORY_MASK: 0x1ff,
  TABLE_MASK: 0x3ff,
} as const;
