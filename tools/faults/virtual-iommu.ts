/** Faults of the virtual IOMMU. */
import { type Fault, faultsIn } from './fault.js';

const vmm = faultsIn('src/vmm/iommu', { tests: ['src/vmm/iommu', 'test/vmm/guest-driver.test.ts'] });

export const VIRTUAL_IOMMU_FAULTS: readonly Fault[] = [
  vmm('a wide invalidation finds no new entry (H1)', 'host-work.ts', {
    find: 'return [...left, ...given];',
    replace: 'return [...left, ...given.filter((at) => bindings.get(at.rid, at.guestPasid))];',
  }),
  vmm('PASID-cache invalidations are ignored (H3)', 'virtual-iommu.ts', {
    find: 'return this.#work.compare(pasid === undefined ? {} : { pasid });',
    replace: 'return pasid === -1;',
  }),
  vmm('a descriptor is done before the host has done it', 'virtual-iommu.ts', {
    find: 'const operation = this.#descriptor.take();',
    replace: 'const operation = this.#descriptor.take();\n    queue.finish();',
  }),
  vmm('an invalidation is of all domains', 'host-work.ts', {
    find: 'domain === undefined ? all : all.filter((each) => each.domain === domain)',
    replace: 'all',
  }),
  vmm('a reset gives nothing back', 'virtual-iommu.ts', {
    find: 'for (const pair of this.#pasids.retire()) this.#retired.push(pair);',
    replace: 'this.#pasids.retire();',
  }),
  vmm("a guest gets the host's number", 'guest-pasids.ts', {
    find: 'this.#give(this.#pick(hostPasid), hostPasid)',
    replace: 'this.#give(hostPasid, hostPasid)',
  }),
  vmm('a freed PASID stays bound until the guest flushes', 'virtual-iommu.ts', {
    find: 'this.#compares.set(operand, false);',
    replace: '{}',
  }),
];
