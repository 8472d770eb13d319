/**
 * The fields of VT-d's registers against the masks of VirtualBox (`iommu-intel.h`), Linux (`iommu.h`, also for
 * performance monitoring and enhanced commands) and QEMU; the examples are what a Linux 7.2 guest's unit held.
 */
import { describe } from 'vitest';
import { type Golden, testGolden } from '../../../test/golden.js';
import * as optional from './optional-register-layouts.js';
import * as registers from './register-layouts.js';

const FRAME = 0xfffffffffffff000n;
const ALL = 0xffffffffffffffffn;

const REGISTERS: readonly Golden[] = [
  {
    layout: registers.VER_REG,
    masks: { MIN: [0, 0xfn], MAX: [0, 0xf0n] },
    examples: [{ quads: [0x10n], fields: { MAX: 1 } }],
  },
  {
    layout: registers.CAP_REG,
    masks: {
      ND: [0, 0x7n],
      AFL: [0, 0x8n],
      RWBF: [0, 0x10n],
      PLMR: [0, 0x20n],
      PHMR: [0, 0x40n],
      CM: [0, 0x80n],
      SAGAW: [0, 0x1f00n],
      MGAW: [0, 0x3f0000n],
      ZLR: [0, 0x400000n],
      FRO: [0, 0x3ff000000n],
      SSLPS: [0, 0x3c00000000n],
      PSI: [0, 0x8000000000n],
      NFR: [0, 0xff0000000000n],
      MAMV: [0, 0x3f000000000000n],
      DWD: [0, 0x40000000000000n],
      DRD: [0, 0x80000000000000n],
      FS1GP: [0, 0x100000000000000n],
      PI: [0, 0x800000000000000n],
      FS5LP: [0, 0x1000000000000000n],
      ECMDS: [0, 0x2000000000000000n],
      ESIRTPS: [0, 0x4000000000000000n],
      ESRTPS: [0, 0x8000000000000000n],
    },
    examples: [
      {
        quads: [0x81d2008c222f0606n],
        fields: {
          ...{ ND: 6, SAGAW: 6, MGAW: 47, FRO: 0x22, SSLPS: 3, PSI: 1, MAMV: 18, DWD: 1, DRD: 1 },
          ...{ FS1GP: 1, ESRTPS: 1 },
        },
      },
    ],
  },
  {
    layout: registers.ECAP_REG,
    masks: {
      C: [0, 0x1n],
      QI: [0, 0x2n],
      DT: [0, 0x4n],
      IR: [0, 0x8n],
      EIM: [0, 0x10n],
      PT: [0, 0x40n],
      SC: [0, 0x80n],
      IRO: [0, 0x3ff00n],
      MHMV: [0, 0xf00000n],
      MTS: [0, 0x2000000n],
      NEST: [0, 0x4000000n],
      PRS: [0, 0x20000000n],
      ERS: [0, 0x40000000n],
      SRS: [0, 0x80000000n],
      NWFS: [0, 0x200000000n],
      EAFS: [0, 0x400000000n],
      PSS: [0, 0xf800000000n],
      PASID: [0, 0x10000000000n],
      DIT: [0, 0x20000000000n],
      PDS: [0, 0x40000000000n],
      SMTS: [0, 0x80000000000n],
      VCS: [0, 0x100000000000n],
      SSADS: [0, 0x200000000000n],
      SSTS: [0, 0x400000000000n],
      FSTS: [0, 0x800000000000n],
      SMPWCS: [0, 0x1000000000000n],
      RPS: [0, 0x2000000000000n],
      PMS: [0, 0x8000000000000n],
      ADMS: [0, 0x10000000000000n],
      RPRIVS: [0, 0x20000000000000n],
      SMS: [0, 0x400000000000000n],
    },
    examples: [
      {
        quads: [0x8d9a20f00f4en],
        fields: {
          ...{ QI: 1, DT: 1, IR: 1, PT: 1, IRO: 0xf, MHMV: 15, PRS: 1, NWFS: 1, PSS: 19, PASID: 1 },
          ...{ PDS: 1, SMTS: 1, FSTS: 1 },
        },
      },
      {
        quads: [0x480080f00f4an],
        fields: { QI: 1, IR: 1, PT: 1, IRO: 0xf, MHMV: 15, SRS: 1, SMTS: 1, SSTS: 1 },
      },
    ],
  },
  {
    layout: registers.GCMD_REG,
    masks: {
      CFI: [0, 0x800000n],
      SIRTP: [0, 0x1000000n],
      IRE: [0, 0x2000000n],
      QIE: [0, 0x4000000n],
      WBF: [0, 0x8000000n],
      EAFL: [0, 0x10000000n],
      SFL: [0, 0x20000000n],
      SRTP: [0, 0x40000000n],
      TE: [0, 0x80000000n],
    },
  },
  {
    layout: registers.GSTS_REG,
    masks: {
      CFIS: [0, 0x800000n],
      IRTPS: [0, 0x1000000n],
      IRES: [0, 0x2000000n],
      QIES: [0, 0x4000000n],
      WBFS: [0, 0x8000000n],
      AFLS: [0, 0x10000000n],
      FLS: [0, 0x20000000n],
      RTPS: [0, 0x40000000n],
      TES: [0, 0x80000000n],
    },
    examples: [{ quads: [0xc7000000n], fields: { IRTPS: 1, IRES: 1, QIES: 1, RTPS: 1, TES: 1 } }],
  },
  {
    layout: registers.RTADDR_REG,
    masks: { TTM: [0, 0xc00n], RTA: [0, FRAME] },
    examples: [{ quads: [0x607c400n], fields: { TTM: 1, RTA: 0x607c } }],
  },
  {
    layout: registers.CCMD_REG,
    masks: {
      DID: [0, 0xffffn],
      SID: [0, 0xffff0000n],
      FM: [0, 0x300000000n],
      CAIG: [0, 0x1800000000000000n],
      CIRG: [0, 0x6000000000000000n],
      ICC: [0, 0x8000000000000000n],
    },
    examples: [{ quads: [0xa000000000000000n], fields: { CIRG: 1, ICC: 1 } }],
  },
  {
    layout: registers.IVA_REG,
    masks: { AM: [0, 0x3fn], IH: [0, 0x40n], ADDR: [0, FRAME] },
  },
  {
    layout: registers.IOTLB_REG,
    masks: {
      DID: [0, 0xffff00000000n],
      DW: [0, 0x1000000000000n],
      DR: [0, 0x2000000000000n],
      IAIG: [0, 0x600000000000000n],
      IIRG: [0, 0x3000000000000000n],
      IVT: [0, 0x8000000000000000n],
    },
    examples: [{ quads: [0x9003000000000000n], fields: { DW: 1, DR: 1, IIRG: 1, IVT: 1 } }],
  },
  {
    layout: registers.FSTS_REG,
    masks: {
      PFO: [0, 0x1n],
      PPF: [0, 0x2n],
      AFO: [0, 0x4n],
      APF: [0, 0x8n],
      IQE: [0, 0x10n],
      ICE: [0, 0x20n],
      ITE: [0, 0x40n],
      FRI: [0, 0xff00n],
    },
  },
  { layout: registers.EVENT_CONTROL_REG, masks: { IP: [0, 0x40000000n], IM: [0, 0x80000000n] } },
  { layout: registers.EVENT_DATA_REG, masks: { IMD: [0, 0xffffn] } },
  { layout: registers.EVENT_ADDRESS_REG, masks: { MA: [0, 0xfffffffcn] } },
  { layout: registers.EVENT_UPPER_ADDRESS_REG, masks: { MUA: [0, 0xffffffffn] } },
  { layout: registers.AFLOG_REG, masks: { FLS: [0, 0xe00n], FLA: [0, FRAME] } },
  { layout: registers.PMEN_REG, masks: { PRS: [0, 0x1n], EPM: [0, 0x80000000n] } },
  { layout: registers.PROTECTED_LOW_REG, masks: { ADDR: [0, 0xffffffffn] } },
  { layout: registers.PROTECTED_HIGH_REG, masks: { ADDR: [0, ALL] } },
  {
    layout: registers.IQH_REG,
    masks: { QH: [0, 0x7fff0n] },
    examples: [{ quads: [0xc40n], fields: { QH: 0xc4 } }],
  },
  { layout: registers.IQT_REG, masks: { QT: [0, 0x7fff0n] } },
  {
    layout: registers.IQA_REG,
    masks: { QS: [0, 0x7n], DW: [0, 0x800n], IQA: [0, FRAME] },
    examples: [{ quads: [0x4e48801n], fields: { QS: 1, DW: 1, IQA: 0x4e48 } }],
  },
  { layout: registers.ICS_REG, masks: { IWC: [0, 0x1n] } },
  {
    layout: registers.IQER_REG,
    masks: { IQEI: [0, 0xfn], ITESID: [0, 0xffff00000000n], ICESID: [0, 0xffff000000000000n] },
  },
  {
    layout: registers.IRTA_REG,
    masks: { S: [0, 0xfn], EIME: [0, 0x800n], IRTA: [0, FRAME] },
    examples: [{ quads: [0x4f0000fn], fields: { S: 15, IRTA: 0x4f00 } }],
  },
  { layout: registers.PQH_REG, masks: { PQH: [0, 0x7ffe0n] } },
  { layout: registers.PQT_REG, masks: { PQT: [0, 0x7ffe0n] } },
  {
    layout: registers.PQA_REG,
    masks: { PQS: [0, 0x7n], PQA: [0, FRAME] },
    examples: [{ quads: [0x6130004n], fields: { PQS: 4, PQA: 0x6130 } }],
  },
  { layout: registers.PRS_REG, masks: { PPR: [0, 0x1n], PRO: [0, 0x2n] } },
];

