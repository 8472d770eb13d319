/**
 * Single faults about whole functions, after those that were found in code of their kind (B9 among them): under some
 * seed of `pf-and-adi`, or of `pf-and-adi-both-numbers`, a rule is broken by each, and its message alone says what
 * happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 600;
const TIMEOUT = 120_000;

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Fault & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'the guest is not told that it has no shared queues (B9)',
    scenario: 'pf-and-adi',
    file: 'vmm/assigned.ts',
    find: "hasSharedMode: sharedQueues !== 'refused'",
    replace: 'hasSharedMode: true',
    rule: 'UNDONE',
    message: /vm1\/carol did open whole\/common; the scenario says that it is refused with EINVAL$/,
  },
  {
    name: 'a shared queue with both numbers has the entries of one (B9)',
    scenario: 'pf-and-adi-both-numbers',
    file: 'vmm/assigned.ts',
    find: 'takesBothNumbers: both !== undefined',
    replace: 'takesBothNumbers: false',
    rule: 'FAULTS',
    message:
      /dmar0 reported SP[DT]\.2 of dsa1 for PASID 201, which is vm1\/alice's, guest PASID 101, .*: PASID \w+ entry not present; on dsa1 then: job by-host-number of vm1\/alice/,
  },
  {
    name: 'the table of a whole function is indexed by the number of the host',
    scenario: 'pf-and-adi',
    file: 'kernel/iommu/guest/entries.ts',
    find: 'endpoint.usesParentPasids ? hostPasid : guestPasid',
    replace: 'endpoint.usesParentPasids ? hostPasid : hostPasid',
    rule: 'ORDER',
    message:
      /dsa1\/one took job copy-b of vm1\/bob, .*, with guest PASID 202 \(host 303\), for which dsa1's IOMMU has no entry/,
  },
  {
    name: 'nobody resets the function of a machine that is killed',
    scenario: 'pf-and-adi',
    file: 'vmm/assigned.ts',
    find: '  *quiesce(): Task {\n    yield* this.#whole.reset();\n',
    replace: '  *quiesce(): Task {\n',
    rule: 'FAULTS',
    message:
      /dmar0 reported SPT\.2 of dsa1 for guest PASID 202 \(host 303\), which is vm1\/bob's, .*: PASID table entry not present; on dsa1 then: job last\d of vm1\/bob/,
  },
  {
    name: 'an invalidation is for one of two numbers',
    scenario: 'pf-and-adi-both-numbers',
    file: 'kernel/iommu/guest/space.ts',
    find: 'for (const entry of [...binding.entries.items]) {\n        const attachment = entry.attachment;\n        while',
    replace:
      'for (const entry of [...binding.entries.items].slice(0, 1)) {\n        const attachment = entry.attachment;\n        while',
    rule: 'CLEAN',
    message:
      /frame 0x\w+, vm1\/\w+'s page 0x\w+, is given back, and a way to it is still there: .*(the IOTLB|dsa1's device TLB)/,
  },
  {
    name: 'an unbind clears one of two entries',
    scenario: 'pf-and-adi-both-numbers',
    file: 'kernel/iommu/guest/entries.ts',
    find: 'for (const entry of [...binding.entries.items]) {\n      const device',
    replace: 'for (const entry of [...binding.entries.items].slice(0, 1)) {\n      const device',
    rule: 'CLEAN',
    message:
      /(vm1\/alice has let go of dsa1\/own, .* PASID 201|PASID 201 of vm1\/alice is given back, and) is still there: dsa1's PASID table entry, which is present/,
  },
  {
    name: 'a drain of the guest is by its own number alone',
    scenario: 'pf-and-adi-both-numbers',
    file: 'vmm/both-numbers.ts',
    find: 'host !== undefined && host !== guest && isIdle',
    replace: 'host !== undefined && host === guest && isIdle',
    rule: 'ORDER',
    message:
      /dsa1\/common is closed for vm1\/alice, and still works for it: job late of vm1\/alice, .*; it has to be drained before$/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding(fault, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
