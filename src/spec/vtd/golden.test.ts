/**
 * VT-d's structures and descriptors. The masks are those of VirtualBox (`iommu-intel.h`), Linux (`iommu.h`,
 * `pasid.h`, `prq.c`) and QEMU (`intel_iommu_internal.h`), checked against each other in
 * `docs/reference/vtd-notes.md`; the examples are what a Linux 7.2 guest wrote, or worked out by hand where
 * it wrote none. Registers stand in `golden-registers.test.ts`.
 */
import { describe } from 'vitest';
import { type Golden, testGolden } from '../../../test/golden.js';
import * as faults from './faults.js';
import * as invalidation from './invalidation.js';
import * as paging from './paging.js';
import * as requests from './requests.js';
import * as tables from './tables.js';

const FRAME = 0xfffffffffffff000n;

const TABLES: readonly Golden[] = [
  {
    layout: tables.ROOT_ENTRY,
    masks: { P: [0, 0x1n], CTP: [0, FRAME] },
    examples: [{ quads: [0x607c001n, 0n], fields: { P: 1, CTP: 0x607c } }],
  },
  {
    layout: tables.SCALABLE_ROOT_ENTRY,
    masks: { LP: [0, 0x1n], LCTP: [0, FRAME], UP: [1, 0x1n], UCTP: [1, FRAME] },
    examples: [{ quads: [0x6080001n, 0x6089001n], fields: { LP: 1, LCTP: 0x6080, UP: 1, UCTP: 0x6089 } }],
  },
  {
    layout: tables.CONTEXT_ENTRY,
    masks: {
      P: [0, 0x1n],
      FPD: [0, 0x2n],
      TT: [0, 0xcn],
      SSPTPTR: [0, FRAME],
      AW: [1, 0x7n],
      AVAIL: [1, 0x78n],
      DID: [1, 0xffff00n],
    },
    examples: [{ quads: [0x60a2001n, 0x502n], fields: { P: 1, SSPTPTR: 0x60a2, AW: 2, DID: 5 } }],
  },
  {
    layout: tables.SCALABLE_CONTEXT_ENTRY,
    masks: {
      P: [0, 0x1n],
      FPD: [0, 0x2n],
      DTE: [0, 0x4n],
      PASIDE: [0, 0x8n],
      PRE: [0, 0x10n],
      PDTS: [0, 0xe00n],
      PASIDDIRPTR: [0, FRAME],
      RID_PASID: [1, 0xfffffn],
      RID_PRIV: [1, 0x100000n],
    },
    examples: [{ quads: [0x607f401n, 0n, 0n, 0n], fields: { P: 1, PDTS: 2, PASIDDIRPTR: 0x607f } }],
  },
  {
    layout: tables.PASID_DIRECTORY_ENTRY,
    masks: { P: [0, 0x1n], FPD: [0, 0x2n], SMPTBLPTR: [0, FRAME] },
    examples: [{ quads: [0x6094001n], fields: { P: 1, SMPTBLPTR: 0x6094 } }],
  },
  {
    layout: tables.PASID_TABLE_ENTRY,
    masks: {
      P: [0, 0x1n],
      FPD: [0, 0x2n],
      AW: [0, 0x1cn],
      PGTT: [0, 0x1c0n],
      SSADE: [0, 0x200n],
      SSPTPTR: [0, FRAME],
      DID: [1, 0xffffn],
      PWSNP: [1, 0x800000n],
      PGSNP: [1, 0x1000000n],
      CD: [1, 0x2000000n],
      EMTE: [1, 0x4000000n],
      EMT: [1, 0x38000000n],
      PAT: [1, 0xffffffff00000000n],
      SRE: [2, 0x1n],
      ERE: [2, 0x2n],
      FSPM: [2, 0xcn],
      WPE: [2, 0x10n],
      IGN_134_133: [2, 0x60n],
      EAFE: [2, 0x80n],
      FSPTPTR: [2, FRAME],
    },
    examples: [
      {
        quads: [0x49n, 0x5n, 0x60ad000n, 0n, 0n, 0n, 0n, 0n],
        fields: { P: 1, AW: 2, PGTT: 1, DID: 5, FSPTPTR: 0x60ad },
      },
      {
        quads: [0x60ac089n, 0x5n, 0n, 0n, 0n, 0n, 0n, 0n],
        fields: { P: 1, AW: 2, PGTT: 2, SSPTPTR: 0x60ac, DID: 5 },
      },
      {
        quads: [0x2000000c9n, 0x7n, 0x8000n, 0n, 0n, 0n, 0n, 0n],
        fields: { P: 1, AW: 2, PGTT: 3, SSPTPTR: 0x200000, DID: 7, FSPTPTR: 8 },
      },
      {
        quads: [0x41n, 0x800007n, 0x12345001n, 0n, 0n, 0n, 0n, 0n],
        fields: { P: 1, PGTT: 1, DID: 7, PWSNP: 1, SRE: 1, FSPTPTR: 0x12345 },
      },
    ],
  },
];

