/**
 * Faults as the kernel reports them to who owns a device, and the answers to page requests (Linux 5.11,
 * include/uapi/linux/iommu.h). A report is a head and, from its word {@link IOMMU_FAULT_EVENT_WORD} on, one of two
 * kinds of event. Structures are little-endian, as on x86; bits that no field covers are padding.
 */
import { layout } from '../layout.js';

const SOURCE = 'Linux 5.11 uapi/linux/iommu.h';

/** What an access wanted. */
export const IOMMU_FAULT_PERM = { READ: 1, WRITE: 2, EXEC: 4, PRIV: 8 } as const;

export const IOMMU_FAULT_TYPE = { UNRECOVERABLE: 1, PAGE_REQUEST: 2 } as const;

/** Why an access was not translated. */
export const IOMMU_FAULT_REASON = {
  UNKNOWN: 0,
  PASID_FETCH: 1,
  BAD_PASID_ENTRY: 2,
  PASID_INVALID: 3,
  WALK_EABT: 4,
  PTE_FETCH: 5,
  PERMISSION: 6,
  ACCESS: 7,
  OOR_ADDRESS: 8,
} as const;

/** The head of a report. */
export const IOMMU_FAULT = layout('iommu_fault', 8, `${SOURCE}, struct iommu_fault`, {
  TYPE: [31, 0, 'type', { 1: 'unrecoverable', 2: 'page request' }],
});

/** A report, whatever its event. */
export const IOMMU_FAULT_BYTES = 64;

/** The word of a report at which its event begins. */
export const IOMMU_FAULT_EVENT_WORD = 2;

export const IOMMU_FAULT_UNRECOVERABLE = layout(
  'iommu_fault_unrecoverable',
  32,
  `${SOURCE}, struct iommu_fault_unrecoverable`,
  {
    REASON: [
      31,
      0,
      'reason',
      {
        0: 'unknown',
        1: 'PASID table not readable',
        2: 'PASID entry invalid',
        3: 'PASID out of range or disabled',
        4: 'external abort on a walk',
        5: 'entry not usable',
        6: 'permission',
        7: 'access flag',
        8: 'output address too large',
      },
    ],
    PASID_VALID: [32, 'PASID is there'],
    ADDR_VALID: [33, 'ADDR is there'],
    FETCH_ADDR_VALID: [34, 'FETCH_ADDR is there'],
    PASID: [95, 64, 'PASID'],
    PERM: [127, 96, 'what was wanted: read 1, write 2, execute 4, privileged 8'],
    ADDR: [191, 128, 'the address that was asked for'],
    FETCH_ADDR: [255, 192, 'the address of the structure that could not be read'],
  },
);

export const IOMMU_FAULT_PAGE_REQUEST = layout(
  'iommu_fault_page_request',
  40,
  `${SOURCE}, struct iommu_fault_page_request`,
  {
    PASID_VALID: [0, 'PASID is there'],
    LAST_PAGE: [1, 'last request of its group'],
    PRIV_DATA: [2, 'the private data is there'],
    NEEDS_PASID: [3, 'the answer must name the PASID'],
    PASID: [63, 32, 'PASID'],
    GRPID: [95, 64, 'page request group index'],
    PERM: [127, 96, 'what is wanted: read 1, write 2, execute 4, privileged 8'],
    ADDR: [191, 128, 'address of the page'],
    PRIVATE_DATA_0: [255, 192, 'of the device'],
    PRIVATE_DATA_1: [319, 256, 'of the device'],
  },
);

export const IOMMU_PAGE_RESPONSE_VERSION = 1;

/** FAILURE is 2 in merged kernels; one tree of the vendor's has the code of PCIe there, 15. */
export const IOMMU_PAGE_RESPONSE_CODE = { SUCCESS: 0, INVALID: 1, FAILURE: 2 } as const;

export const IOMMU_PAGE_RESPONSE = layout(
  'iommu_page_response',
  24,
  `${SOURCE}, struct iommu_page_response`,
  {
    ARGSZ: [31, 0, 'bytes that the caller gives'],
    VERSION: [63, 32, 'version: 1'],
    PASID_VALID: [64, 'PASID is there'],
    PASID: [127, 96, 'PASID'],
    GRPID: [159, 128, 'page request group index'],
    CODE: [191, 160, 'answer', { 0: 'success', 1: 'invalid request', 2: 'failure' }],
  },
);
