/**
 * Invalidations that a guest asks for (Linux 5.11, include/uapi/linux/iommu.h): a head, and from its word
 * {@link IOMMU_CACHE_INVALIDATE_SCOPE_WORD} on what the granularity wants.
 */
import { layout } from '../layout.js';

const SOURCE = 'Linux 5.11 uapi/linux/iommu.h';

export const IOMMU_CACHE_INVALIDATE_VERSION = 1;

export const IOMMU_INV_GRANULARITY = { DOMAIN: 0, PASID: 1, ADDRESS: 2 } as const;

export const IOMMU_CACHE_INVALIDATE = layout(
  'iommu_cache_invalidate_info',
  16,
  `${SOURCE}, struct iommu_cache_invalidate_info`,
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    VERSION: [63, 32, 'version: 1'],
    IOTLB: [64, 'the IOTLB'],
    DEV_IOTLB: [65, 'the device TLB'],
    PASID_CACHE: [66, 'the PASID cache'],
    GRANULARITY: [79, 72, 'granularity', { 0: 'domain', 1: 'PASID', 2: 'address' }],
  },
);

/** The word at which the scope begins: nothing for a domain. */
export const IOMMU_CACHE_INVALIDATE_SCOPE_WORD = 4;

export const IOMMU_INV_PASID = layout('iommu_inv_pasid_info', 16, `${SOURCE}, struct iommu_inv_pasid_info`, {
  PASID_VALID: [0, 'PASID is there'],
  ARCHID_VALID: [1, 'ARCHID is there'],
  ARCHID: [63, 32, "the architecture's number: a domain id"],
  PASID: [127, 64, 'PASID'],
});

export const IOMMU_INV_ADDR = layout('iommu_inv_addr_info', 40, `${SOURCE}, struct iommu_inv_addr_info`, {
  PASID_VALID: [0, 'PASID is there'],
  ARCHID_VALID: [1, 'ARCHID is there'],
  LEAF: [2, 'only leaves have changed'],
  ARCHID: [63, 32, "the architecture's number: a domain id"],
  PASID: [127, 64, 'PASID'],
  ADDR: [191, 128, 'first address'],
  GRANULE_SIZE: [255, 192, 'bytes a granule'],
  NB_GRANULES: [319, 256, 'how many granules'],
});