const SECOND_STAGE = {
  R: [0, 0x1n],
  W: [0, 0x2n],
  X: [0, 0x4n],
  EMT: [0, 0x38n],
  IPAT: [0, 0x40n],
  PS: [0, 0x80n],
  A: [0, 0x100n],
  D: [0, 0x200n],
  IGN_10: [0, 0x400n],
  SNP: [0, 0x800n],
  IGN_61_52: [0, 0x3ff0000000000000n],
  TM: [0, 0x4000000000000000n],
  IGN_63: [0, 0x8000000000000000n],
} as const;

const PAGING: readonly Golden[] = [
  {
    layout: paging.SECOND_STAGE_ENTRY,
    masks: { ...SECOND_STAGE, ADDR: [0, 0x000ffffffffff000n] },
    examples: [{ quads: [0x6306002n], fields: { W: 1, ADDR: 0x6306 } }],
  },
  { layout: paging.SECOND_STAGE_LEAF_2M, masks: { ...SECOND_STAGE, ADDR: [0, 0x000fffffffe00000n] } },
  { layout: paging.SECOND_STAGE_LEAF_1G, masks: { ...SECOND_STAGE, ADDR: [0, 0x000fffffc0000000n] } },
];

const TYPE = { TYPE: [0, 0xfn], TYPE_HIGH: [0, 0xe00n] } as const;

const DESCRIPTORS: readonly Golden[] = [
  {
    layout: invalidation.CONTEXT_CACHE_INVALIDATION,
    masks: {
      ...TYPE,
      G: [0, 0x30n],
      DID: [0, 0xffff0000n],
      SID: [0, 0xffff00000000n],
      FM: [0, 0x3000000000000n],
    },
    examples: [
      { quads: [0x11n, 0n], fields: { TYPE: 1, G: 1 } },
      { quads: [0x1001800050031n, 0n], fields: { TYPE: 1, G: 3, DID: 5, SID: 0x18, FM: 1 } },
    ],
  },
  {
    layout: invalidation.IOTLB_INVALIDATION,
    masks: {
      ...TYPE,
      G: [0, 0x30n],
      DW: [0, 0x40n],
      DR: [0, 0x80n],
      DID: [0, 0xffff0000n],
      AM: [1, 0x3fn],
      IH: [1, 0x40n],
      ADDR: [1, FRAME],
    },
    examples: [
      { quads: [0xd2n, 0n], fields: { TYPE: 2, G: 1, DW: 1, DR: 1 } },
      {
        quads: [0x500f2n, 0xffef9049n],
        fields: { TYPE: 2, G: 3, DW: 1, DR: 1, DID: 5, AM: 9, IH: 1, ADDR: 0xffef9 },
      },
    ],
  },
  {
    layout: invalidation.DEVICE_TLB_INVALIDATION,
    masks: {
      ...TYPE,
      PFSID_LOW: [0, 0xf000n],
      MIP: [0, 0x1f0000n],
      SID: [0, 0xffff00000000n],
      PFSID_HIGH: [0, 0xfff0000000000000n],
      S: [1, 0x1n],
      ADDR: [1, FRAME],
    },
    examples: [
      {
        quads: [0x06a001a000101003n, 0x7ffffffffffff001n],
        fields: {
          TYPE: 3,
          PFSID_LOW: 1,
          MIP: 0x10,
          SID: 0x1a0,
          PFSID_HIGH: 0x6a,
          S: 1,
          ADDR: 0x7ffffffffffff,
        },
      },
    ],
  },
  {
    layout: invalidation.INTERRUPT_ENTRY_CACHE_INVALIDATION,
    masks: { ...TYPE, G: [0, 0x10n], IM: [0, 0xf8000000n], IIDX: [0, 0xffff00000000n] },
    examples: [
      { quads: [0x4n, 0n], fields: { TYPE: 4 } },
      { quads: [0x1500000014n, 0n], fields: { TYPE: 4, G: 1, IIDX: 0x15 } },
    ],
  },
  {
    layout: invalidation.INVALIDATION_WAIT,
    masks: {
      ...TYPE,
      IF: [0, 0x10n],
      SW: [0, 0x20n],
      FN: [0, 0x40n],
      PD: [0, 0x80n],
      STATUS_DATA: [0, 0xffffffff00000000n],
      STATUS_ADDR: [1, 0xfffffffffffffffcn],
    },
    examples: [
      {
        quads: [0x200000025n, 0x4e4600cn],
        fields: { TYPE: 5, SW: 1, STATUS_DATA: 2, STATUS_ADDR: 0x1391803 },
      },
      {
        quads: [0x2000000e5n, 0x9000n],
        fields: { TYPE: 5, SW: 1, FN: 1, PD: 1, STATUS_DATA: 2, STATUS_ADDR: 0x2400 },
      },
    ],
  },
  {
    layout: invalidation.PASID_IOTLB_INVALIDATION,
    masks: {
      ...TYPE,
      G: [0, 0x30n],
      DID: [0, 0xffff0000n],
      PASID: [0, 0xfffff00000000n],
      AM: [1, 0x3fn],
      IH: [1, 0x40n],
      ADDR: [1, FRAME],
    },
    examples: [
      { quads: [0x60026n, 0n, 0n, 0n], fields: { TYPE: 6, G: 2, DID: 6 } },
      {
        quads: [0x0001234500070036n, 0x00007f0000001000n, 0n, 0n],
        fields: { TYPE: 6, G: 3, DID: 7, PASID: 0x12345, ADDR: 0x7f0000001 },
      },
    ],
  },
  {
    layout: invalidation.PASID_CACHE_INVALIDATION,
    masks: { ...TYPE, G: [0, 0x30n], DID: [0, 0xffff0000n], PASID: [0, 0xfffff00000000n] },
    examples: [
      { quads: [0x0001234500070017n, 0n, 0n, 0n], fields: { TYPE: 7, G: 1, DID: 7, PASID: 0x12345 } },
    ],
  },
  {
    layout: invalidation.PASID_DEVICE_TLB_INVALIDATION,
    masks: {
      ...TYPE,
      MIP: [0, 0x1f0n],
      PFSID_LOW: [0, 0xf000n],
      SID: [0, 0xffff0000n],
      PASID: [0, 0xfffff00000000n],
      PFSID_HIGH: [0, 0xfff0000000000000n],
      G: [1, 0x1n],
      S: [1, 0x800n],
      ADDR: [1, FRAME],
    },
    examples: [
      {
        quads: [0x06a1234501a01108n, 0x00007f0000001801n, 0n, 0n],
        fields: {
          ...{ TYPE: 8, MIP: 0x10, PFSID_LOW: 1, SID: 0x1a0, PASID: 0x12345, PFSID_HIGH: 0x6a },
          ...{ G: 1, S: 1, ADDR: 0x7f0000001 },
        },
      },
    ],
  },
  {
    layout: invalidation.PAGE_GROUP_RESPONSE,
    masks: {
      ...TYPE,
      PP: [0, 0x10n],
      RC: [0, 0xf000n],
      RID: [0, 0xffff0000n],
      PASID: [0, 0xfffff00000000n],
      LPIG: [1, 0x4n],
      PRGI: [1, 0xff8n],
    },
    examples: [
      {
        quads: [0x0001234500181019n, 0x2cn, 0n, 0n],
        fields: { TYPE: 9, PP: 1, RC: 1, RID: 0x18, PASID: 0x12345, LPIG: 1, PRGI: 5 },
      },
    ],
  },
];

