/**
 * Fault reasons and the fault record, after VT-d 4.1, 7.1.3 (conditions) and chapter 11 (FRCD). Codes below
 * 0x20 are legacy mode's, 0x20 to 0x2f interrupt remapping's, those from 0x30 scalable mode's. Left out are
 * 0x29, 0x88 and 0x89 (SGN.9 and SGN.10), whose conditions no source at hand describes.
 */
import { address, layout } from '../layout.js';

/** What FR of a fault record holds. */
export const FAULT = {
  ROOT_NOT_PRESENT: 0x01,
  CONTEXT_NOT_PRESENT: 0x02,
  CONTEXT_INVALID: 0x03,
  ADDRESS_BEYOND_WIDTH: 0x04,
  WRITE_DENIED: 0x05,
  READ_DENIED: 0x06,
  PAGING_ENTRY_ACCESS: 0x07,
  ROOT_ACCESS: 0x08,
  CONTEXT_ACCESS: 0x09,
  ROOT_RESERVED: 0x0a,
  CONTEXT_RESERVED: 0x0b,
  PAGING_ENTRY_RESERVED: 0x0c,
  TRANSLATION_TYPE_BLOCKS: 0x0d,
  INTERRUPT_ADDRESS: 0x0e,
  INTERRUPT_REQUEST_RESERVED: 0x20,
  INTERRUPT_INDEX: 0x21,
  IRTE_NOT_PRESENT: 0x22,
  IRTE_ACCESS: 0x23,
  IRTE_RESERVED: 0x24,
  COMPATIBILITY_INTERRUPT_BLOCKED: 0x25,
  IRTE_SOURCE: 0x26,
  POSTED_DESCRIPTOR_ACCESS: 0x27,
  POSTED_DESCRIPTOR_RESERVED: 0x28,
  ROOT_TABLE_ADDRESS_INVALID: 0x30,
  PASID_IN_LEGACY_MODE: 0x31,
  PAGE_REQUEST_IN_LEGACY_MODE: 0x32,
  ABORT_DMA_MODE: 0x33,
  SM_ROOT_ACCESS: 0x38,
  SM_ROOT_NOT_PRESENT: 0x39,
  SM_ROOT_RESERVED: 0x3a,
  SM_CONTEXT_ACCESS: 0x40,
  SM_CONTEXT_NOT_PRESENT: 0x41,
  SM_CONTEXT_RESERVED: 0x42,
  SM_CONTEXT_INVALID: 0x43,
  DTE_CLEAR: 0x44,
  PASIDE_CLEAR: 0x45,
  PASID_BEYOND_DIRECTORY: 0x46,
  PRE_CLEAR: 0x47,
  RID_PASID_BEYOND_DIRECTORY: 0x48,
  PASID_DIRECTORY_ACCESS: 0x50,
  PASID_DIRECTORY_NOT_PRESENT: 0x51,
  PASID_DIRECTORY_RESERVED: 0x52,
  PASID_TABLE_ACCESS: 0x58,
  PASID_NOT_PRESENT: 0x59,
  PASID_RESERVED: 0x5a,
  PASID_INVALID: 0x5b,
  ERE_CLEAR: 0x5c,
  SRE_CLEAR: 0x5d,
  FIRST_STAGE_ACCESS: 0x70,
  FIRST_STAGE_NOT_PRESENT: 0x71,
  FIRST_STAGE_RESERVED: 0x72,
  FIRST_STAGE_ROOT_ACCESS: 0x73,
  NESTED_ADDRESS_BEYOND_WIDTH: 0x74,
  NESTED_ROOT_READ_DENIED: 0x75,
  NESTED_READ_DENIED: 0x76,
  NESTED_WRITE_DENIED: 0x77,
  SECOND_STAGE_ACCESS: 0x78,
  SECOND_STAGE_DENIED: 0x79,
  SECOND_STAGE_RESERVED: 0x7a,
  SECOND_STAGE_ROOT_ACCESS: 0x7b,
  SECOND_STAGE_AD_NO_SNOOP: 0x7c,
  SECOND_STAGE_AD_FAILED: 0x7d,
  NOT_CANONICAL: 0x80,
  USER_DENIED: 0x81,
  EXECUTE_DENIED: 0x82,
  SM_ADDRESS_BEYOND_WIDTH: 0x83,
  SECOND_STAGE_ADDRESS_BEYOND_WIDTH: 0x84,
  SM_WRITE_DENIED: 0x85,
  SM_READ_DENIED: 0x86,
  SM_INTERRUPT_ADDRESS: 0x87,
  FIRST_STAGE_AD_NO_SNOOP: 0x90,
  FIRST_STAGE_AD_FAILED: 0x91,
} as const;

