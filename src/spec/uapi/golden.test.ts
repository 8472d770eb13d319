/**
 * The user-space structures against offsets and sizes that were printed from the headers of Linux 6.1 where they are
 * merged, and from the posted patches where they are not.
 */
import { type Golden, testGolden } from '../../../test/golden.js';
import * as bind from './bind.js';
import * as fault from './fault.js';
import * as invalidate from './invalidate.js';
import * as vfio from './vfio.js';

const LOW = 0xffff_ffffn;
const HIGH = 0xffff_ffff_0000_0000n;
const ALL = LOW | HIGH;
const bit = (at: number): bigint => 1n << BigInt(at);

const FAULTS: Golden[] = [
  { layout: fault.IOMMU_FAULT, masks: { TYPE: [0, LOW] }, examples: [{ quads: [2n], fields: { TYPE: 2 } }] },
  {
    layout: fault.IOMMU_FAULT_UNRECOVERABLE,
    masks: {
      REASON: [0, LOW],
      PASID_VALID: [0, bit(32)],
      ADDR_VALID: [0, bit(33)],
      FETCH_ADDR_VALID: [0, bit(34)],
      PASID: [1, LOW],
      PERM: [1, HIGH],
      ADDR: [2, ALL],
      FETCH_ADDR: [3, ALL],
    },
    examples: [
      {
        quads: [0x3_0000_0005n, 0x2_0000_0065n, 0x7f00_0000_1000n, 0n],
        fields: { REASON: 5, PASID_VALID: 1, ADDR_VALID: 1, PASID: 101, PERM: 2, ADDR: 0x7f00_0000_1000n },
      },
    ],
  },
  {
    layout: fault.IOMMU_FAULT_PAGE_REQUEST,
    masks: {
      PASID_VALID: [0, bit(0)],
      LAST_PAGE: [0, bit(1)],
      PRIV_DATA: [0, bit(2)],
      NEEDS_PASID: [0, bit(3)],
      PASID: [0, HIGH],
      GRPID: [1, LOW],
      PERM: [1, HIGH],
      ADDR: [2, ALL],
      PRIVATE_DATA_0: [3, ALL],
      PRIVATE_DATA_1: [4, ALL],
    },
    examples: [
      {
        quads: [0x65_0000_000bn, 0x3_0000_0007n, 0x5000n, 0n, 0n],
        fields: {
          PASID_VALID: 1,
          LAST_PAGE: 1,
          NEEDS_PASID: 1,
          PASID: 101,
          GRPID: 7,
          PERM: 3,
          ADDR: 0x5000n,
        },
      },
    ],
  },
  {
    layout: fault.IOMMU_PAGE_RESPONSE,
    masks: {
      ARGSZ: [0, LOW],
      VERSION: [0, HIGH],
      PASID_VALID: [1, bit(0)],
      PASID: [1, HIGH],
      GRPID: [2, LOW],
      CODE: [2, HIGH],
    },
    examples: [
      {
        quads: [0x1_0000_0018n, 0x65_0000_0001n, 0x1_0000_0007n],
        fields: { ARGSZ: 24, VERSION: 1, PASID_VALID: 1, PASID: 101, GRPID: 7, CODE: 1 },
      },
    ],
  },
];

const INVALIDATIONS: Golden[] = [
  {
    layout: invalidate.IOMMU_CACHE_INVALIDATE,
    masks: {
      ARGSZ: [0, LOW],
      VERSION: [0, HIGH],
      IOTLB: [1, bit(0)],
      DEV_IOTLB: [1, bit(1)],
      PASID_CACHE: [1, bit(2)],
      GRANULARITY: [1, 0xff00n],
    },
    examples: [
      {
        quads: [0x1_0000_0038n, 0x203n],
        fields: { ARGSZ: 56, VERSION: 1, IOTLB: 1, DEV_IOTLB: 1, GRANULARITY: 2 },
      },
    ],
  },
  {
    layout: invalidate.IOMMU_INV_PASID,
    masks: { PASID_VALID: [0, bit(0)], ARCHID_VALID: [0, bit(1)], ARCHID: [0, HIGH], PASID: [1, ALL] },
    examples: [{ quads: [1n, 101n], fields: { PASID_VALID: 1, PASID: 101n } }],
  },
  {
    layout: invalidate.IOMMU_INV_ADDR,
    masks: {
      PASID_VALID: [0, bit(0)],
      ARCHID_VALID: [0, bit(1)],
      LEAF: [0, bit(2)],
      ARCHID: [0, HIGH],
      PASID: [1, ALL],
      ADDR: [2, ALL],
      GRANULE_SIZE: [3, ALL],
      NB_GRANULES: [4, ALL],
    },
    examples: [
      {
        quads: [5n, 101n, 0x7000n, 4096n, 8n],
        fields: {
          ...{ PASID_VALID: 1, LEAF: 1, PASID: 101n },
          ...{ ADDR: 0x7000n, GRANULE_SIZE: 4096n, NB_GRANULES: 8n },
        },
      },
    ],
  },
];

