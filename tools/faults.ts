/**
 * Single faults, each of which some test must notice: `npm run mutate` puts one at a time into a copy of the
 * sources. A fault is a text that stands in its file once, and what is put in its place.
 *
 * Add those of a layer here, with the folder of the tests that have to notice them.
 */
export interface Fault {
  /** What is wrong then, in a few words. */
  readonly name: string;
  /** The file, from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Files or folders of tests that have to notice. */
  readonly tests: readonly string[];
  /** The project of vitest that the tests are of; `unit` if left out. What is of `lab` needs the lab. */
  readonly project?: 'unit' | 'lab';
}

const ioasid = (name: string, file: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: `src/ioasid/${file}`,
  ...change,
  tests: ['src/ioasid', 'test/ioasid'],
});

/** A fault of the VT-d model that the suites against QEMU have to notice. */
const judged = (name: string, file: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: `src/hardware/${file}`,
  ...change,
  tests: ['test/oracle'],
  project: 'lab',
});

/** A fault of the VT-d model that its own suites have to notice. */
const vtd = (name: string, file: string, change: Pick<Fault, 'find' | 'replace' | 'tests'>): Fault => ({
  name,
  file: `src/hardware/vtd/${file}`,
  ...change,
  tests: change.tests.map((test) => `src/hardware/vtd/${test}.test.ts`),
});

const iommu = (name: string, file: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: `src/kernel/iommu/${file}`,
  ...change,
  tests: ['src/kernel/iommu', 'test/vtd-driver'],
});

/** A fault of the virtual IOMMU. */
const vmm = (name: string, file: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: `src/vmm/iommu/${file}`,
  ...change,
  tests: ['src/vmm/iommu', 'test/vmm/guest-driver.test.ts'],
});

/** A fault of a virtual device's dedicated queue. */
const vdcm = (name: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: 'src/kernel/vdcm/dedicated.ts',
  ...change,
  tests: ['src/kernel/vdcm'],
});

/** A fault of the accelerator's driver. */
const idxd = (name: string, file: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: `src/kernel/idxd/${file}`,
  ...change,
  tests: ['src/kernel/idxd', 'src/kernel/vdcm'],
});

/** A fault of a virtual device's completion interrupts. */
const interrupts = (name: string, change: { find: string; replace: string }): Fault => ({
  name,
  file: 'src/kernel/vdcm/interrupts.ts',
  ...change,
  tests: ['src/kernel/vdcm'],
});

