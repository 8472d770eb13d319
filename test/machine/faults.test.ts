/**
 * Single faults in driver and hardware: under some seed of `native-sva` a rule is broken by each, and its message
 * alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 400;
const TIMEOUT = 120_000;

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Fault & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'an unmap does not flush the IOTLB',
    file: 'kernel/iommu/vtd/cache-tags.ts',
    find: 'for (const pasid of pasids) {',
    replace: 'for (const pasid of pasids.slice(0, 0)) {',
    rule: 'ISOLATION',
    message:
      /^step \d+: dsa1 (wrote|read) \d+ bytes at 0x7f000000[78]000 for PASID \d \(job chased of alice, submitted to dsa1\/shared at step \d+\), into frame 0x\w+, which is .* since step \d+: it was alice's page 0x7f000000[78]000 until step \d+, and a translation of it is still in the IOTLB, domain \d/,
  },
  {
    name: 'an unmap does not flush the device TLBs',
    file: 'kernel/iommu/vtd/cache-tags.ts',
    find: 'for (const { device, pasid } of devices) {',
    replace: 'for (const { device, pasid } of devices.slice(0, 0)) {',
    rule: 'ISOLATION',
    message:
      /\(job chased of alice, .*: it was alice's page 0x7f000000[78]000 until step \d+, and a translation of it is still in dsa1's device TLB, which has to forget it before the frame is free$/,
  },
  {
    name: 'an unmap frees its frames before it flushes',
    file: 'kernel/mm/address-space.ts',
    find: '        const isFree = yield* this.#flush(gone.first, gone.last);\n        if (isFree) this.#freePages(gone, led);\n        else this.#lose(gone);',
    replace: '        this.#freePages(gone, led);\n        yield* this.#flush(gone.first, gone.last);',
    rule: 'ISOLATION',
    message:
      /\(job chased of alice, .* into frame 0x\w+, which is free since step \d+: it was alice's page 0x7f000000[78]000 until step \d+, and a translation of it is still in /,
  },
  {
    name: 'an unbind does not flush the device TLB',
    file: 'kernel/iommu/vtd/unit.ts',
    find: '    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));\n',
    replace: '',
    rule: 'ISOLATION',
    message:
      /^step \d+: dsa\d wrote \d+ bytes at 0x\w+ for PASID \d \(job \w+ of \w+, .*: it was \w+'s page 0x\w+ until step \d+, and a translation of it is still in dsa\d's device TLB/,
  },
  {
    name: 'an unbind does not flush the PASID cache',
    file: 'kernel/iommu/vtd/unit.ts',
    find: '[this.#entryFlush(device, pasid, did), this.#tags.ofEntry(domain, pasid)];\n    if',
    replace: '[this.#tags.ofEntry(domain, pasid)];\n    if',
    rule: 'CLEAN',
    message:
      /^step \d+: (PASID \d of \w+ is given back|alice has let go of .*), and( PASID \d)? is still there: the PASID cache, for dsa\d$/,
  },
  {
    name: 'a fork keeps the PASID',
    file: 'kernel/process.ts',
    find: '    for (const fd of parent.files.keys()) {',
    replace:
      '    child.mainThread.change().pasidImage = parent.mainThread.pasidImage;\n    for (const fd of parent.files.keys()) {',
    rule: 'OWNER',
    message:
      /^step \d+: dsa0\/shared took job forged of eve, submitted to dsa0\/shared at step \d+, with PASID \d, which is bob's since step \d+: eve has no PASID and may submit nothing$/,
  },
  {
    name: 'a fork keeps the portal of a dedicated queue, and submits as its parent (G1)',
    file: 'kernel/idxd/wq-files.ts',
    find: 'inherited: !file.wq.isDedicated',
    replace: 'inherited: true',
    rule: 'OWNER',
    message:
      /^step \d+: mallory did submit stolen \(fill\) to dsa0\/own; the scenario says that it is killed for that$/,
  },
  {
    name: 'a page answer goes to the wrong group',
    file: 'kernel/iommu/vtd/unit.ts',
    find: 'inv.groupResponse({ rid, pasid, group, code: CODES[response] })',
    replace: 'inv.groupResponse({ rid, pasid, group: group ^ 1, code: CODES[response] })',
    rule: 'FAULTS',
    message:
      /^step \d+: dsa0 was answered page group 1 of PASID \d, which is bob's since step \d+, with code 0, and waits for no such group$/,
  },
  {
    name: 'a close does not drain the device',
    file: 'kernel/idxd/wq-files.ts',
    find: '    yield* this.#quiesce(file);\n',
    replace: '',
    rule: 'CLEAN',
    message:
      /^step \d+: PASID \d of bob is given back, and is still there: dsa0's work queue 1, whose configuration has it/,
  },
  {
    name: 'a close drains another PASID',
    file: 'kernel/idxd/device.ts',
    find: 'this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid)',
    replace: 'this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid + 1)',
    rule: 'FAULTS',
    message:
      /^step \d+: dmar0 reported SPT\.2 of dsa\d for PASID \d, which is \w+'s since step \d+: .*: PASID table entry not present; on dsa\d then: job \w+ of \w+, submitted to dsa\d\/shared at step \d+; the scenario earns no such fault$/,
  },
  {
    name: 'an unbind keeps its reference',
    file: 'kernel/iommu/sva.ts',
    find: "      ioasidPut(this.#set, pasid, device.holder);\n      tell(this.#context, 'sva:unbind'",
    replace: "      tell(this.#context, 'sva:unbind'",
    rule: 'COUNT',
    message:
      /^step \d+: all processes are gone, and PASIDs are not given back \(3\): PASID 1 of \w+; PASID 2 of \w+; PASID 3 of carol$/,
  },
  {
    name: 'an entry is zeroed while it is present',
    file: 'kernel/iommu/vtd/entry-tables.ts',
    find: '    this.#entry.P.set(words, 0, 0);\n',
    replace:
      '    for (let word = 2; word < 16; word += 2) this.store(at, new Int32Array(16), word);\n    words.fill(0);\n',
    rule: 'TORN',
    message:
      /^step \d+: memory holds dsa\d's entry of PASID \d, which is \w+'s since step \d+, with the root 0x0, which nobody ever owned; the entry was P=1 PGTT=first-stage$/,
  },
  {
    name: 'a CPU keeps the PASID of a thread that is gone',
    file: 'kernel/cpus.ts',
    find: 'port.writePasidMsr(next?.pasidImage ?? PASID_INIT);',
    replace: 'if (next !== undefined) port.writePasidMsr(next.pasidImage);',
    rule: 'CLEAN',
    message: /^step \d+: PASID \d of \w+ is given back, and is still there: cpu\d's IA32_PASID$/,
  },
  {
    name: 'a device answers an invalidation before its requests are done',
    file: 'hardware/dsa/invalidations.ts',
    find: 'if (engines === 0) this.#done',
    replace: 'if (engines >= 0) this.#done',
    rule: 'ISOLATION',
    message:
      / which is .* since step \d+: it was \w+'s page 0x\w+ until step \d+, and dsa\d went on with a translation from before, which an invalidation has to wait for$/,
  },
  {
    name: 'an IOTLB invalidation of pages leaves the first one',
    file: 'hardware/vtd/unit-caches.ts',
    find: 'this.iotlb.removePages(domain, pasid, run);',
    replace: 'this.iotlb.removePages(domain, pasid, { ...run, page: run.page + run.pages });',
    rule: 'ISOLATION',
    message:
      /^step \d+: dsa1 (wrote|read) .* until step \d+, and a translation of it is still in the IOTLB, domain \d/,
  },
  {
    name: 'a device reports success one piece too early',
    file: 'hardware/dsa/moves.ts',
    find: 'now.done < now.size) return status;',
    replace: 'now.done * 2 < now.size) return status;',
    rule: 'UNDONE',
    message:
      /^step \d+: alice finds 0x00 at 0x7f0000003000 in its region copy, where 0x6f \(o\) has to be: a job said success, and its bytes are not there$/,
  },
  {
    name: 'an unmap leaves the device TLB of the second device',
    file: 'kernel/iommu/vtd/cache-tags.ts',
    find: 'for (const { device, pasid } of devices) {',
    replace: 'for (const { device, pasid } of devices.slice(0, 1)) {',
    rule: 'CLEAN',
    message:
      /^step \d+: frame 0x\w+, alice's page 0x7f000000[78]000, is given back, and a way to it is still there: dsa1's device TLB, page 0x7f000000[78]000/,
  },
  {
    name: 'memory that goes takes away one entry of two',
    file: 'kernel/iommu/sva.ts',
    find: 'for (const attachment of [...this.attachments.items]) {',
    replace: 'for (const attachment of [...this.attachments.items].slice(0, 1)) {',
    rule: 'CLEAN',
    message:
      /^step \d+: frame 0x\w+, (bob's page 0x\w+|the kernel's \(page table of bob\)), is given back, and a way to it is still there: dsa1's /,
  },
  {
    name: 'an entry is stored from its first word on',
    file: 'kernel/iommu/vtd/entry-tables.ts',
    find: '    for (let word = 2; word < words.length; word += 2) this.store(at, words, word);\n',
    replace: '    for (let word = 0; word < words.length; word += 2) this.store(at, words, word);\n',
    rule: 'TORN',
    message:
      /^step \d+: memory holds dsa0's entry of PASID 1, which is bob's since step \d+, with the root 0x0, which nobody ever owned; the entry was P=1 PGTT=first-stage$/,
  },
  {
    name: 'a page that cannot be had is said to be there',
    file: 'kernel/iommu/page-requests.ts',
    find: "response = 'invalid request';\n      }\n",
    replace: "response = 'success';\n      }\n",
    rule: 'UNDONE',
    message:
      /^step \d+: dsa\d was told that the page of group \d+, 0x\w+ of PASID \d, is there, and bob has had none since it was asked for at step \d+$/,
  },
  {
    name: 'a queue holds one too many',
    file: 'hardware/dsa/work-queue.ts',
    find: 'return this.#now.count < Math.min',
    replace: 'return this.#now.count <= Math.min',
    rule: 'UNDONE',
    message:
      /^step \d+: dsa1\/shared took job \w+ of \w+, .*, and has room for 1, with 1 engine\(s\) to take from it/,
  },
  {
    name: 'a completion record goes to the next slot',
    file: 'hardware/dsa/completion.ts',
    find: 'this.#buffers.locate(RECORD_SLOT, RECORD_ADDRESS_WORD, 0);',
    replace: 'this.#buffers.locate(RECORD_SLOT, RECORD_ADDRESS_WORD, 64);',
    rule: 'ISOLATION',
    message:
      /^step \d+: dsa0 wrote 32 bytes at 0x\w+[4c]0 for PASID \d \(job .*\), and the descriptor has it write .*32 bytes at 0x\w+[08]0$/,
  },
  {
    name: 'a close leaves the portal mapped',
    file: 'kernel/idxd/wq-files.ts',
    find: '    yield* binding.mm.unmapPortals(file);\n',
    replace: '',
    rule: 'OWNER',
    message:
      /^step \d+: carol did submit late \(noop\) to dsa1\/shared; the scenario says that it is killed for that$/,
  },
  {
    name: 'an entry that is taken away is not written back',
    file: 'kernel/iommu/vtd/entry-tables.ts',
    find: 'P.set(words, 0, 0);\n    this.#entry.FPD.set(words, 0, mute ? 1 : 0);\n    this.store(at, words, 0);\n    this.writeBack(at, this.#entry.bytes);\n',
    replace:
      'P.set(words, 0, 0);\n    this.#entry.FPD.set(words, 0, mute ? 1 : 0);\n    this.store(at, words, 0);\n',
    isWrittenBack: true,
    rule: 'CLEAN',
    message:
      /^step \d+: frame 0x\w+, \w+'s page 0x\w+, is given back, and a way to it is still there: .*dsa\d's device TLB, page 0x\w+/,
  },
  {
    name: 'a leaf of a process is not written back',
    file: 'kernel/mm/page-table.ts',
    find: '    if (this.#isWrittenBack) memory.flush(at, ENTRY_BYTES);\n',
    replace: '',
    isWrittenBack: true,
    rule: 'PROGRESS',
    message: /^step \d+: nobody can go on: .*waits for job /,
  },
  {
    name: 'an entry that is there is not written back',
    file: 'kernel/iommu/vtd/entry-tables.ts',
    find: '    this.store(at, words, 0);\n    this.writeBack(at, words.length * 4);\n',
    replace: '    this.store(at, words, 0);\n',
    isWrittenBack: true,
    rule: 'FAULTS',
    message: /^step \d+: dmar0 reported S\w+\.2 of dsa\d for PASID \d, .* entry not present; /,
  },
];

beforeAll(copySound, TIMEOUT);

it('without a fault no rule is broken', { timeout: TIMEOUT }, () => {
  expect(firstFinding(undefined, 20)).toBeUndefined();
});

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding(fault, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
