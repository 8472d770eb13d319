/**
 * Single faults of auxiliary domains, after those that were found in code of its kind: under some seed of `aux-domain`
 * a rule is broken by each, and its message alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 60;
const TIMEOUT = 120_000;
const AUX = 'kernel/iommu/aux-domain.ts';

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Omit<Fault, 'scenario'> & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'a queue of a guest that uses no PASIDs has none on the device (G2)',
    file: 'kernel/vdcm/dedicated.ts',
    find: 'this.#wq.configure(held.host);',
    replace: 'this.#wq.configure(held.guest === undefined ? undefined : held.host);',
    rule: 'ISOLATION',
    message:
      /dsa0 (read|wrote) \d+ bytes at 0x\w+ for PASID -1 \(job copy\d of vm\d\/kernel, submitted to dsa0\/\w+ at step \d+\), (from|into) frame 0x\w+, .*: a way out of vm\d into the host$/,
  },
  {
    name: 'the same, by whose the PASID is',
    file: 'kernel/vdcm/dedicated.ts',
    find: 'this.#wq.configure(held.host);',
    replace: 'this.#wq.configure(held.guest === undefined ? undefined : held.host);',
    rule: 'OWNER',
    message:
      /dsa0\/\w+ took job copy\d of vm\d\/kernel, .*, which was never given to anybody: vm\d\/kernel's own is \d+$/,
  },
  {
    name: 'a default PASID is not given back',
    file: AUX,
    find: '    ioasidFree(this.set, pasid);\n',
    replace: '',
    rule: 'COUNT',
    message: /vm1 is gone, and the host has not everything back: PASID \d+ of vm1\/kernel, guest PASID -$/,
  },
  {
    name: 'the first part of two that goes takes the entry away',
    file: AUX,
    find: `      if (parent.users.value === 1) {
        const refusal = yield* this.#iommu.detach(parent.attachment);
        if (refusal !== undefined) return refusal;
        this.#parents.delete(device);
`,
    replace: `      if (parent.attachment.entry === 'present') {
        const refusal = yield* this.#iommu.detach(parent.attachment);
        if (refusal !== undefined) return refusal;
      }
      if (parent.users.value === 1) this.#parents.delete(device);
      {
`,
    rule: 'ORDER',
    message:
      /dsa0\/two took job last of vm1\/kernel, .*, with PASID \d+, for which dsa0's IOMMU has no entry: it has to be valid before the queue can be reached, and as long as it can$/,
  },
  {
    name: 'what a guest invalidates without a PASID is not invalidated',
    file: 'vmm/iommu/host-work.ts',
    find: 'if (guestPasid === WITHOUT) return without.bound;',
    replace: 'if (guestPasid === WITHOUT) return [];',
    rule: 'CLEAN',
    message:
      /frame 0x\w+, the kernel's \((buffer|completion record).*\), is given back, and a way to it is still there: (dsa0's device TLB|the IOTLB)/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding({ ...fault, scenario: 'aux-domain' }, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});
