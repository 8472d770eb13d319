/** The VT-d unit passes what every IOMMU must: with address spaces that are PASIDs, in one domain and in two. */
import { type IommuBench, testIommuContract } from '../../../test/hardware/iommu-contract.js';
import { DATA, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { encode, IOTLB_INVALIDATION, PASID_CACHE_INVALIDATION } from '../../spec/index.js';
import type { CacheSizes } from './translator.js';

/** @param domainOf the domain of an address space */
function newBench(domainOf: (space: number) => number, caches: CacheSizes): IommuBench {
  const bench = new UnitBench({ caches }).enable();
  const roots = new Map([1, 2].map((space) => [space, bench.bind(space, domainOf(space))]));
  const root = (space: number): number => roots.get(space) ?? 0;
  return {
    rootComplex: bench.rootComplex,
    memory: bench.memory,
    state: bench.unit,
    dataFrame: DATA,
    request: (space, page, rights) => bench.request({ pasid: space, page, rights }),
    map: (space, page, frame, isWritable) =>
      bench.map(root(space), page, frame, isWritable ? USER_PAGE : USER_PAGE & ~2),
    unmap: (space, page) => bench.unmap(root(space), page),
    invalidatePage: (space, page) => bench.flushPage(domainOf(space), space, page),
    invalidateSpace: (space) => bench.flushPasid(domainOf(space), space),
    invalidateAll: () =>
      bench.submit(
        encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }),
        encode(IOTLB_INVALIDATION, { TYPE: 2, G: 1 }),
      ),
    faults: () => bench.faults().map(({ page }) => page),
  };
}

testIommuContract('VT-d, one domain', () => newBench(() => 1, {}));
testIommuContract('VT-d, a domain each, caches of two entries', () =>
  newBench((space) => space, { context: 2, pasid: 2, iotlb: 2 }),
);
