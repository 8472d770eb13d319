/**
 * Single faults in driver and hardware: under some seed of `native-sva` a rule is broken by each, and its message
 * alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 400;
const TIMEOUT = 120_000;

/** With the rule that is broken first, and what its message says. */
const FAULTS: (Fault & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'an unmap does not flush the IOTLB',
    file: 'kernel/iommu/vtd/unit.ts',
    find: 'flushes.push(byPages ? inv.flushPages({ did, pasid }, block) : inv.flushPasidIotlb(did, pasid));',
    replace: '',
    rule: 'ISOLATION',
    message: /./,
  },
  {
    name: 'an unmap does not flush the device TLBs',
    file: 'kernel/iommu/vtd/unit.ts',
    find: 'if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid, block));',
    replace: '',
    rule: 'ISOLATION',
    message: /./,
  },
  {
    name: 'an unmap frees its frames before it flushes',
    file: 'kernel/mm/address-space.ts',
    find: '        yield* this.#flush(gone.first, gone.last);\n        this.#freePages(gone, leaves);',
    replace: '        this.#freePages(gone, leaves);\n        yield* this.#flush(gone.first, gone.last);',
    rule: 'ISOLATION',
    message: /./,
  },
  {
    name: 'an unbind does not flush the device TLB',
    file: 'kernel/iommu/vtd/unit.ts',
    find: '    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));\n',
    replace: '',
    rule: 'CLEAN',
    message: /./,
  },
  {
    name: 'an unbind does not flush the PASID cache',
    file: 'kernel/iommu/vtd/unit.ts',
    find: '    flushes.push(inv.flushPasid(did, pasid));\n    flushes.push(inv.flushPasidIotlb(did, pasid));',
    replace: '    flushes.push(inv.flushPasidIotlb(did, pasid));',
    rule: 'CLEAN',
    message: /./,
  },
  {
    name: 'a fork keeps the PASID',
    file: 'kernel/process.ts',
    find: '    for (const fd of parent.files.keys()) {',
    replace:
      '    child.mainThread.pasidImage.value = parent.mainThread.pasidImage.value;\n    for (const fd of parent.files.keys()) {',
    rule: 'OWNER',
    message: /./,
  },
  {
    name: 'a fork keeps the portal of a dedicated queue',
    file: 'kernel/idxd/device.ts',
    find: 'inherited: !file.wq.isDedicated',
    replace: 'inherited: true',
    rule: 'OWNER',
    message: /./,
  },
  {
    name: 'a page answer goes to the wrong group',
    file: 'kernel/iommu/vtd/unit.ts',
    find: 'inv.groupResponse({ rid, pasid, group, code: CODES[response] })',
    replace: 'inv.groupResponse({ rid, pasid, group: group ^ 1, code: CODES[response] })',
    rule: 'FAULTS',
    message: /./,
  },
  {
    name: 'a close does not drain the device',
    file: 'kernel/idxd/device.ts',
    find: '    yield* this.#quiesce(file);\n',
    replace: '',
    rule: 'CLEAN',
    message: /./,
  },
  {
    name: 'an unbind keeps its reference',
    file: 'kernel/iommu/sva.ts',
    find: "      ioasidPut(this.#set, pasid, device.holder);\n      tell(this.#context, 'sva:unbind'",
    replace: "      tell(this.#context, 'sva:unbind'",
    rule: 'COUNT',
    message: /./,
  },
  {
    name: 'an entry is zeroed while it is present',
    file: 'kernel/iommu/vtd/tables.ts',
    find: '    PASID_TABLE_ENTRY.P.set(words, 0, 0);\n',
    replace:
      '    for (let word = 2; word < words.length; word += 2) this.#store(at, new Int32Array(16), word);\n    words.fill(0);\n',
    rule: 'TORN',
    message: /./,
  },
  {
    name: 'a CPU keeps the PASID of a thread that is gone',
    file: 'kernel/cpus.ts',
    find: 'port.writePasidMsr(next?.pasidImage.value ?? PASID_INIT);',
    replace: 'if (next !== undefined) port.writePasidMsr(next.pasidImage.value);',
    rule: 'CLEAN',
    message: /./,
  },
  {
    name: 'a device answers an invalidation before its requests are done',
    file: 'hardware/dsa/invalidations.ts',
    find: 'if (engines === 0) this.#done',
    replace: 'if (engines >= 0) this.#done',
    rule: 'ISOLATION',
    message: /./,
  },
  {
    name: 'an IOTLB invalidation of pages leaves the first one',
    file: 'hardware/vtd/translator.ts',
    find: 'this.iotlb.removePages(domain, pasid, page, pages);',
    replace: 'this.iotlb.removePages(domain, pasid, page + pages, pages);',
    rule: 'ISOLATION',
    message: /./,
  },
  {
    name: 'a device reports success one piece too early',
    file: 'hardware/dsa/engine.ts',
    find: 'else if (now.done === now.size)',
    replace: 'else if (now.done * 2 >= now.size)',
    rule: 'UNDONE',
    message: /./,
  },
];

beforeAll(copySound, TIMEOUT);

it('without a fault no rule is broken', { timeout: TIMEOUT }, () => {
  expect(firstFinding(undefined, 20)).toBeUndefined();
});

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding(fault, SEEDS);
  console.log(fault.name, JSON.stringify(caught, null, 1));
  expect(caught?.findings[0]).toMatchObject({ rule, message: expect.stringMatching(message) });
});