const BINDS: Golden[] = [
  {
    layout: bind.IOMMU_GPASID_BIND,
    masks: {
      ARGSZ: [0, LOW],
      VERSION: [0, HIGH],
      FORMAT: [1, LOW],
      ADDR_WIDTH: [1, HIGH],
      GPASID_VALID: [2, bit(0)],
      FPD: [2, bit(1)],
      GPGD: [3, ALL],
      HPASID: [4, ALL],
      GPASID: [5, ALL],
      SRE: [7, bit(0)],
      EAFE: [7, bit(1)],
      PCD: [7, bit(2)],
      PWT: [7, bit(3)],
      EMTE: [7, bit(4)],
      CD: [7, bit(5)],
      WPE: [7, bit(6)],
      PAT: [8, LOW],
      EMT: [8, HIGH],
    },
    examples: [
      {
        quads: [0x1_0000_0048n, 0x30_0000_0001n, 1n, 0x5000n, 202n, 101n, 0n, 0x41n, 0n],
        fields: {
          ...{ ARGSZ: 72, VERSION: 1, FORMAT: 1, ADDR_WIDTH: 48, GPASID_VALID: 1 },
          ...{ GPGD: 0x5000n, HPASID: 202n, GPASID: 101n, SRE: 1, WPE: 1 },
        },
      },
    ],
  },
  {
    layout: bind.IOMMU_NESTING_INFO,
    masks: {
      ARGSZ: [0, LOW],
      FLAGS: [0, HIGH],
      FORMAT: [1, LOW],
      BIND_PGTBL: [1, bit(32)],
      CACHE_INVLD: [1, bit(33)],
      ADDR_WIDTH: [2, 0xffffn],
      PASID_BITS: [2, 0xffff_0000n],
      CAP_REG: [6, ALL],
      ECAP_REG: [7, ALL],
    },
    examples: [
      {
        quads: [64n, 0x3_0000_0001n, 0x14_0030n, 0n, 0n, 0n, 0n, 0x400_0000n],
        fields: {
          ...{ ARGSZ: 64, FORMAT: 1, BIND_PGTBL: 1, CACHE_INVLD: 1, ADDR_WIDTH: 48 },
          ...{ PASID_BITS: 20, ECAP_REG: 0x400_0000n },
        },
      },
    ],
  },
];

const DMA: Golden[] = [
  {
    layout: vfio.VFIO_DMA_MAP,
    masks: {
      ARGSZ: [0, LOW],
      READ: [0, bit(32)],
      WRITE: [0, bit(33)],
      VADDR: [1, ALL],
      IOVA: [2, ALL],
      SIZE: [3, ALL],
    },
    examples: [
      {
        quads: [0x3_0000_0020n, 0x7f00_0000_0000n, 0n, 0x10_0000n],
        fields: { ARGSZ: 32, READ: 1, WRITE: 1, VADDR: 0x7f00_0000_0000n, SIZE: 0x10_0000n },
      },
    ],
  },
  {
    layout: vfio.VFIO_DMA_UNMAP,
    masks: { ARGSZ: [0, LOW], GET_DIRTY_BITMAP: [0, bit(32)], IOVA: [1, ALL], SIZE: [2, ALL] },
    examples: [{ quads: [24n, 0x1000n, 0x2000n], fields: { ARGSZ: 24, IOVA: 0x1000n, SIZE: 0x2000n } }],
  },
  {
    layout: vfio.VFIO_PASID_REQUEST,
    masks: { ARGSZ: [0, LOW], ALLOC: [0, bit(32)], FREE: [0, bit(33)], MIN: [1, LOW], MAX: [1, HIGH] },
    examples: [
      { quads: [0x1_0000_0010n, 0xff_0000_0001n], fields: { ARGSZ: 16, ALLOC: 1, MIN: 1, MAX: 255 } },
    ],
  },
];

testGolden({ ...bind, ...fault, ...invalidate, ...vfio }, [...FAULTS, ...INVALIDATIONS, ...BINDS, ...DMA]);