/** What is known of a fault reason. */
export interface FaultReason {
  /** The condition as the specification abbreviates it: `SPT.2`. */
  readonly name: string;
  readonly text: string;
  /** Whether FPD in the entries on the way keeps it from being recorded. */
  readonly qualified: boolean;
}

const qualified = (name: string, text: string): FaultReason => ({ name, text, qualified: true });
const unqualified = (name: string, text: string): FaultReason => ({ name, text, qualified: false });

/** The fault reasons by their codes. */
export const FAULT_REASONS: Readonly<Record<number, FaultReason>> = {
  [FAULT.ROOT_NOT_PRESENT]: unqualified('LRT.2', 'root entry not present'),
  [FAULT.CONTEXT_NOT_PRESENT]: qualified('LCT.2', 'context entry not present'),
  [FAULT.CONTEXT_INVALID]: qualified(
    'LCT.4',
    'context entry invalid: its TT or AW is reserved or not supported',
  ),
  [FAULT.ADDRESS_BEYOND_WIDTH]: qualified('LGN.1', "address beyond the domain's or the hardware's width"),
  [FAULT.WRITE_DENIED]: qualified('LGN.2', 'no write permission'),
  [FAULT.READ_DENIED]: qualified('LGN.3', 'no read permission'),
  [FAULT.PAGING_ENTRY_ACCESS]: qualified('LSS.1', 'access to a second-stage paging entry failed'),
  [FAULT.ROOT_ACCESS]: unqualified('LRT.1', 'access to the root entry failed'),
  [FAULT.CONTEXT_ACCESS]: unqualified('LCT.1', 'access to the context entry failed'),
  [FAULT.ROOT_RESERVED]: unqualified('LRT.3', 'reserved bits set in a root entry'),
  [FAULT.CONTEXT_RESERVED]: qualified('LCT.3', 'reserved bits set in a context entry'),
  [FAULT.PAGING_ENTRY_RESERVED]: qualified('LSS.2', 'reserved bits set in a second-stage paging entry'),
  [FAULT.TRANSLATION_TYPE_BLOCKS]: qualified('LCT.5', 'translation or translated request blocked by TT'),
  [FAULT.INTERRUPT_ADDRESS]: qualified('LGN.4', 'translation gives an interrupt address'),
  [FAULT.INTERRUPT_REQUEST_RESERVED]: unqualified(
    'IR.1',
    'reserved bits set in a remappable interrupt request',
  ),
  [FAULT.INTERRUPT_INDEX]: unqualified('IR.2', 'interrupt index beyond the table'),
  [FAULT.IRTE_NOT_PRESENT]: qualified('IR.3', 'interrupt remapping entry not present'),
  [FAULT.IRTE_ACCESS]: unqualified('IR.4', 'access to the interrupt remapping entry failed'),
  [FAULT.IRTE_RESERVED]: qualified('IR.5', 'reserved bits set in an interrupt remapping entry'),
  [FAULT.COMPATIBILITY_INTERRUPT_BLOCKED]: unqualified(
    'IR.6',
    'compatibility-format interrupt request blocked',
  ),
  [FAULT.IRTE_SOURCE]: qualified('IR.7', 'requester does not match the interrupt remapping entry'),
  [FAULT.POSTED_DESCRIPTOR_ACCESS]: qualified('IR.8', 'access to the posted interrupt descriptor failed'),
  [FAULT.POSTED_DESCRIPTOR_RESERVED]: qualified('IR.9', 'reserved bits set in a posted interrupt descriptor'),
  [FAULT.ROOT_TABLE_ADDRESS_INVALID]: unqualified('RTA.1', 'root table address register invalid'),
  [FAULT.PASID_IN_LEGACY_MODE]: unqualified('RTA.2', 'request with PASID in legacy mode'),
  [FAULT.PAGE_REQUEST_IN_LEGACY_MODE]: unqualified('RTA.3', 'page request in legacy mode'),
  [FAULT.ABORT_DMA_MODE]: unqualified('RTA.4', 'request in abort-DMA mode'),
  [FAULT.SM_ROOT_ACCESS]: unqualified('SRT.1', 'access to the scalable-mode root entry failed'),
  [FAULT.SM_ROOT_NOT_PRESENT]: unqualified('SRT.2', 'scalable-mode root entry not present'),
  [FAULT.SM_ROOT_RESERVED]: unqualified('SRT.3', 'reserved bits set in a scalable-mode root entry'),
  [FAULT.SM_CONTEXT_ACCESS]: unqualified('SCT.1', 'access to the scalable-mode context entry failed'),
  [FAULT.SM_CONTEXT_NOT_PRESENT]: qualified('SCT.2', 'scalable-mode context entry not present'),
  [FAULT.SM_CONTEXT_RESERVED]: qualified('SCT.3', 'reserved bits set in a scalable-mode context entry'),
  [FAULT.SM_CONTEXT_INVALID]: qualified('SCT.4', 'scalable-mode context entry invalid'),
  [FAULT.DTE_CLEAR]: qualified('SCT.5', 'translation or translated request with DTE clear'),
  [FAULT.PASIDE_CLEAR]: qualified('SCT.6', 'request with PASID with PASIDE clear'),
  [FAULT.PASID_BEYOND_DIRECTORY]: qualified('SCT.7', 'PASID beyond the PASID directory'),
  [FAULT.PRE_CLEAR]: qualified('SCT.8', 'page request with PRE clear'),
  [FAULT.RID_PASID_BEYOND_DIRECTORY]: qualified(
    'SCT.9',
    'RID_PASID beyond the PASID directory, or not usable',
  ),
  [FAULT.PASID_DIRECTORY_ACCESS]: unqualified('SPD.1', 'access to the PASID directory entry failed'),
  [FAULT.PASID_DIRECTORY_NOT_PRESENT]: qualified('SPD.2', 'PASID directory entry not present'),
  [FAULT.PASID_DIRECTORY_RESERVED]: qualified('SPD.3', 'reserved bits set in a PASID directory entry'),
  [FAULT.PASID_TABLE_ACCESS]: unqualified('SPT.1', 'access to the PASID table entry failed'),
  [FAULT.PASID_NOT_PRESENT]: qualified('SPT.2', 'PASID table entry not present'),
  [FAULT.PASID_RESERVED]: qualified('SPT.3', 'reserved bits set in a PASID table entry'),
  [FAULT.PASID_INVALID]: qualified(
    'SPT.4',
    'PASID table entry invalid: its PGTT, AW or FSPM is reserved or not supported',
  ),
  [FAULT.ERE_CLEAR]: qualified('SPT.5', 'execute request with ERE clear'),
  [FAULT.SRE_CLEAR]: qualified('SPT.6', 'privileged request with SRE clear'),
  [FAULT.FIRST_STAGE_ACCESS]: qualified('SFS.1', 'access to a first-stage paging entry failed'),
  [FAULT.FIRST_STAGE_NOT_PRESENT]: qualified('SFS.2', 'first-stage paging entry not present'),
  [FAULT.FIRST_STAGE_RESERVED]: qualified('SFS.3', 'reserved bits set in a first-stage paging entry'),
  [FAULT.FIRST_STAGE_ROOT_ACCESS]: qualified('SFS.4', 'access to the first-stage root entry failed'),
  [FAULT.NESTED_ADDRESS_BEYOND_WIDTH]: qualified(
    'SFS.5',
    "nested: first-stage entry's address beyond the second stage's width",
  ),
  [FAULT.NESTED_ROOT_READ_DENIED]: qualified(
    'SFS.6',
    'nested: second stage denies reading the first-stage root entry',
  ),
  [FAULT.NESTED_READ_DENIED]: qualified('SFS.7', 'nested: second stage denies reading a first-stage entry'),
  [FAULT.NESTED_WRITE_DENIED]: qualified(
    'SFS.8',
    'nested: second stage denies writing accessed or dirty to a first-stage entry',
  ),
  [FAULT.SECOND_STAGE_ACCESS]: qualified('SSS.1', 'access to a second-stage paging entry failed'),
  [FAULT.SECOND_STAGE_DENIED]: qualified('SSS.2', 'second stage denies the access'),
  [FAULT.SECOND_STAGE_RESERVED]: qualified('SSS.3', 'reserved bits set in a second-stage paging entry'),
  [FAULT.SECOND_STAGE_ROOT_ACCESS]: qualified('SSS.4', 'access to the second-stage root entry failed'),
  [FAULT.SECOND_STAGE_AD_NO_SNOOP]: qualified(
    'SSS.5',
    'second-stage accessed or dirty update without page-walk snoop',
  ),
  [FAULT.SECOND_STAGE_AD_FAILED]: qualified('SSS.6', 'second-stage accessed or dirty update failed'),
  [FAULT.NOT_CANONICAL]: qualified('SGN.1', 'first-stage address not canonical'),
  [FAULT.USER_DENIED]: qualified('SGN.2', 'user access to a supervisor page'),
  [FAULT.EXECUTE_DENIED]: qualified('SGN.3', 'no execute permission'),
  [FAULT.SM_ADDRESS_BEYOND_WIDTH]: qualified('SGN.4', "address beyond the hardware's width"),
  [FAULT.SECOND_STAGE_ADDRESS_BEYOND_WIDTH]: qualified(
    'SGN.5',
    "second-stage address beyond the entry's width",
  ),
  [FAULT.SM_WRITE_DENIED]: qualified('SGN.6', 'no write permission'),
  [FAULT.SM_READ_DENIED]: qualified('SGN.7', 'no read permission'),
  [FAULT.SM_INTERRUPT_ADDRESS]: qualified('SGN.8', 'address in the interrupt range'),
  [FAULT.FIRST_STAGE_AD_NO_SNOOP]: qualified(
    'SFS.9',
    'first-stage accessed or dirty update without page-walk snoop',
  ),
  [FAULT.FIRST_STAGE_AD_FAILED]: qualified('SFS.10', 'first-stage accessed or dirty update failed'),
};

