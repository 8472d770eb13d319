/**
 * VT-d's registers: where they are, what they hold after reset, and what software may write. After VT-d 4.1,
 * chapter 11. Registers that a machine does not implement, by its CAP and ECAP, are not there: they read zero
 * and ignore writes.
 */
import type { LayoutInfo } from '../layout.js';
import { type Register, type RegisterOptions, register } from '../registers.js';
import { FAULT_RECORD } from './faults.js';
import {
  ECCAP_REG,
  ECEO_REG,
  ECMD_REG,
  ECRSP_REG,
  MTRR_FIX_REG,
  MTRR_PHYSBASE_REG,
  MTRR_PHYSMASK_REG,
  MTRRCAP_REG,
  MTRRDEF_REG,
  PERF_OFFSET_REG,
  PERFCAP_REG,
  PERFEVNTCAP_REG,
  PERFINTRSTS_REG,
  VCCAP_REG,
  VCMD_EO_REG,
  VCMD_REG,
  VCMD_REG_3_2,
  VCRSP_REG,
  VCRSP_REG_3_2,
} from './optional-register-layouts.js';
import {
  AFLOG_REG,
  CAP_REG,
  CCMD_REG,
  ECAP_REG,
  EVENT_ADDRESS_REG,
  EVENT_CONTROL_REG,
  EVENT_DATA_REG,
  EVENT_UPPER_ADDRESS_REG,
  FSTS_REG,
  GCMD_REG,
  GSTS_REG,
  ICS_REG,
  IOTLB_REG,
  IQA_REG,
  IQER_REG,
  IQH_REG,
  IQT_REG,
  IRTA_REG,
  IVA_REG,
  PMEN_REG,
  PQA_REG,
  PQH_REG,
  PQT_REG,
  PROTECTED_HIGH_REG,
  PROTECTED_LOW_REG,
  PRS_REG,
  RTADDR_REG,
  VER_REG,
} from './register-layouts.js';

const at = (name: string, offset: number, layout: LayoutInfo, options: RegisterOptions = {}): Register =>
  register(name, { offset, layout, ...options });

const readOnly = (name: string, offset: number, layout: LayoutInfo): Register =>
  at(name, offset, layout, { readOnly: 'all' });

/** The four registers of an event's interrupt: control, data, address, upper address. */
const event = (offset: number, control: string, prefix: string) => ({
  control: at(control, offset, EVENT_CONTROL_REG, {
    reset: 0x8000_0000n,
    readOnly: [EVENT_CONTROL_REG.IP],
  }),
  data: at(`${prefix}DATA`, offset + 4, EVENT_DATA_REG),
  address: at(`${prefix}ADDR`, offset + 8, EVENT_ADDRESS_REG),
  upper: at(`${prefix}UADDR`, offset + 12, EVENT_UPPER_ADDRESS_REG),
});

const fault = event(0x038, 'FECTL', 'FE');
const invalidation = event(0x0a0, 'IECTL', 'IE');
const pageRequest = event(0x0e0, 'PECTL', 'PE');
const performance = event(0x328, 'PERFINTRCTL', 'PERFINTR');

