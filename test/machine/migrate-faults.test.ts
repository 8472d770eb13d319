/**
 * Single faults of a virtual machine that goes to another VMM: under some seed of its scenario a rule is broken by
 * each, and its message alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 40;
const TIMEOUT = 120_000;

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Omit<Fault, 'scenario'> & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: "the host's PASIDs are taken along in place of the guest's",
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'pasids: this.#pasids.all,',
    replace: 'pasids: this.#pasids.all.map((each) => this.hostPasidOf(each) ?? 0),',
    rule: 'MAPPING',
    message:
      /: vm1 went from vm1 to vm1-there with guest PASID 101 of vm1\/alice, which PASID 202 backed there, and no other backs here; the set of its virtual machine has it for none, KVM's table for none$/,
  },
  {
    name: 'one PASID is not bound anew',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'for (const guestPasid of state.pasids) {',
    replace: 'for (const guestPasid of state.pasids.slice(1)) {',
    rule: 'MAPPING',
    message: /: vm1 went from vm1 to vm1-there with guest PASID 101 of vm1\/alice, .* has it for none/,
  },
  {
    name: 'nothing is bound anew before the guest asks for it',
    file: 'vmm/iommu/virtual-iommu.ts',
    find: 'this.#root.value = state.root;\n    this.#compareAll();',
    replace: 'this.#root.value = state.root;',
    rule: 'UNDONE',
    message:
      /: host was refused migrate vm1 to \w+ with EIO \(guest PASID \d+ of 00:0\d.0 could not be bound anew\)/,
  },
  {
    name: "the source's set is not freed",
    file: 'vmm/migration/migrate.ts',
    find: '  yield* source.destroy();\n',
    replace: '',
    rule: 'COUNT',
    message:
      /: vm1 is gone, and the host has not everything back: \d+ page frames of its memory; its set of PASIDs; \d+ PASIDs of its quota of 8; PASID 1; and \d+ more$/,
  },
  {
    name: 'devices go on while the machine stands still, and nobody submits again what they had (B5)',
    file: 'kernel/vdcm/mdev.ts',
    find: 'return yield* this.#queue.disable(false);',
    replace: 'return undefined;',
    rule: 'ISOLATION',
    message:
      /: dsa0 wrote \d+ bytes at 0x\w+ for PASID \d+ \(job .* of vm1\/\w+, .*\), into frame 0x\w+, which is vm1's page/,
  },
  {
    name: 'memory is copied in part',
    file: 'vmm/migration/machine-state.ts',
    find: 'ram.write(gfn * FRAME_BYTES, bytes);',
    replace: 'ram.write(gfn * FRAME_BYTES, bytes.subarray(0, 2048));',
    rule: 'MAPPING',
    message:
      /: vm1 went from vm1 to vm1-there with guest PASID 101 of vm1\/alice, .* 505 backs here; .* has it for none/,
  },
  {
    name: 'a device is not told what its queue was',
    file: 'kernel/vdcm/mdev.ts',
    find: '    this.#registers.load(state.registers);\n',
    replace: '',
    rule: 'PROGRESS',
    message: /: nobody can go on: vm1: vm1\/alice waits for job a\d;/,
  },
  {
    name: 'the CPUs begin with nothing loaded',
    file: 'vmm/migration/machine-state.ts',
    find: 'if (saved !== undefined) vcpu.load(saved);',
    replace: '',
    rule: 'FAULTS',
    message: /: vm1\/\w+ was killed by SIGSEGV; the scenario does not say so$/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding({ ...fault, scenario: 'migrate' }, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