const MORE: readonly Golden[] = [
  { layout: optional.MTRRCAP_REG, masks: { VCNT: [0, 0xffn], FIX: [0, 0x100n], WC: [0, 0x400n] } },
  { layout: optional.MTRRDEF_REG, masks: { TYPE: [0, 0xffn], FE: [0, 0x400n], E: [0, 0x800n] } },
  { layout: optional.MTRR_FIX_REG, masks: { TYPES: [0, ALL] } },
  { layout: optional.MTRR_PHYSBASE_REG, masks: { TYPE: [0, 0xffn], BASE: [0, 0xffffffffff000n] } },
  { layout: optional.MTRR_PHYSMASK_REG, masks: { V: [0, 0x800n], MASK: [0, 0xffffffffff000n] } },
  {
    layout: optional.PERFCAP_REG,
    masks: {
      NC: [0, 0xffffn],
      CW: [0, 0x7f0000n],
      NEG: [0, 0x1f000000n],
      FILTERS: [0, 0x1f00000000n],
      IOS: [0, 0x4000000000000n],
      STRIDE: [0, 0x70000000000000n],
    },
  },
  { layout: optional.PERF_OFFSET_REG, masks: { OFFSET: [0, 0xffffffffn] } },
  { layout: optional.PERFINTRSTS_REG, masks: { PIS: [0, 0x1n] } },
  { layout: optional.PERFEVNTCAP_REG, masks: { ES: [0, 0xfffffffn] } },
  {
    layout: optional.ECMD_REG,
    masks: { CMD: [0, 0xffn], OA: [0, 0xffffffffffff0000n] },
    examples: [{ quads: [0x300f0n], fields: { CMD: 0xf0, OA: 3 } }],
  },
  { layout: optional.ECEO_REG, masks: { OB: [0, ALL] } },
  { layout: optional.ECRSP_REG, masks: { IP: [0, 0x1n], SC: [0, 0xfen], RES: [0, 0xffffffffffff0000n] } },
  { layout: optional.ECCAP_REG, masks: { COMMANDS: [0, ALL] } },
  { layout: optional.VCCAP_REG, masks: { PAS: [0, 0x1n] } },
  {
    layout: optional.VCMD_REG,
    masks: { CMD: [0, 0xffn], OP: [0, 0xffffffffffff0000n] },
    examples: [{ quads: [0x123450002n], fields: { CMD: 2, OP: 0x12345 } }],
  },
  { layout: optional.VCMD_EO_REG, masks: { OB: [0, ALL] } },
  {
    layout: optional.VCRSP_REG,
    masks: { IP: [0, 0x1n], SC: [0, 0xfen], RSLT: [0, 0xffffffffffff0000n] },
    examples: [
      { quads: [0x123450000n], fields: { RSLT: 0x12345 } },
      { quads: [0x20n], fields: { SC: 16 } },
    ],
  },
  {
    layout: optional.VCMD_REG_3_2,
    masks: { CMD: [0, 0xffn], OP: [0, 0xffffffffffffff00n] },
    examples: [{ quads: [0x1234502n], fields: { CMD: 2, OP: 0x12345 } }],
  },
  {
    layout: optional.VCRSP_REG_3_2,
    masks: { IP: [0, 0x1n], SC: [0, 0x6n], RSLT: [0, 0xffffffffffffff00n] },
    examples: [{ quads: [0x1234500n], fields: { RSLT: 0x12345 } }],
  },
];

describe('registers', () => testGolden(registers, REGISTERS));
describe('registers that most machines do without', () => testGolden(optional, MORE));
