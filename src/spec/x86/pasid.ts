/**
 * What x86 has of PASIDs: IA32_PASID (MSR D93H, part of XSAVE's supervisor state component 10) and the first
 * doubleword of a command that ENQCMD or ENQCMDS sends (Intel SDM, volume 4 and ENQCMD, ENQCMDS in volume 2).
 */
import { layout } from '../layout.js';

/** The MSR's number. */
export const IA32_PASID_MSR = 0xd93;
/** The state component that XSAVES saves the MSR in. */
export const XSTATE_PASID = 10;

export const IA32_PASID = layout('IA32_PASID', 8, 'SDM volume 4, 2.1', {
  PASID: [19, 0, 'PASID of the process'],
  VALID: [31, 'ENQCMD may be used'],
});

export const ENQCMD_HEAD = layout('ENQCMD command, first doubleword', 4, 'SDM volume 2, ENQCMD', {
  PASID: [19, 0, 'PASID'],
  PRIV: [31, 'supervisor'],
});
