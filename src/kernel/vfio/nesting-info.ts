/** What nested translation a container offers, as `struct iommu_nesting_info`. */
import { encode, IOMMU_NESTING_INFO, IOMMU_PASID_FORMAT_INTEL_VTD } from '../../spec/index.js';
import type { IommuDevice } from '../iommu/device.js';
import type { PagingDomain } from '../iommu/paging-domain.js';

/** What all units of these functions have, over this domain. */
export function nestingInfo(functions: readonly IommuDevice[], { width }: PagingDomain): Uint8Array {
  const offers = functions.map(({ driver }) => driver.nesting);
  const has = offers.length > 0;
  const every = (pick: 'cap' | 'ecap'): bigint =>
    has ? offers.reduce((all, offer) => all & (offer?.[pick] ?? 0n), 2n ** 64n - 1n) : 0n;
  const words = encode(IOMMU_NESTING_INFO, {
    ARGSZ: IOMMU_NESTING_INFO.bytes,
    FORMAT: IOMMU_PASID_FORMAT_INTEL_VTD,
    BIND_PGTBL: has ? 1 : 0,
    CACHE_INVLD: has ? 1 : 0,
    ADDR_WIDTH: width,
    PASID_BITS: has ? Math.min(...functions.map(({ pasidBits }) => pasidBits)) : 0,
    CAP_REG: every('cap'),
    ECAP_REG: every('ecap'),
  });
  return new Uint8Array(words.buffer);
}
