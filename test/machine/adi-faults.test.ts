/**
 * Single faults of VDCM, of what stands behind it and of the accelerator's driver, after those that were found in code
 * of its kind: under some seed of a scenario with virtual devices, or of an attacker, a rule is broken by each, and its
 * message alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 300;
const TIMEOUT = 120_000;
const DEDICATED = 'kernel/vdcm/dedicated.ts';

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Omit<Fault, 'file'> & {
  readonly file?: string;
  readonly rule: string;
  readonly message: RegExp;
})[] = [
  {
    name: 'the real queue is given the number of the guest (B1)',
    scenario: 'dedicated-adi',
    find: 'this.#wq.configure(held.host);',
    replace: 'this.#wq.configure(Pasid.of(held.guest));',
    rule: 'OWNER',
    message:
      /dsa0\/one took job copy1 of vm1\/alice, submitted to dsa0\/one at step \d+, with PASID 101, which was never given to anybody: vm1\/alice's own is 202$/,
  },
  {
    name: 'the same, where the number is that of a process beside it',
    scenario: 'adi-reset',
    find: 'this.#wq.configure(held.host);',
    replace: 'this.#wq.configure(Pasid.of(held.guest));',
    rule: 'ISOLATION',
    message:
      /dsa0 wrote \d+ bytes at 0x\w+ for PASID 101 \(job fill-b of vm1\/bob, .*, into frame 0x\w+, which is vm1\/alice's page/,
  },
  {
    name: 'the end of a PASID is looked for by the number of the guest (B1)',
    scenario: 'dedicated-adi',
    find: 'return this.#held.value?.host === host;',
    replace: 'return Number(this.#held.value?.guest) === Number(host);',
    rule: 'FAULTS',
    message:
      /dmar0 reported SPT\.2 of dsa0 for PASID 202, which is vm1\/alice's, guest PASID 101, .*: PASID table entry not present; on dsa0 then: job last\d of vm1\/alice/,
  },
  {
    name: 'the end of any PASID lets go of what is held (B2)',
    scenario: 'adi-reset',
    find: 'return this.#held.value?.host === host;',
    replace: 'return this.#held.value !== undefined;',
    rule: 'PROGRESS',
    message: /nobody can go on: .*vm1\/bob waits for job \S+/,
  },
  {
    name: 'work for a PASID that ends gives up where the queue is not enabled (B3)',
    scenario: 'dedicated-adi',
    find: '    yield* this.#letGo(Pasid.of(work.id));\n',
    replace: '    if (!this.#wq.isEnabled) return;\n    yield* this.#letGo(Pasid.of(work.id));\n',
    rule: 'PROGRESS',
    message:
      /nobody can go on: (.* waits for progress of (vm\d) iommu; \2 iommu waits for guest PASID \d+ on \2 vdsa0|host waits for guest PASIDs of vm\d$)/,
  },
  {
    name: 'who is told of the PASIDs of a VM is so when that has been killed (B4)',
    scenario: 'dedicated-adi',
    find: 'if (owner !== undefined) ioasidUnregisterNotifier(owner.subscription);',
    replace: '',
    rule: 'COUNT',
    message:
      /all processes are gone, and who is to be told of a set of PASIDs that is gone is registered still: vdcm vm1 vdsa0/,
  },
  {
    name: 'whatever is bound in its VM is accepted (B11)',
    scenario: 'hostile',
    find: 'if (this.#bound.get(host) === guest) {',
    replace: 'if (guest !== undefined) {',
    rule: 'ORDER',
    message:
      /dsa0\/own took job mischief of evil\/guest, .*, with PASID \d+, for which dsa0's IOMMU has no entry: it has to be valid before the queue can be reached/,
  },
  {
    name: 'the end of a PASID does not disable its queue',
    scenario: 'dedicated-adi',
    find: '        const refusal = yield* this.#disable(this.#isAbandoned());\n        if (refusal !== undefined) return refusal;\n',
    replace: '',
    rule: 'CLEAN',
    message:
      /PASID 202 of vm1\/alice is given back, and is still there: dsa0's work queue 0, whose configuration has it$/,
  },
  {
    name: 'a page request is refused when the one that was asked of two goes',
    scenario: 'adi-reset',
    file: 'kernel/iommu/guest/binding.ts',
    find: 'return this.#give(given.requests, [...given.before, given.to]);',
    replace: 'return false;',
    rule: 'FAULTS',
    message:
      /job copy1 of vm1\/alice on third\/shared ended with invalid-request .*; the scenario says success$/,
  },
  {
    name: 'the PASID of an interrupt entry is changed behind who masks it (B7)',
    file: 'kernel/idxd/interrupt-storage.ts',
    scenario: 'shared-adi',
    find: 'this.#write({ ...this.#control.value, pasid });',
    replace:
      'const before = this.#control.value; this.#write({ ...before, pasid }); this.#control.value = before;',
    rule: 'FAULTS',
    message:
      /job \S+ of vm\d\/\w+ on \S+ ended with error \(status 0x19, interrupt handle, after 0 bytes\); the scenario says success$/,
  },
  {
    name: 'an interrupt entry is given the number of the guest (B1)',
    file: 'kernel/vdcm/interrupts.ts',
    scenario: 'shared-adi',
    find: 'this.#bound.hostOf(hasPasid ? GuestPasid.of(DSA_MSIXPERM.PASID.get(words, 0)) : undefined)',
    replace: 'hasPasid ? DSA_MSIXPERM.PASID.get(words, 0) : undefined',
    rule: 'FAULTS',
    message:
      /job copy\d of vm1\/alice on \S+ ended with error \(status 0x19, interrupt handle, after 0 bytes\); the scenario says success$/,
  },
  {
    name: 'a PASID stays in an interrupt entry when it is drained',
    file: 'kernel/vdcm/mdev.ts',
    scenario: 'shared-adi',
    find: 'if (refusal === undefined) this.interrupts.drained(pasid);',
    replace: '',
    rule: 'CLEAN',
    message:
      /PASID \d+ of vm\d\/\w+ is given back, and is still there: dsa0's message storage entry \d, whose interrupts it may ask for$/,
  },
  {
    name: 'a reset abandons what another virtual device has of the PASID',
    file: 'kernel/vdcm/shared.ts',
    scenario: 'shared-adi',
    find: 'isAbort && !this.#parent.virtual.isShared(pasid)',
    replace: 'isAbort',
    rule: 'PROGRESS',
    message: /nobody can go on: .*vm1\/alice waits for interrupt of \S+ of vm1\/alice/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding({ file: DEDICATED, ...fault }, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