/** AT of a fault record: the address type of the request, as in PCIe. */
export const ADDRESS_TYPE = { UNTRANSLATED: 0, TRANSLATION_REQUEST: 1, TRANSLATED: 2 } as const;

/** T1 and T2 of a fault record, T1 first: what was asked. */
export const FAULT_TYPE = { WRITE: 0b00, PAGE_REQUEST: 0b01, READ: 0b10, ATOMIC: 0b11 } as const;

const ADDRESS_TYPES = { 0: 'untranslated', 1: 'translation request', 2: 'translated' };

const reasonNames = (): Record<number, string> => {
  const names: Record<number, string> = {};
  for (const [code, { name, text }] of Object.entries(FAULT_REASONS))
    names[Number(code)] = `${name} (${text})`;
  return names;
};

/** One fault recording register, FRCD. */
export const FAULT_RECORD = layout('Fault recording register', 16, 'VT-d 4.1, chapter 11', {
  FI: address(63, 12, 'faulting page; of an interrupt request, its index at 63:48'),
  SID: [79, 64, 'requester'],
  T2: [92, 'request type, bit 0'],
  PRIV: [93, 'privileged request, if PP'],
  EXE: [94, 'execute request, if PP'],
  PP: [95, 'PASID present'],
  FR: [103, 96, 'fault reason', reasonNames()],
  PASID: [123, 104, 'PASID, if PP'],
  AT: [125, 124, 'address type', ADDRESS_TYPES],
  T1: [126, 'request type, bit 1: with T2, 0 write, 1 page request, 2 read, 3 atomic'],
  F: [127, 'fault recorded; write 1 to clear'],
});