export const FAULTS: readonly Fault[] = [
  {
    name: 'a PASID reaches a queue for which it is not bound, and is not drained there (B10, B11)',
    file: 'src/kernel/iommu/guest/tear-down.ts',
    find: '      refusal ??= yield* this.#drainStrays(binding);\n',
    replace: '',
    tests: ['test/vfio'],
  },
  ioasid('a FREE drains before what it has to stop is stopped (B10)', 'holders/work.ts', {
    find: 'const late = isPast || hasNextRound(core, id);',
    replace: 'const late = isPast;',
  }),
  idxd('the PASID of an interrupt entry is changed behind who masks it (B7)', 'interrupt-storage.ts', {
    find: 'this.#write({ ...this.#control.value, pasid });',
    replace:
      'const before = this.#control.value; this.#write({ ...before, pasid }); this.#control.value = before;',
  }),
  idxd('an interrupt is told to who has the entry next', 'interrupt-storage.ts', {
    find: 'if (this.#listener.value !== listener) return;',
    replace: '',
  }),
  idxd('who inherits a descriptor has what its opener has (G1)', 'wq-files.ts', {
    find: 'if (file.binding.mm !== process.mm) return',
    replace: 'if (process.pid < 0) return',
  }),
  idxd('a vector that is given back may still be asked for', 'completion-interrupts.ts', {
    find: '    const refusal = yield* this.#registers.releaseHandle(handle);\n    this.#permit(vector, undefined);',
    replace: '    const refusal = yield* this.#registers.releaseHandle(handle);',
  }),
  interrupts('an entry is for whatever PASID the guest has written (B11)', {
    find: 'return this.#bound.hostOf(hasPasid ? GuestPasid.of(DSA_MSIXPERM.PASID.get(words, 0)) : undefined);',
    replace: 'return hasPasid ? DSA_MSIXPERM.PASID.get(words, 0) : undefined;',
  }),
  interrupts('a PASID stays in its entry when it is drained', {
    find: 'if (entry.pasid === host) entry.permit(undefined);',
    replace: 'if (host < 0) entry.permit(undefined);',
  }),
  vdcm('the end of a PASID is looked for by the number of the guest (B1)', {
    find: 'return this.#held.value?.host === host;',
    replace: 'return Number(this.#held.value?.guest) === Number(host);',
  }),
  vdcm('the end of any PASID lets go of what is held (B2)', {
    find: 'return this.#held.value?.host === host;',
    replace: 'return this.#held.value !== undefined;',
  }),
  vdcm('the end of a queue that is not enabled gives up (B3)', {
    find: 'if (held === undefined || !this.#holds(host)) return undefined;',
    replace: 'if (held === undefined || !this.#holds(host) || !this.#wq.isEnabled) return undefined;',
  }),
  vdcm('who is told of a VM is told of it for ever (B4)', {
    find: 'if (owner !== undefined) ioasidUnregisterNotifier(owner.subscription);',
    replace: '',
  }),
  vdcm('whatever is bound in the VM is accepted (B11)', {
    find: 'if (this.#bound.get(host) === guest) {',
    replace: 'if (guest !== undefined) {',
  }),
  vdcm('a queue that goes on is translated again (B5)', {
    find: 'if (this.#held.value === undefined) this.#take(guest);',
    replace: 'this.#take(guest);',
  }),
  ioasid('the quota of a set never comes back (A1)', 'life/settle.ts', {
    find: 'core.add(COUNTER.available, quota);',
    replace: '',
  }),
  ioasid('an empty set ends under its owner (A2)', 'life/settle.ts', {
    find: 'words[at + SET.ownerGone] === 1 && words[at + SET.used] === 0',
    replace: 'words[at + SET.used] === 0',
  }),
  ioasid('a refused alloc keeps the charge (A4)', 'ids/alloc.ts', {
    find: '    uncharge(core, controller, 1);\n',
    replace: '',
  }),
  ioasid('a custom allocator does not get back what was not used (A4)', 'ids/alloc.ts', {
    find: '    unchooseId(core, id);\n',
    replace: '',
  }),
  ioasid('a reference is given to an id that is being freed (A5)', 'holders/reference.ts', {
    find: 'if (stateOf(core.ids, id) === STATE.FREE_PENDING) return',
    replace: 'if (core.capacity < 0) return',
  }),
  ioasid('the second free of an id announces again', 'ids/alloc.ts', {
    find: 'if (stateOf(core.ids, id) === STATE.FREE_PENDING) return false;',
    replace: '',
  }),
  ioasid('an id that is bound and not held is freed unannounced (A8)', 'tables/id-columns.ts', {
    find: '(holdersOf(ids, id) | boundOf(ids, id) | workOf(ids, id)) !== 0',
    replace: '(holdersOf(ids, id) | workOf(ids, id)) !== 0',
  }),
  ioasid('a put spends the reference of whoever is there (A9)', 'records/reference-list.ts', {
    find: 'words[(reference << 2) + REFERENCE.holder] !== holder',
    replace: 'holder < 0',
  }),
  ioasid('all work of an id is ready at once (A10)', 'records/phases.ts', {
    find: 'if (itemWord(core, item, ITEM.info) === phase) makeReady',
    replace: 'if (itemWord(core, item, ITEM.info) <= 3) makeReady',
  }),
  ioasid('work of a later announcement joins the tear-down under way', 'notify/announce.ts', {
    find: 'core.nextRound = phaseOf(ids, id) > PHASE.stop;',
    replace: 'core.nextRound = phaseOf(ids, id) > PHASE.clear;',
  }),
  ioasid('growing a quota asks for all of it (A15)', 'sets/set.ts', {
    find: 'if (more > available)',
    replace: 'if (quota > available)',
  }),
  ioasid('who throws keeps the others from hearing (A16)', 'notify/announce.ts', {
    find: 'if (error instanceof Bug) core.bug ??= error;',
    replace: 'if (error instanceof Error) throw error;',
  }),
  ioasid('an allocator is taken away over its ids (A17)', 'ids/allocator.ts', {
    find: 'left.length === 0 && index === 0 && live !== 0',
    replace: 'left.length === 0 && index === 1 && live !== 0',
  }),
  ioasid('the handle of a set that is gone still works', 'core/checks.ts', {
    find: 'if (core.sets.handles.at(set.record) !== set) return goneSet(set);',
    replace: '',
  }),
  ioasid('another set may use the id', 'tables/id-columns.ts', {
    find: '(word & STATE_MASK) !== STATE.FREE && word >>> SET_AT === record',
    replace: '(word & STATE_MASK) !== STATE.FREE',
  }),
  ioasid('a late detach erases the new pair of the SPID', 'tables/spid-table.ts', {
    find: 'if (((words[hole + 1] ?? 0) & LOW) !== id) return;',
    replace: 'if ((words[hole + 1] ?? 0) === 0) return;',
  }),
  ioasid('the system is told before the set, whatever the priority', 'notify/announce.ts', {
    find: 'inSystem !== 0 && keyOf(core, inSystem) < keyOf(core, inSet)',
    replace: 'inSystem !== 0',
  }),
  ioasid('BIND is announced for every device', 'ids/spid.ts', {
    find: 'ids.spid.set(id, spidWord(spid, bound + 1));',
    replace: 'ids.spid.set(id, spidWord(spid, bound + 1));\n    announce(core, EVENT.BIND, id);',
  }),
  ioasid('the last put pulls the id from under the announcement', 'life/settle.ts', {
    find: 'if (core.announcing === id) return false;',
    replace: '',
  }),
  ioasid('a limit further up is not looked at', 'limits/controller.ts', {
    find: 'if (current >= (words[base + CONTROLLER.max] ?? 0)) {',
    replace: 'if (at === controller && current >= (words[base + CONTROLLER.max] ?? 0)) {',
  }),
  ioasid('a refusal further up leaves the charges below', 'limits/controller.ts', {
    find: 'for (let done = controller; done !== at;',
    replace: 'for (let done = at; done !== at;',
  }),
  ioasid('the lowest id of the range is missed by the bitmap', 'tables/bitmap.ts', {
    find: '& (-1 << (min & 31))',
    replace: '& (-2 << (min & 31))',
  }),
  ioasid('a handler may free', 'ids/alloc.ts', {
    find: "if (core.lock !== LOCK.none) return deadlock(core, 'freeing');",
    replace: '',
  }),
  ioasid('a change is not written down for the restore', 'tables/bitmap.ts', {
    find: '    bits.touch(index);\n',
    replace: '',
  }),
  ioasid('an entry is lost when the SPID table moves others up', 'tables/spid-table.ts', {
    find: '((place - home) & mask) >= ((place - hole) & mask)',
    replace: '((place - home) & mask) > ((place - hole) & mask)',
  }),
  ioasid('an id in use is handed back to the custom allocator that gave it', 'life/choose.ts', {
    find: 'if (stateOf(core.ids, answer) !== STATE.FREE) {',
    replace: 'if (answer >= min && stateOf(core.ids, answer) !== STATE.FREE) {',
  }),
  ioasid('work of a history that was undone finishes another', 'records/phases.ts', {
    find: 'setItem(core, (item << 3) + ITEM.ticket, core.tickets);',
    replace: 'setItem(core, (item << 3) + ITEM.ticket, item);',
  }),
  ioasid('a replay that goes another way is taken for a handler’s failure', 'core/core.ts', {
    find: 'if (lock === LOCK.handler) this.bug ??= error;',
    replace: '',
  }),
  ioasid('the trace and the faults may change what they are told of', 'core/core.ts', {
    find: 'this.lock = LOCK.allocator;',
    replace: '',
  }),
  ioasid('an event names the SPID of an unbinding that nobody heard', 'notify/announce.ts', {
    find: '    core.unbound = undefined;\n    return settle',
    replace: '    return settle',
  }),
  ioasid('references wrap after 2^31', 'holders/reference.ts', {
    find: '=== MAX_REFERENCES) {',
    replace: '> MAX_REFERENCES) {',
  }),
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
  iommu('a live entry is emptied before it is flushed (D1)', 'vtd/entry-tables.ts', {
    find: '    this.#entry.P.set(words, 0, 0);\n',
    replace: '    words.fill(0);\n    this.store(at, words, 2);\n',
  }),
  iommu('a live entry is written over (D2)', 'vtd/entry-tables.ts', {
    find: '      const entry = index === own ?',
    replace:
      '      if (index === own) this.publish(paOf(old, own * bytes), words);\n      const entry = index === own ?',
  }),
  iommu('a table is used that was never written back (D3)', 'vtd/entry-tables.ts', {
    find: '    this.writeBack(paOf(spare), PAGE_BYTES);\n',
    replace: '',
  }),
  iommu('an entry of a domain is not written back (D3)', 'io-page-table.ts', {
    find: '    if (this.#writtenBack.value) memory.flush(at, ENTRY_BYTES);\n',
    replace: '',
  }),
  iommu('a nested entry is flushed by PASID alone (D4)', 'vtd/cache-tags.ts', {
    find: "return type === 'second-stage' || type === 'nested';",
    replace: "return type === 'second-stage';",
  }),
  iommu('what is built on a domain is not flushed with it (D4)', 'vtd/cache-tags.ts', {
    find: 'for (const tag of this.#nested.get(domain)?.values() ?? []) flushes',
    replace: 'for (const tag of this.#nested.get(this)?.values() ?? []) flushes',
  }),
  iommu('only one of several units is flushed (D5)', 'paging-domain.ts', {
    find: 'of this.#drivers()) {',
    replace: 'of this.#drivers().slice(0, 1)) {',
  }),
  iommu('a device TLB is flushed without the PASID (D6)', 'vtd/invalidations.ts', {
    find: 'if (pasid === 0) {',
    replace: 'if (pasid >= 0) {',
  }),
  iommu('a device TLB is not flushed (D6)', 'vtd/cache-tags.ts', {
    find: 'const devices = uses.filter(({ device }) => device.ats);',
    replace: 'const devices = tag.uses.filter(({ device }) => device.rid < 0);',
  }),
  iommu('many ranges are flushed one by one (E3)', 'vtd/cache-tags.ts', {
    find: '<= MAX_DESCRIPTORS;',
    replace: '<= 100 * MAX_DESCRIPTORS;',
  }),
  iommu('there is a moment without translation in a replace (F1)', 'vtd/entry-tables.ts', {
    find: '    this.#pointer.frame.set(pointer, 0, spare);\n',
    replace: '    this.store(at, new Int32Array(2), 0);\n    this.#pointer.frame.set(pointer, 0, spare);\n',
  }),
  iommu('a replace undoes less than it did (F2)', 'replace.ts', {
    find: 'steps.slice(0, begun + 1)',
    replace: 'steps.slice(begun, begun + 1)',
  }),
  iommu('a replace goes back to the wrong domain (F3)', 'vtd/unit.ts', {
    find: 'this.#entryOf(from, this.#tags.didOf(from), device)',
    replace: 'this.#entryOf(to, did, device)',
  }),
  iommu('a unit that fails keeps others from being flushed (F14)', 'paging-domain.ts', {
    find: '      first ??= refusal;\n',
    replace: '      if (refusal !== undefined) return refusal;\n',
  }),
  iommu('a failed flush looks like a success', 'paging-domain.ts', {
    find: '      first ??= refusal;\n',
    replace: '',
  }),
  iommu('a detach misses what has taken the place', 'core.ts', {
    find: 'if (successor !== undefined) return',
    replace: 'if (successor === attachment) return',
  }),
  iommu('a status from after a time-out is believed', 'vtd/queue.ts', {
    find: 'if (this.#timeouts.length === batch.timeouts) return undefined;',
    replace: 'if (this.#status(batch.last) === DONE) return undefined;',
  }),
  iommu('a time-out counts for who had nothing to do with it', 'vtd/queue.ts', {
    find: 'if (descriptors.some((each) => silent.includes(deviceOf(each) ?? NOBODY))) failures++;',
    replace: 'if (descriptors.some((each) => deviceOf(each) !== undefined)) failures++;',
  }),
  iommu('the neighbours of a replaced entry are lost', 'vtd/entry-tables.ts', {
    find: ': this.load(paOf(old, index * bytes), bytes);',
    replace: ': new Int32Array(bytes / 4);',
  }),
  iommu('caching mode is not told of new entries', 'vtd/unit.ts', {
    find: 'all.length === 0 ? ended(undefined) : this.#ready.queue.sync(all)',
    replace: 'ended(undefined)',
  }),
  iommu('a domain id is given away while a device has its domain', 'vtd/cache-tags.ts', {
    find: 'if (tag.uses.size > 0) return;',
    replace: 'if (tag.uses.size > 1) return;',
  }),
  iommu('a large page is larger than what is mapped', 'io-page-table.ts', {
    find: '&& left >= span;',
    replace: '&& left > 0;',
  }),
  iommu('tables are freed before they are flushed', 'paging-domain.ts', {
    find: "    yield 'iommu: unmapped';\n",
    replace: "    this.#table.freeTables(tables.splice(0));\n    yield 'iommu: unmapped';\n",
  }),
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
  iommu('a command by register is not waited for', 'vtd/register-invalidations.ts', {
    find: 'if (IOTLB_REG.IVT.get(now, 0) === 0) return',
    replace: 'if (IOTLB_REG.IVT.get(now, 0) >= 0) return',
  }),
  iommu('addresses for DMA are not aligned', 'iova.ts', {
    find: 'Math.floor((top - count + 1) / align) * align',
    replace: 'top - count + 1',
  }),
  iommu('a device that goes is detached from one PASID alone', 'remove.ts', {
    find: 'for (const pasid of pasids) {',
    replace: 'for (const pasid of pasids.slice(0, 1)) {',
  }),
  iommu('a device that goes leaves its PASIDs in the cache', 'vtd/unit.ts', {
    find: 'const flushes = [inv.flushContext(device.rid, NO_DID), inv.flushPasids()];',
    replace: 'const flushes: Int32Array[] = [];',
  }),
  iommu('an attachment is detached twice at once', 'core.ts', {
    find: '    while (detaching.value) yield changed;\n',
    replace: '',
  }),
  iommu('the parts of a split page have not its marks', 'io-page-table.ts', {
    find: '      this.#entry.set(leaf);\n',
    replace: '      this.#entry.set(leaf);\n      format.clearDirty(this.#entry);\n',
  }),
  iommu('dirty pages are told without a flush', 'paging-domain.ts', {
    find: '    return (yield* this.#flush(dirty)) ?? dirty;\n',
    replace: '    return dirty;\n',
  }),
  iommu('entries that change are not flushed', 'vtd/unit.ts', {
    find: "    yield 'vtd: entries have changed';\n",
    replace: "    yield 'vtd: entries have changed';\n    flushes.length = 0;\n",
  }),
  iommu('what is built on a domain is not told of its change', 'vtd/cache-tags.ts', {
    find: 'const nested = this.#nested.get(domain)?.values() ?? [];',
    replace: 'const nested = this.#nested.get(this)?.values() ?? [];',
  }),
  iommu('what hardware did not confirm is taken for muted', 'core.ts', {
    find: "entry.value = mute && refusal === undefined ? 'muted' : 'none';",
    replace: "entry.value = mute ? 'muted' : 'none';",
  }),
  iommu('only one of several units is told of a change', 'change.ts', {
    find: '      first ??= unconfirmed;\n',
    replace: '      if (unconfirmed !== undefined) return unconfirmed;\n',
  }),
  iommu('what was not confirmed is not asked for again', 'paging-domain.ts', {
    find: '      if (taken.ranges.length > 0) this.#doubts.push(taken);\n',
    replace: '',
  }),
  {
    ...iommu('page requests of a PASID that ends stay in the queue of the unit (E4)', 'page-requests.ts', {
      find: '    if (device.pri) yield* device.driver.drainPageRequests(device, pasid);\n',
      replace: '',
    }),
    tests: ['test/vfio'],
  },
  iommu('an overflow of page requests leaves unfinished groups', 'vtd/page-request-queue.ts', {
    find: '    this.#sink.lost();\n',
    replace: '',
  }),
  iommu('an answer that nobody waited for stays in the fault status', 'vtd/faults.ts', {
    find: 'const SERVED = [PFO, PPF, IQE, ICE, ITE];',
    replace: 'const SERVED = [PFO, PPF, IQE, ITE];',
  }),
  iommu('faults are taken from each record once', 'vtd/faults.ts', {
    find: 'this.#report(FRI.get(status, 0));',
    replace: 'this.#report(FRI.get(status, 0));\n      if (ITE.get(status, 0) === 0) return;',
  }),
];
