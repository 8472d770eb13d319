/** Faults of the VT-d model that the suites against QEMU have to notice. */
import { type Fault, faultsIn } from './fault.js';

const judged = faultsIn('src/hardware', { tests: ['test/oracle'], project: 'lab' });

export const ORACLE_FAULTS: readonly Fault[] = [
  judged('the last entry alone says what a first stage allows', 'vtd/walk.ts', {
    find: 'this.firstRights &= entry.rights;',
    replace: 'this.firstRights = entry.rights;',
  }),
  judged('what is cached of a second stage has the rights of its leaf alone', 'vtd/walk.ts', {
    find: '      rights &= entry.rights;',
    replace: '      rights = entry.rights;',
  }),
  judged('users get through to pages of the supervisor', 'vtd/address-space.ts', {
    find: 'return (rights & (WRITE | EXECUTE)) | USER;',
    replace: 'return rights & (WRITE | EXECUTE);',
  }),
  judged('translations lead to the interrupt range', 'vtd/walk.ts', {
    find: 'if (isInterruptFrame(target)) return this.#interruptFault();',
    replace: '',
  }),
  judged('the PASID cache is not invalidated by PASID', 'vtd/invalidation-queue.ts', {
    find: 'end.invalidatePasids({ domain, pasid: pasidCache.PASID.get(slot, 0) })',
    replace: 'true',
  }),
  judged('a page-selective invalidation is of one page', 'vtd/invalidation-queue.ts', {
    find: 'end.invalidatePages(domain, run)',
    replace: 'end.invalidatePages(domain, { ...run, pages: 1, leafOnly: false })',
  }),
  judged('a page-selective invalidation of a PASID is of one page', 'vtd/invalidation-queue.ts', {
    find: 'end.invalidatePasidPages(this.#of, run)',
    replace: 'end.invalidatePasidPages(this.#of, { ...run, pages: 1 })',
  }),
  judged('a domain-selective invalidation of the IOTLB does nothing', 'vtd/invalidation-queue.ts', {
    find: 'end.invalidateDomain(domain)',
    replace: 'true',
  }),
  judged('a device-selective invalidation is of the function before', 'vtd/invalidation-queue.ts', {
    find: 'rid: contextCache.SID.get(slot, 0),',
    replace: 'rid: contextCache.SID.get(slot, 0) ^ 1,',
  }),
  judged('the head moves by half a descriptor', 'vtd/invalidation-queue.ts', {
    find: '+ (this.#isWide ? 2 : 1)',
    replace: '+ 1',
  }),
  judged('writes leave no dirty bit', 'vtd/accessed-dirty.ts', {
    find: '(isWritten ? ACCESSED_DIRTY : ACCESSED)',
    replace: 'ACCESSED',
  }),
  judged('FPD of a PASID table entry silences nothing', 'vtd/device-tables.ts', {
    find: 'this.silenced = this.#directorySilenced || pasid.FPD.get(words, at) === 1;',
    replace: 'this.silenced = this.#directorySilenced;',
  }),
  judged('upper halves of canonical addresses are not canonical', 'paging/first-stage.ts', {
    find: 'return equal === 0 || equal === 0xfffff >> below;',
    replace: 'return equal === 0;',
  }),
  judged('a 1 GiB page keeps too few bits of the address', 'paging/step.ts', {
    find: 'const OFFSETS = [0, 0, 2 ** 9 - 1, 2 ** 18 - 1];',
    replace: 'const OFFSETS = [0, 0, 2 ** 9 - 1, 2 ** 13 - 1];',
  }),
  judged('large pages need not be aligned', 'paging/second-stage.ts', {
    find: '2: leaf(SECOND_STAGE_LEAF_2M) } : {}),\n      ...(gigabytePages ? { 3: leaf(SECOND_STAGE_LEAF_1G) }',
    replace:
      '2: leaf(SECOND_STAGE_ENTRY) } : {}),\n      ...(gigabytePages ? { 3: leaf(SECOND_STAGE_ENTRY) }',
  }),
  judged('a fault record has the page after', 'vtd/fault-recording.ts', {
    find: 'file.set(register, record.FI, page);',
    replace: 'file.set(register, record.FI, page + 1);',
  }),
];