const REQUESTS: readonly Golden[] = [
  {
    layout: requests.PAGE_REQUEST_DESCRIPTOR,
    masks: {
      TYPE: [0, 0xffn],
      PP: [0, 0x100n],
      RID: [0, 0xffff0000n],
      PASID: [0, 0xfffff00000000n],
      EXR: [0, 0x10000000000000n],
      PMR: [0, 0x20000000000000n],
      RD: [1, 0x1n],
      WR: [1, 0x2n],
      LPIG: [1, 0x4n],
      PRGI: [1, 0xff8n],
      ADDR: [1, FRAME],
    },
    examples: [
      {
        quads: [0x0001234500180101n, 0x7f000000102dn, 0n, 0n],
        fields: { TYPE: 1, PP: 1, RID: 0x18, PASID: 0x12345, RD: 1, LPIG: 1, PRGI: 5, ADDR: 0x7f0000001 },
      },
    ],
  },
];

const FAULTS: readonly Golden[] = [
  {
    layout: faults.FAULT_RECORD,
    masks: {
      FI: [0, FRAME],
      SID: [1, 0xffffn],
      T2: [1, 0x10000000n],
      PRIV: [1, 0x20000000n],
      EXE: [1, 0x40000000n],
      PP: [1, 0x80000000n],
      FR: [1, 0xff00000000n],
      PASID: [1, 0xfffff0000000000n],
      AT: [1, 0x3000000000000000n],
      T1: [1, 0x4000000000000000n],
      F: [1, 0x8000000000000000n],
    },
    examples: [
      {
        quads: [0xffef9000n, 0xc123455980000018n],
        fields: { FI: 0xffef9, SID: 0x18, PP: 1, FR: 0x59, PASID: 0x12345, T1: 1, F: 1 },
      },
    ],
  },
];

describe('root, context and PASID tables', () => testGolden(tables, TABLES));
describe('second-stage paging entries', () => testGolden(paging, PAGING));
describe('invalidation descriptors', () => testGolden(invalidation, DESCRIPTORS));
describe('page requests', () => testGolden(requests, REQUESTS));
describe('fault record', () => testGolden(faults, FAULTS));