/** The registers whose place is fixed. */
export const VTD_REGISTER = {
  VER: at('VER', 0x000, VER_REG, { readOnly: 'all', reset: 0x40n }),
  CAP: readOnly('CAP', 0x008, CAP_REG),
  ECAP: readOnly('ECAP', 0x010, ECAP_REG),
  GCMD: at('GCMD', 0x018, GCMD_REG, { writeOnly: 'all' }),
  GSTS: readOnly('GSTS', 0x01c, GSTS_REG),
  RTADDR: at('RTADDR', 0x020, RTADDR_REG),
  CCMD: at('CCMD', 0x028, CCMD_REG, { readOnly: [CCMD_REG.CAIG], writeOnly: [CCMD_REG.SID, CCMD_REG.FM] }),
  FSTS: at('FSTS', 0x034, FSTS_REG, {
    readOnly: [FSTS_REG.PPF, FSTS_REG.FRI],
    writeOneToClear: [FSTS_REG.PFO, FSTS_REG.AFO, FSTS_REG.APF, FSTS_REG.IQE, FSTS_REG.ICE, FSTS_REG.ITE],
  }),
  FECTL: fault.control,
  FEDATA: fault.data,
  FEADDR: fault.address,
  FEUADDR: fault.upper,
  AFLOG: at('AFLOG', 0x058, AFLOG_REG),
  PMEN: at('PMEN', 0x064, PMEN_REG, { readOnly: [PMEN_REG.PRS] }),
  PLMBASE: at('PLMBASE', 0x068, PROTECTED_LOW_REG),
  PLMLIMIT: at('PLMLIMIT', 0x06c, PROTECTED_LOW_REG),
  PHMBASE: at('PHMBASE', 0x070, PROTECTED_HIGH_REG),
  PHMLIMIT: at('PHMLIMIT', 0x078, PROTECTED_HIGH_REG),
  IQH: readOnly('IQH', 0x080, IQH_REG),
  IQT: at('IQT', 0x088, IQT_REG),
  IQA: at('IQA', 0x090, IQA_REG),
  ICS: at('ICS', 0x09c, ICS_REG, { writeOneToClear: [ICS_REG.IWC] }),
  IECTL: invalidation.control,
  IEDATA: invalidation.data,
  IEADDR: invalidation.address,
  IEUADDR: invalidation.upper,
  IQER: readOnly('IQER', 0x0b0, IQER_REG),
  IRTA: at('IRTA', 0x0b8, IRTA_REG),
  PQH: at('PQH', 0x0c0, PQH_REG),
  PQT: at('PQT', 0x0c8, PQT_REG),
  PQA: at('PQA', 0x0d0, PQA_REG),
  PRS: at('PRS', 0x0dc, PRS_REG, { writeOneToClear: [PRS_REG.PPR, PRS_REG.PRO] }),
  PECTL: pageRequest.control,
  PEDATA: pageRequest.data,
  PEADDR: pageRequest.address,
  PEUADDR: pageRequest.upper,
  MTRRCAP: readOnly('MTRRCAP', 0x100, MTRRCAP_REG),
  MTRRDEF: at('MTRRDEF', 0x108, MTRRDEF_REG),
  PERFCAP: readOnly('PERFCAP', 0x300, PERFCAP_REG),
  PERFCFGOFF: readOnly('PERFCFGOFF', 0x310, PERF_OFFSET_REG),
  PERFFRZOFF: readOnly('PERFFRZOFF', 0x314, PERF_OFFSET_REG),
  PERFOVFOFF: readOnly('PERFOVFOFF', 0x318, PERF_OFFSET_REG),
  PERFCNTROFF: readOnly('PERFCNTROFF', 0x31c, PERF_OFFSET_REG),
  PERFINTRSTS: at('PERFINTRSTS', 0x324, PERFINTRSTS_REG, { writeOneToClear: [PERFINTRSTS_REG.PIS] }),
  PERFINTRCTL: performance.control,
  PERFINTRDATA: performance.data,
  PERFINTRADDR: performance.address,
  PERFINTRUADDR: performance.upper,
  PERFEVNTCAP: readOnly('PERFEVNTCAP', 0x380, PERFEVNTCAP_REG),
  ECMD: at('ECMD', 0x400, ECMD_REG),
  ECEO: at('ECEO', 0x408, ECEO_REG),
  ECRSP: readOnly('ECRSP', 0x410, ECRSP_REG),
  VCMD: at('VCMD', 0xe00, VCMD_REG),
  VCMD_EO: at('VCMD_EO', 0xe08, VCMD_EO_REG),
  VCRSP: readOnly('VCRSP', 0xe10, VCRSP_REG),
  VCCAP: readOnly('VCCAP', 0xe30, VCCAP_REG),
} as const;

/** The virtual command registers as they were before revision 3.3, in the place of today's. */
export const VIRTUAL_COMMAND_REGISTER_3_2 = {
  VCCAP: readOnly('VCCAP', 0xe00, VCCAP_REG),
  VCMD: at('VCMD', 0xe10, VCMD_REG_3_2),
  VCRSP: readOnly('VCRSP', 0xe20, VCRSP_REG_3_2),
} as const;

/** The eleven fixed-range MTRRs, from 0x120. */
export const MTRR_FIX: readonly Register[] = [
  ...['64K_00000', '16K_80000', '16K_A0000'],
  ...['C0000', 'C8000', 'D0000', 'D8000', 'E0000', 'E8000', 'F0000', 'F8000'].map((base) => `4K_${base}`),
].map((range, i) => at(`MTRR_FIX${range}`, 0x120 + i * 8, MTRR_FIX_REG));

/** The ten variable-range MTRRs, base and mask in turn, from 0x180. */
export const MTRR_PHYS: readonly Register[] = Array.from({ length: 20 }, (_, i) =>
  i % 2 === 0
    ? at(`MTRR_PHYSBASE${i >> 1}`, 0x180 + i * 8, MTRR_PHYSBASE_REG)
    : at(`MTRR_PHYSMASK${i >> 1}`, 0x180 + i * 8, MTRR_PHYSMASK_REG),
);

/** The four words of enhanced command capabilities, from 0x430. */
export const ECCAP: readonly Register[] = [0, 1, 2, 3].map((i) =>
  readOnly(`ECCAP${i}`, 0x430 + i * 8, ECCAP_REG),
);

/** IVA and IOTLB, whose place is ECAP.IRO. */
export const iotlbRegisters = (iro: number): { readonly IVA: Register; readonly IOTLB: Register } => ({
  IVA: at('IVA', iro * 16, IVA_REG, { writeOnly: 'all' }),
  IOTLB: at('IOTLB', iro * 16 + 8, IOTLB_REG, { readOnly: [IOTLB_REG.IAIG] }),
});

/** The fault recording registers, whose place is CAP.FRO. */
export const faultRegisters = (fro: number, count: number): readonly Register[] =>
  Array.from({ length: count }, (_, i) =>
    at(`FRCD${i}`, (fro + i) * 16, FAULT_RECORD, {
      readOnly: FAULT_RECORD.fields.filter((field) => field !== FAULT_RECORD.F),
      writeOneToClear: [FAULT_RECORD.F],
    }),
  );
