/**
 * Binding a guest's first stage to a PASID, and what nested translation a host offers (Linux 5.11,
 * include/uapi/linux/iommu.h; `iommu_nesting_info` as it was proposed for VFIO in 2020). One flag Linux does not have:
 * what a guest says of the faults of an entry that it takes away (FPD) has no other way to the host.
 */
import { layout } from '../layout.js';

const SOURCE = 'Linux 5.11 uapi/linux/iommu.h';

export const IOMMU_GPASID_BIND_VERSION = 1;

/** The one format of page tables that was defined: Intel VT-d. */
export const IOMMU_PASID_FORMAT_INTEL_VTD = 1;

export const IOMMU_GPASID_BIND = layout(
  'iommu_gpasid_bind_data',
  72,
  `${SOURCE}, struct iommu_gpasid_bind_data`,
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    VERSION: [63, 32, 'version: 1'],
    FORMAT: [95, 64, 'format of the page table', { 1: 'Intel VT-d' }],
    ADDR_WIDTH: [127, 96, 'bits of a guest virtual address: 48 or 57'],
    GPASID_VALID: [128, 'GPASID is there'],
    FPD: [129, 'to unbind: faults of what still comes are not recorded (not in Linux)'],
    GPGD: [255, 192, "root of the guest's first stage, a guest-physical address"],
    HPASID: [319, 256, "the host's PASID"],
    GPASID: [383, 320, "the guest's PASID"],
    SRE: [448, 'VT-d: supervisor requests'],
    EAFE: [449, 'VT-d: extended accessed flag'],
    PCD: [450, 'VT-d: page-level cache disable'],
    PWT: [451, 'VT-d: page-level write-through'],
    EMTE: [452, 'VT-d: extended memory type'],
    CD: [453, 'VT-d: cache disable'],
    WPE: [454, 'VT-d: write protect'],
    PAT: [543, 512, 'VT-d: page attribute table'],
    EMT: [575, 544, 'VT-d: extended memory type'],
  },
);

export const IOMMU_NESTING_INFO = layout(
  'iommu_nesting_info',
  64,
  'VFIO proposal of 2020, struct iommu_nesting_info',
  {
    ARGSZ: [31, 0, 'bytes of it all'],
    FLAGS: [63, 32, 'none'],
    FORMAT: [95, 64, 'format of the page table', { 1: 'Intel VT-d' }],
    BIND_PGTBL: [96, 'guest page tables can be bound'],
    CACHE_INVLD: [97, 'caches can be invalidated'],
    ADDR_WIDTH: [143, 128, 'bits of an address that a first stage leads to'],
    PASID_BITS: [159, 144, 'bits of a PASID; 0 without'],
    CAP_REG: [447, 384, 'VT-d: CAP'],
    ECAP_REG: [511, 448, 'VT-d: ECAP'],
  },
);
