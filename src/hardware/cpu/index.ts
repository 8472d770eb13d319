/** One x86 CPU. */
export { Cpu, type CpuOptions, emptyXsaveArea, PASID_COMPONENT, type XsaveArea } from './cpu.js';
export { type EnqcmdResult, enqcmd, enqcmds, movdir64b, type Submission } from './enqcmd.js';
export { type CpuFault, GENERAL_PROTECTION, GP_FAULT, LATER, PAGE_FAULT, PF } from './mmu.js';
export {
  type PasidDirectories,
  type PasidTranslationEntry,
  pasidTranslationEntry,
  translatePasid,
} from './pasid-translation.js';
export type { PostedWrites } from './posted-writes.js';
export { type CpuExit, type CpuExitAction, type CpuExitHandler, Vmcs } from './vmcs.js';
