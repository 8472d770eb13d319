/**
 * Single faults on the way of a guest's PASID: under some seed of a scenario with virtual machines a rule is broken by
 * each, and its message alone says what happened. E4, page requests that nobody flushes, needs a device that does not
 * wait for its answers: test/vfio has one.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 100;
const TIMEOUT = 120_000;

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Fault & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'B8: KVM does not switch PASID translation on',
    scenario: 'late-kvm',
    file: 'kernel/kvm/vm.ts',
    find: '    for (const { port } of this.#vcpus.items) port.setPasidTranslation(translation.table);\n',
    replace: '',
    rule: 'OWNER',
    message:
      /took job copy-\w of vm1\/\w+, submitted to dsa0\/shared at step \d+, with PASID \d+, which was never given to anybody: vm1\/\w+'s own is \d+$/,
  },
  {
    name: 'the host answers nothing for a guest that goes',
    scenario: 'silent-guest',
    file: 'kernel/iommu/page-requests.ts',
    find: 'return yield* this.#answer(device.driver, request, response);',
    replace:
      "return response === 'invalid request' ? undefined : yield* this.#answer(device.driver, request, response);",
    rule: 'PROGRESS',
    message:
      /this has not come to an end: job stuck of mute\/mallory, submitted to dsa0\/shared at step \d+; .*page group \d+ of dsa0 for PASID \d+, page 0x\w+, asked for at step \d+/,
  },
  {
    name: 'H1: a wide invalidation finds no new entries',
    scenario: 'wide-flush',
    file: 'vmm/iommu/host-work.ts',
    find: 'const places = this.#places(scope);',
    replace:
      'const places = this.#places(scope).filter((at) => "pasid" in scope || this.#parts.bindings.get(at.rid, at.guestPasid));',
    rule: 'MAPPING',
    message:
      /dsa0 is bound to vm1\/\w+, guest PASID \d+, which PASID \d+ backs; the set of its virtual machine has it for none, KVM's table for none$/,
  },
  {
    name: 'H3: a PASID cache invalidation is ignored',
    scenario: 'two-vms-one-swq',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'return this.#work.compare(pasid === undefined ? {} : { pasid });',
    replace: 'return pasid === undefined && this.#work.compare({});',
    rule: 'MAPPING',
    message:
      /dsa0 is bound to vm\d\/\w+, guest PASID \d+, which PASID \d+ backs; the set of its virtual machine has it for none, KVM's table for none$/,
  },
  {
    name: 'H4: what is bound outlives a reset',
    scenario: 'wide-flush',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'for (const pair of this.#pasids.retire()) this.#retired.push(pair);\n    this.#compareAll();',
    replace: '',
    rule: 'COUNT',
    message: /vm1 was reset, and has not given back: PASID \d of vm1\/\w+, guest PASID [\d-]+(; .*)?$/,
  },
  {
    name: 'an IOTLB invalidation stays in the virtual unit',
    scenario: 'two-vms-one-swq',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'return this.#work.invalidate(operation.of);',
    replace: 'return false;',
    rule: 'CLEAN',
    message:
      /frame 0x\w+, vm\d\/\w+'s page 0x\w+, is given back, and a way to it is still there: the IOTLB, domain \d+, page 0x\w+/,
  },
  {
    name: 'a device TLB invalidation stays in the virtual unit',
    scenario: 'two-vms-one-swq',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'return this.#work.invalidateDevice(operation.invalidation);',
    replace: 'return false;',
    rule: 'CLEAN',
    message:
      /frame 0x\w+, vm\d\/\w+'s page 0x\w+, is given back, and a way to it is still there: dsa0's device TLB, page 0x\w+/,
  },
  {
    name: 'KVM keeps an entry',
    scenario: 'two-vms-one-swq',
    file: 'kernel/kvm/pasids.ts',
    find: '    this.table.clear(guest);\n    tell(',
    replace: '    tell(',
    rule: 'CLEAN',
    message:
      /PASID \d+ of vm\d\/\w+ is given back, and is still there: KVM's table of vm\d, guest PASID \d+$/,
  },
  {
    name: 'KVM translates a number to itself',
    scenario: 'two-vms-one-swq',
    file: 'kernel/kvm/pasid-table.ts',
    find: 'PASID.set(this.#entry, 0, host);',
    replace: 'PASID.set(this.#entry, 0, guest);',
    rule: 'MAPPING',
    message:
      /which PASID (\d+) backs; the set of its virtual machine has it for \1, KVM's table for (?!\1)\d+$/,
  },
  {
    name: 'B1: the device is drained of another number',
    scenario: 'two-vms-one-swq',
    file: 'kernel/vdcm/shared.ts',
    find: 'this.#parent.quiesceGuest(pasid, isAbandoned',
    replace: 'this.#parent.quiesceGuest(Pasid.of(pasid ^ 1), isAbandoned',
    rule: 'FAULTS',
    message:
      /dmar0 reported SPT\.2 of dsa0 for PASID 202, which (is|was) vm1\/alice's, guest PASID 101, (since|until) step \d+: a \w+ at 0x\w+: PASID table entry not present; on dsa0 then: job last\d of vm1\/alice/,
  },
  {
    name: 'KVM forgets the frames of its table',
    scenario: 'two-vms-one-swq',
    file: 'kernel/kvm/pasids.ts',
    find: '    this.table.free();\n  }\n\n  /** Whether the pair',
    replace: '  }\n\n  /** Whether the pair',
    rule: 'COUNT',
    message:
      /all processes are gone, and page frames of them are in use: frame 0x\w+, the kernel's \(PASID translation of vm1\)$/,
  },
  {
    name: 'B10: KVM does not wait for a vCPU that is in the middle of ENQCMD',
    scenario: 'hostile',
    file: 'kernel/kvm/pasids.ts',
    find: 'if (!this.#vm.isBusy()) {',
    replace: 'if (this.#vm.name !== undefined) {',
    rule: 'OWNER',
    message: /took job mischief of evil\/guest, submitted to dsa0\/shared at step \d+, with PASID \d+, /,
  },
  {
    name: 'D4: a nested entry goes with a flush by PASID alone',
    scenario: 'two-vms-one-swq',
    file: 'kernel/iommu/vtd/cache-tags.ts',
    find: "return type === 'second-stage' || type === 'nested';",
    replace: "return type === 'second-stage';",
    rule: 'CLEAN',
    message:
      /frame 0x\w+, the kernel's \(page table of vm1\), is given back, and a way to it is still there: the paging-structure caches, domain \d+/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding(fault, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
