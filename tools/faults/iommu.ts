/** Faults of the kernel's IOMMU core and of its VT-d driver. */
import { type Fault, faultsIn } from './fault.js';

const iommu = faultsIn('src/kernel/iommu', { tests: ['src/kernel/iommu', 'test/vtd-driver'] });
/** What VFIO's suites have to notice. */
const vfio = faultsIn('src/kernel/iommu', { tests: ['test/vfio'] });

export const IOMMU_FAULTS: readonly Fault[] = [
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
    find: '    while (attachment.detaching) yield attachment.changed;\n',
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
    find: "attachment.change().entry = mute && refusal === undefined ? 'muted' : 'none';",
    replace: "attachment.change().entry = mute ? 'muted' : 'none';",
  }),
  iommu('only one of several units is told of a change', 'change.ts', {
    find: '      first ??= unconfirmed;\n',
    replace: '      if (unconfirmed !== undefined) return unconfirmed;\n',
  }),
  iommu('what was not confirmed is not asked for again', 'paging-domain.ts', {
    find: '      if (taken.ranges.length > 0) this.#doubts.push(taken);\n',
    replace: '',
  }),
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
  vfio('page requests of a PASID that ends stay in the queue of the unit (E4)', 'vtd/unit.ts', {
    find: '    if (drains && !requests.isEmpty) yield* requests.empty();\n',
    replace: '',
  }),
  vfio('those of one that was muted before stay there (E4)', 'page-requests.ts', {
    find: '    if (device.pri) yield* device.driver.drainPageRequests(device, pasid);\n',
    replace: '',
  }),
  vfio(
    'a PASID reaches a queue for which it is not bound, and is not drained there (B10, B11)',
    'guest/tear-down.ts',
    {
      find: '      refusal ??= yield* this.#drainStrays(binding);\n',
      replace: '',
    },
  ),
];
