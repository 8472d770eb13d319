/**
 * VFIO's type 1 IOMMU: mapping memory for DMA (Linux 5.11, include/uapi/linux/vfio.h), and asking for PASIDs, as it
 * was proposed in 2020.
 */
import { layout } from '../layout.js';

/** The kind of container whose second stage others can be nested in. */
export const VFIO_TYPE1_NESTING_IOMMU = 6;

export const VFIO_DMA_MAP = layout(
  'vfio_iommu_type1_dma_map',
  32,
  'Linux 5.11 uapi/linux/vfio.h, struct vfio_iommu_type1_dma_map',
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    READ: [32, 'the device may read'],
    WRITE: [33, 'the device may write'],
    VADDR: [127, 64, "the process's virtual address"],
    IOVA: [191, 128, "the device's address"],
    SIZE: [255, 192, 'bytes'],
  },
);

export const VFIO_DMA_UNMAP = layout(
  'vfio_iommu_type1_dma_unmap',
  24,
  'Linux 5.11 uapi/linux/vfio.h, struct vfio_iommu_type1_dma_unmap',
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    GET_DIRTY_BITMAP: [32, 'tell what was written'],
    IOVA: [127, 64, "the device's address"],
    SIZE: [191, 128, 'bytes; comes back as what was unmapped'],
  },
);

export const VFIO_PASID_REQUEST = layout(
  'vfio_iommu_type1_pasid_request',
  16,
  'VFIO proposal of 2020, struct vfio_iommu_type1_pasid_request',
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    ALLOC: [32, 'allocate one of the range'],
    FREE: [33, 'free those of the range'],
    MIN: [95, 64, 'first of the range'],
    MAX: [127, 96, 'last of the range'],
  },
);
