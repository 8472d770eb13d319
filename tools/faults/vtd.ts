/** Faults of the VT-d model that its own suites have to notice. */
import type { Change, Fault } from './fault.js';

const vtd = (name: string, file: string, { tests, ...change }: Change & Pick<Fault, 'tests'>): Fault => ({
  ...{ name, file: `src/hardware/vtd/${file}` },
  ...change,
  tests: tests.map((test) => `src/hardware/vtd/${test}.test.ts`),
});

export const VTD_FAULTS: readonly Fault[] = [
  vtd('a walk that begins further down has all rights so far', 'table-cache.ts', {
    find: 'this.rights = this.rightsOf(at);',
    replace: 'this.rights = 15;',
    tests: ['paging-structures', 'unit.literal'],
  }),
  vtd('a nested table is taken for the guest frame that it has', 'paging-walk.ts', {
    find: 'const { level, frame, firstRights } = walk;',
    replace: 'const { level, guestLow: frame, firstRights } = walk;',
    tests: ['unit.literal'],
  }),
  vtd('PASIDs with and without accessed bits share the ways to second-stage tables', 'paging-walk.ts', {
    find: '(secondAccessedDirty ? 1 : 0)',
    replace: '0',
    tests: ['paging-structures'],
  }),
  vtd('a walk of leaves alone caches writes that have to leave a mark', 'leaf-walk.ts', {
    find: 'this.#isDirty ? rights : rights & ~WRITE',
    replace: 'rights',
    tests: ['leaf-walk'],
  }),
  vtd('a walk of leaves alone takes the rights of leaves for those of the way', 'leaf-walk.ts', {
    find: 'second.rightsOf(way) & step.rights',
    replace: 'step.rights',
    tests: ['leaf-walk'],
  }),
  vtd('all invalidations of pages are of leaves alone', 'unit-caches.ts', {
    find: 'if (!run.leafOnly) this.firstTables?.removePages(domain, pasid, run);',
    replace: '',
    tests: ['unit.property'],
  }),
  vtd('global pages survive the invalidation of a PASID', 'unit-caches.ts', {
    find: 'if (this.#hasGlobal) this.iotlb.removeAll({ space: domain, tag: TAG.GLOBAL });',
    replace: '',
    tests: ['translator'],
  }),
  vtd('nested translations survive a change of the second stage', 'unit-caches.ts', {
    find: 'this.iotlb.removeListed(domain);',
    replace: '',
    tests: ['translator'],
  }),
  vtd('the PASID cache is not flushed by the domain', 'invalidation-queue.ts', {
    find: 'end.invalidatePasids({ domain })',
    replace: 'true',
    tests: ['invalidation-queue'],
  }),
  vtd('translations of all domains are one', 'translator.ts', {
    find: 'entry.frame = walk.target;',
    replace: 'entry.frame = walk.target;\n    entry.space = 1;',
    tests: ['invalidation-queue', 'contract'],
  }),
  vtd('writes pass a cached page that is not dirty yet', 'translator.ts', {
    find: 'this.#marks.isDirty ? walk.rights : walk.rights & ~RIGHT.WRITE',
    replace: 'walk.rights',
    tests: ['translator'],
  }),
  vtd('pages that are not there are remembered without caching mode', 'translator.ts', {
    find: "if (!this.#format.cachingMode || translation !== 'second-stage') return this.#paging.run(walk, request);",
    replace: '',
    tests: ['caching-mode'],
  }),
  vtd('an entry that changed is marked as it was', 'accessed-dirty.ts', {
    find: 'if (this.#beforeMark !== undefined) this.#settle(walk, isWrite);\n    walk.stepFirst();\n    this.isTable',
    replace:
      'walk.stepFirst();\n    if (this.#beforeMark !== undefined) this.#beforeMark();\n    this.isTable',
    tests: ['marks'],
  }),
  vtd('what is not written back is seen', 'table-reader.ts', {
    find: 'return this.#snoops ? this.#memory : this.#writtenBack;',
    replace: 'return this.#memory;',
    tests: ['snooping'],
  }),
  vtd('a wait descriptor does not wait for device TLBs', 'invalidation-queue.ts', {
    find: 'if (type === INVALIDATION.WAIT) return false;',
    replace: '',
    tests: ['invalidation-queue'],
  }),
  vtd('a time-out drops waits that a queue which stands has not come to', 'invalidation-queue.ts', {
    find: '    // A queue that stands has not come to what is at its head.\n    if (file.get(FSTS, FSTS_REG.IQE) === 1 || file.get(FSTS, FSTS_REG.ITE) === 1) return false;\n',
    replace: '',
    tests: ['invalidation-queue'],
  }),
  vtd('domains that the unit has not are taken', 'device-tables.ts', {
    find: 'space.domain > format.largestDomain',
    replace: 'space.domain < 0',
    tests: ['device-tables'],
  }),
];
