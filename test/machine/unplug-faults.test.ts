/**
 * Single faults of devices that go and of machines that stand still, after those that were found in code of its kind:
 * under some seed of its scenario a rule is broken by each, and its message alone says what happened.
 */
import { beforeAll, expect, it } from 'vitest';
import { copySound, type Fault, firstFinding } from './fault-copy.js';

const SEEDS = 60;
const TIMEOUT = 120_000;

/** With a rule that is broken under some seed, and what its message says. */
const FAULTS: (Fault & { readonly rule: string; readonly message: RegExp })[] = [
  {
    name: 'what is queued is thrown away when the machine is to stand still (B5)',
    scenario: 'suspend',
    file: 'kernel/vdcm/mdev.ts',
    find: 'return yield* this.#queue.disable(false);',
    replace: 'return yield* this.#queue.disable(true);',
    rule: 'PROGRESS',
    message: /nobody can go on: vm1: vm1\/\w+ waits for job \w+;/,
  },
  {
    name: 'a queue that goes on is given the PASID of the task that resumes it, which has none (B6)',
    scenario: 'suspend',
    file: 'kernel/vdcm/mdev.ts',
    find: 'const error = yield* this.#queue.enable(this.#registers.pasid);',
    replace: 'const error = yield* this.#queue.enable(undefined);',
    rule: 'PROGRESS',
    message: /nobody can go on: vm1: vm1\/\w+ waits for job \w+;/,
  },
  {
    name: 'what is submitted to a portal that is away for a while is lost',
    scenario: 'suspend',
    file: 'kernel/kvm/memory.ts',
    find: "if (this.#held.has(gfn)) return 'later';",
    replace: '',
    rule: 'PROGRESS',
    message: /nobody can go on: vm1: vm1\/\w+ waits for job \w+;/,
  },
  {
    name: 'a device is given back before VFIO has undone what is bound for it',
    scenario: 'unplug',
    file: 'vmm/functions.ts',
    find: '    yield* container.removeDevice(each.vfio);\n',
    replace: '',
    rule: 'PROGRESS',
    message:
      /nobody can go on: .*; not done: job copy1 of vm1\/alice, submitted to dsa0\/shared at step \d+; page group \d+ of dsa0 for PASID 202, /,
  },
  {
    name: 'a guest waits for a device that is taken out, which waits for its answers',
    scenario: 'unplug',
    file: 'kernel/iommu/guest/space.ts',
    find: 'if (device.isLeaving.value && binding.isKept) return undefined;',
    replace: '',
    rule: 'FAULTS',
    message:
      /job copy1 of vm1\/alice on second\/shared ended with invalid-request .*; the scenario says success$/,
  },
  {
    name: 'a driver asks a device for ever that is not there',
    scenario: 'unplug',
    file: 'kernel/iommu/vtd/queue.ts',
    find: 'descriptors = descriptors.filter((each) => !this.#isGone(deviceOf(each)));',
    replace: '',
    rule: 'PROGRESS',
    message: /nobody can go on: .*; host waits for functions of vm1$/,
  },
];

beforeAll(copySound, TIMEOUT);

it.each(FAULTS)('$name', { timeout: TIMEOUT }, ({ rule, message, ...fault }) => {
  const caught = firstFinding(fault, SEEDS, rule);
  const finding = caught?.findings.find((each) => each.rule === rule);
  expect(finding?.message, JSON.stringify(caught)).toMatch(message);
});

/** What only the end of the machine would show is noticed there by who keeps the books. */
it('a queue that goes on is translated again, and what it held is held twice (B5)', {
  timeout: TIMEOUT,
}, () => {
  const fault: Fault = {
    name: 'translated again',
    scenario: 'suspend',
    file: 'kernel/vdcm/dedicated.ts',
    find: 'if (this.#held.value === undefined) this.#take(guest);',
    replace: 'this.#take(guest);',
  };
  expect(() => firstFinding(fault, SEEDS)).toThrow(
    /vdcm vm1 first holds \d references and has 0 items of work/,
  );
});
