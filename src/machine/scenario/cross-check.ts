/**
 * What the parts of a scenario say of each other: that a step names processes, queues, regions and jobs that are
 * there, in its own actor's order. What actors do to each other in time, a run finds out.
 */
import { hex } from '../../base/index.js';
import { RULES } from '../../rules/index.js';
import { DSA_ERROR_NAMES, FAULT_REASONS } from '../../spec/index.js';
import { checkVms } from './check-vms.js';
import { contradictions } from './iommu.js';
import { childName } from './members.js';
import type { DeviceSpec, QueueSpec, Scenario, Step, Submission, VmSpec } from './schema.js';
import { sizeBytes } from './size.js';

/** Told of each fault. */
type Report = (path: readonly PropertyKey[], what: string) => void;

/** What an actor has so far. A forked child begins with its parent's regions. */
interface Actor {
  readonly regions: Set<string>;
  readonly jobs: Set<string>;
  hasEnded: boolean;
}

/** Reports every fault of a scenario whose parts are sound by themselves. */
export function crossCheck(scenario: Scenario, report: Report): void {
  checkMachine(scenario, report);
  checkVms(scenario, (name) => queueOf(scenario.machine.devices, name), report);
  checkExpectation(scenario, report);
  const check = new StepCheck(scenario, report);
  for (const [i, step] of scenario.steps.entries()) check.step(step, ['steps', i]);
}

function checkMachine({ machine, processes }: Scenario, report: Report): void {
  const bytes = sizeBytes(machine.memory);
  if (bytes < LEAST_MEMORY || bytes > MOST_MEMORY) {
    report(['machine', 'memory'], `is ${machine.memory}, and has to be from 4 MiB to 32 GiB`);
  }
  for (const [part, why] of contradictions(machine.iommu)) report(['machine', 'iommu', part], why);
  const owners = new Map<string, string>();
  for (const [name, device] of Object.entries(machine.devices)) {
    const at = ['machine', 'devices', name];
    const other = owners.get(device.at);
    if (other !== undefined) report([...at, 'at'], `${device.at} is ${other}'s place already`);
    owners.set(device.at, name);
    const first = device.at.replace(/.$/, '0');
    if (!Object.values(machine.devices).some((each) => each.at === first)) {
      report([...at, 'at'], `${device.at} is found by nobody: there is no function 0 at ${first}`);
    }
    for (const [queue, spec] of Object.entries(device.queues))
      checkQueue(spec, [...at, 'queues', queue], report);
    const total = Object.values(device.queues).reduce((sum, { size }) => sum + size, 0);
    if (total > MOST_ENTRIES)
      report([...at, 'queues'], `hold ${total} descriptors; the device has ${MOST_ENTRIES}`);
    checkGroups(device, [...at, 'queues'], report);
    if (Object.keys(device.queues).length > MOST_QUEUES) {
      report([...at, 'queues'], `are more than the ${MOST_QUEUES} of the device`);
    }
  }
  if ('host' in processes) report(['processes', 'host'], 'host is the kernel, not a process');
}

/** The kernel counts queues by groups; each group needs a queue, and an engine. */
function checkGroups({ queues, engines }: DeviceSpec, at: readonly PropertyKey[], report: Report): void {
  const groups = Object.values(queues).map(({ group }) => group);
  for (const [i, group] of groups.entries()) {
    const before = groups[i - 1] ?? 0;
    if (group < before || group > before + (i === 0 ? 0 : 1)) {
      report(at, 'are listed by their groups, which are counted from 0');
      return;
    }
  }
  const count = (groups.at(-1) ?? 0) + 1;
  if (count > engines) report(at, `are of ${count} groups, and there is an engine for ${engines} of them`);
}

/** What nothing can report, or nobody judges, would be expected for ever. */
function checkExpectation({ expect }: Scenario, report: Report): void {
  for (const [i, fault] of expect.faults.entries()) {
    if (!FAULT_NAMES.has(fault)) {
      report(
        ['expect', 'faults', i],
        `no fault is called ${fault}; they are as SFS.2 (VT-d) and SWERR.22 (DSA)`,
      );
    }
  }
  const { breaks } = expect;
  if (breaks !== undefined && !RULES.some(({ id }) => id === breaks)) {
    report(['expect', 'breaks'], `${breaks} is not judged in a run`);
  }
}

const FAULT_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(FAULT_REASONS).map(({ name }) => name),
  ...Object.keys(DSA_ERROR_NAMES).map((code) => `SWERR.${Number(code).toString(16)}`),
]);

const LEAST_MEMORY = 4 * 2 ** 20;
const MOST_MEMORY = 32 * 2 ** 30;

/** As the shipped hardware has it (GENCAP, WQCAP of a DSA 1.0). */
const MOST_ENTRIES = 128;
const MOST_QUEUES = 8;

function checkQueue({ mode, threshold, size }: QueueSpec, at: readonly PropertyKey[], report: Report): void {
  if (threshold === undefined) return;
  if (mode === 'dedicated') report([...at, 'threshold'], 'is for shared queues');
  else if (threshold > size) report([...at, 'threshold'], `is ${threshold}, and the queue holds ${size}`);
}

class StepCheck {
  readonly #devices: Readonly<Record<string, DeviceSpec>>;
  readonly #vms: Readonly<Record<string, VmSpec>>;
  readonly #lastAddress: number;
  readonly #actors = new Map<string, Actor>();
  readonly #allJobs = new Set<string>();
  /** Those that ask for an interrupt. */
  readonly #interrupting = new Set<string>();
  readonly #children: ReadonlySet<string>;
  readonly #report: Report;

  constructor(scenario: Scenario, report: Report) {
    this.#devices = scenario.machine.devices;
    this.#vms = scenario.vms;
    this.#lastAddress = LAST_ADDRESS[scenario.machine['virtual-addresses']];
    this.#report = report;
    const forks = scenario.steps.filter((step) => 'fork' in step);
    this.#children = new Set(forks.map(({ by, fork }) => childName(by, fork.as)));
    for (const name of Object.keys(scenario.processes)) this.#actors.set(name, newActor());
    for (const [vm, { processes }] of Object.entries(scenario.vms)) {
      this.#actors.set(`${vm}/kernel`, newActor());
      for (const process of Object.keys(processes)) this.#actors.set(`${vm}/${process}`, newActor());
    }
  }

  step(step: Step, at: readonly PropertyKey[]): void {
    const actor = this.#actorOf(step, at);
    if (actor === undefined) return;
    if (actor.hasEnded) this.#report([...at, 'by'], `${step.by} has ended`);
    if ('map' in step) {
      this.#newRegion(actor, step.map.name, [...at, 'map', 'name']);
      this.#place(step.map.at ?? 0, [...at, 'map', 'at']);
    }
    if ('write' in step) this.#region(actor, step.write.to, [...at, 'write', 'to']);
    if ('unmap' in step) this.#region(actor, step.unmap, [...at, 'unmap']);
    if ('open' in step) this.#open(step, [...at, 'open']);
    if ('interrupts' in step) this.#queue(step, step.interrupts, [...at, 'interrupts']);
    if ('close' in step) this.#queue(step, step.close, [...at, 'close']);
    if ('copy' in step) this.#copy(step, actor, [...at, 'copy']);
    if ('submit' in step) this.#submit(step, actor, [...at, 'submit']);
    if ('wait' in step) this.#wait(step, actor, [...at, 'wait']);
    if ('check' in step) this.#checkStep(step.check, actor, [...at, 'check']);
    if ('fork' in step) this.#fork(step, actor, [...at, 'fork', 'as']);
    if ('exit' in step) actor.hasEnded = true;
  }

  /** The host and kernels do what is theirs alone; a process only acts once it is there. */
  #actorOf(step: Step, at: readonly PropertyKey[]): Actor | undefined {
    if (step.by === 'host') {
      this.#hostStep(step, at);
      return undefined;
    }
    const vm = ownOf(this.#vms, step.by.split('/', 1)[0] ?? '');
    const isKernel = vm !== undefined && step.by.endsWith('/kernel');
    const hosts = HOST_STEPS.find((action) => action in step);
    if (hosts !== undefined) {
      this.#report([...at, 'by'], `only the host ${HOST_ACTIONS[hosts]}: by: host`);
      return undefined;
    }
    if (isKernel && !KERNEL_STEPS.some((action) => action in step)) {
      this.#report([...at, 'by'], `a guest's kernel only does ${listOf(KERNEL_STEPS)}`);
      return undefined;
    }
    const kernels = KERNELS_OWN.find((action) => action in step);
    if (!isKernel && kernels !== undefined) {
      this.#report([...at, 'by'], `only a guest's kernel ${KERNEL_ACTIONS[kernels]}: by: vm/kernel`);
      return undefined;
    }
    if (vm !== undefined && 'reset-device' in step) {
      const { devices } = vm;
      const name = step['reset-device'];
      if (ownOf(devices, name) === undefined) {
        this.#report([...at, 'reset-device'], `there is no device ${name}; ${oneOf(devices)}`);
      }
    }
    const actor = this.#actors.get(step.by);
    if (actor === undefined) {
      const why = this.#children.has(step.by) ? 'is forked later only' : 'is no process of this scenario';
      this.#report([...at, 'by'], `${step.by} ${why}`);
    }
    return actor;
  }

  #hostStep(step: Step, at: readonly PropertyKey[]): void {
    if ('kill' in step) {
      if (ownOf(this.#vms, step.kill) === undefined) this.#process(step.kill, [...at, 'kill']);
    } else if ('reset' in step) this.#vm(step.reset, [...at, 'reset']);
    else if ('pause' in step) this.#vm(step.pause, [...at, 'pause']);
    else if ('resume' in step) this.#vm(step.resume, [...at, 'resume']);
    else if ('migrate' in step) this.#destination(step.migrate, [...at, 'migrate']);
    else if ('plug' in step) this.#device(step.plug, [...at, 'plug'], true);
    else if ('unplug' in step) this.#device(step.unplug, [...at, 'unplug']);
    else if ('pull-out' in step) this.#device(step['pull-out'], [...at, 'pull-out']);
    else if ('register-kvm' in step) {
      const vm = this.#vm(step['register-kvm'], [...at, 'register-kvm']);
      if (vm?.kvm === 'boot') {
        this.#report(
          [...at, 'register-kvm'],
          `${step['register-kvm']} has it from its boot on; kvm: late has it later`,
        );
      }
    } else if (!('meet' in step)) {
      this.#report([...at, 'by'], `the host only does ${HOST_STEPS.join(', ')} and meet`);
    }
  }

  /** A device of a virtual machine, which is one, and not many. */
  #device(name: string, at: readonly PropertyKey[], isPlugged = false): void {
    const [vm = '', device = ''] = name.split('/');
    const spec = this.#vm(vm, at);
    const found = spec && ownOf(spec.devices, device);
    if (spec === undefined) return;
    if (found === undefined) this.#report(at, `${vm} has no device ${device}; ${oneOf(spec.devices)}`);
    else if (isPlugged && found.plugged === 'boot')
      this.#report(at, `${name} is there from the boot on; plugged: late has it later`);
  }

  #destination(name: string, at: readonly PropertyKey[]): void {
    const [vm = '', destination = ''] = name.split('/');
    const spec = this.#vm(vm, at);
    if (spec !== undefined && ownOf(spec.destinations, destination) === undefined)
      this.#report(at, `${vm} has no destination ${destination}; ${oneOf(spec.destinations)}`);
  }

  #vm(name: string, at: readonly PropertyKey[]): VmSpec | undefined {
    const vm = ownOf(this.#vms, name);
    if (vm === undefined) this.#report(at, `there is no virtual machine ${name}; ${oneOf(this.#vms)}`);
    return vm;
  }

  #newRegion({ regions }: Actor, name: string, at: readonly PropertyKey[]): void {
    if (regions.has(name)) this.#report(at, `there is a region ${name} already; a new one has a new name`);
    regions.add(name);
  }

  #place(address: number, at: readonly PropertyKey[]): void {
    if (address > this.#lastAddress)
      this.#report(at, `is beyond ${hex(this.#lastAddress)}, the last page of a process`);
  }

  #region({ regions }: Actor, name: string, at: readonly PropertyKey[]): void {
    if (!regions.has(name)) this.#report(at, `no region ${name} has been mapped before`);
  }

  #process(name: string, at: readonly PropertyKey[]): void {
    if (name.includes('/')) this.#report(at, `${name} is not the host's to kill: its virtual machine is`);
    else if (!this.#actors.has(name)) this.#report(at, `${name} is no process that runs by then`);
  }

  /** A queue, by the name that it has in the machine of who names it. */
  #queue({ by }: Step, name: string, at: readonly PropertyKey[]): QueueSpec | undefined {
    const [device = '', queue = ''] = name.split('/');
    const vm = by.includes('/') ? ownOf(this.#vms, by.split('/', 1)[0] ?? '') : undefined;
    if (vm !== undefined) {
      const from = ownOf(vm.devices, device)?.from;
      if (from === undefined) {
        this.#report(at, `there is no device ${device}; ${oneOf(vm.devices)}`);
        return undefined;
      }
      const [parent = '', part] = from.split('/');
      // Of a whole function, all queues are the guest's.
      const queues = part === undefined ? (ownOf(this.#devices, parent)?.queues ?? {}) : { [part]: true };
      if (!Object.hasOwn(queues, queue))
        this.#report(at, `${device} has no queue ${queue}; ${oneOf(queues)}`);
      return queueOf(this.#devices, `${parent}/${queue}`);
    }
    const spec = ownOf(this.#devices, device);
    if (spec === undefined) this.#report(at, `there is no device ${device}; ${oneOf(this.#devices)}`);
    else if (ownOf(spec.queues, queue) === undefined) {
      this.#report(at, `${device} has no queue ${queue}; ${oneOf(spec.queues)}`);
    }
    return queueOf(this.#devices, name);
  }

  #open(step: Extract<Step, { open: unknown }>, at: readonly PropertyKey[]): void {
    const mode = this.#queue(step, step.open, at)?.mode;
    if (mode === 'shared' && step.by.endsWith('/kernel'))
      this.#report(at, `${step.open} is shared, which needs PASIDs: a kernel works without`);
  }

  #copy(step: Extract<Step, { copy: unknown }>, actor: Actor, at: readonly PropertyKey[]): void {
    const { on, from, into, as } = step.copy;
    this.#queue(step, on, [...at, 'on']);
    this.#region(actor, from, [...at, 'from']);
    this.#region(actor, into, [...at, 'into']);
    this.#newJob(actor, as, [...at, 'as']);
  }

  #newJob(actor: Actor, job: string, at: readonly PropertyKey[]): void {
    if (this.#allJobs.has(job)) this.#report(at, `there is a job ${job} already`);
    this.#allJobs.add(job);
    actor.jobs.add(job);
  }

  #submit(step: Extract<Step, { submit: unknown }>, actor: Actor, at: readonly PropertyKey[]): void {
    const { by, submit } = step;
    const queue = this.#queue(step, submit.to, [...at, 'to']);
    const { operation, from, into, as: job } = submit;
    const needs = OPERANDS[operation];
    for (const [key, region] of [
      ['from', from],
      ['into', into],
    ] as const) {
      if (region !== undefined && !needs.includes(key))
        this.#report([...at, key], `${operation} has no ${key}`);
      else if (region !== undefined) this.#region(actor, region, [...at, key]);
      else if (needs.includes(key)) this.#report([...at, key], `${operation} needs it`);
    }
    if (operation === 'fill' && submit.pattern === undefined)
      this.#report([...at, 'pattern'], 'fill needs it');
    if (operation !== 'fill' && submit.pattern !== undefined) {
      this.#report([...at, 'pattern'], `${operation} has no pattern`);
    }
    this.#newJob(actor, job, [...at, 'as']);
    if (submit.interrupt) this.#interrupting.add(job);
    if (actor.jobs.size === MOST_JOBS + 1)
      this.#report(at, `${by} has submitted ${MOST_JOBS} jobs before, and can no more`);
    if (submit['block-on-fault'] && queue?.['block-on-fault'] === false) {
      this.#report([...at, 'block-on-fault'], `${submit.to} does not let ${by} ask for it`);
    }
  }

  #wait({ by, wait }: Extract<Step, { wait: unknown }>, { jobs }: Actor, at: readonly PropertyKey[]): void {
    if (!jobs.has(wait.for)) this.#report([...at, 'for'], `${by} has submitted no job ${wait.for} before`);
    else if (wait.interrupt && !this.#interrupting.has(wait.for)) {
      this.#report([...at, 'interrupt'], `${wait.for} has asked for none`);
    }
  }

  #checkStep(
    { region, holds, equals }: Extract<Step, { check: unknown }>['check'],
    actor: Actor,
    at: readonly PropertyKey[],
  ): void {
    this.#region(actor, region, [...at, 'region']);
    if (equals !== undefined) this.#region(actor, equals, [...at, 'equals']);
    if ((holds === undefined) === (equals === undefined)) this.#report(at, 'has either holds or equals');
  }

  #fork({ by, fork }: Extract<Step, { fork: unknown }>, parent: Actor, at: readonly PropertyKey[]): void {
    const [vm = '', process = ''] = by.split('/');
    const spec = ownOf(this.#vms, vm);
    const counts = [spec?.count, ownOf(spec?.processes ?? {}, process)?.count];
    if (counts.some((count) => count !== undefined))
      this.#report(at, `${by} stands for many, who cannot fork`);
    const name = childName(by, fork.as);
    const isTaken = this.#actors.has(name) || ownOf(this.#vms, name) !== undefined || name === 'host';
    if (isTaken) this.#report(at, `there is a ${name} already`);
    this.#actors.set(name, { ...newActor(), regions: new Set(parent.regions) });
  }
}

/** What the host does. */
const HOST_ACTIONS = {
  ...{ kill: 'kills', reset: 'resets', 'register-kvm': 'registers KVM', pause: 'pauses', resume: 'resumes' },
  ...{ plug: 'plugs', unplug: 'unplugs', 'pull-out': 'pulls out', migrate: 'migrates' },
} as const;
/** To devices of virtual machines. */
const PLUG_STEPS = ['plug', 'unplug', 'pull-out'] as const;
/** To virtual machines. */
const VM_STEPS = ['reset', 'pause', 'resume', 'migrate'] as const;
const HOST_STEPS = ['kill', 'register-kvm', ...VM_STEPS, ...PLUG_STEPS] as const;

/** What a guest's kernel does. */
const KERNEL_ACTIONS = { flush: 'flushes', 'reset-device': 'resets devices', copy: 'copies' } as const;
const KERNELS_OWN = ['flush', 'reset-device', 'copy'] as const;
const KERNEL_STEPS = [
  ...KERNELS_OWN,
  ...(['map', 'write', 'unmap', 'check', 'open', 'wait', 'close', 'meet'] as const),
];

const listOf = (words: readonly string[]): string => `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;

/** The last page of a process's, by the addresses of its CPUs; as far as a number holds one. */
const LAST_ADDRESS = { '48-bit': 0x7fff_ffff_f000, '57-bit': 2 ** 53 - 4096 } as const;

/** A process has room for so many completion records. */
const MOST_JOBS = 1024;

/** Which operands an operation has. */
const OPERANDS: Readonly<Record<Submission['operation'], readonly ('from' | 'into')[]>> = {
  noop: [],
  drain: [],
  memmove: ['from', 'into'],
  compare: ['from', 'into'],
  fill: ['into'],
};

const newActor = (): Actor => ({ regions: new Set(), jobs: new Set(), hasEnded: false });

/** What a record has of its own by a name that somebody wrote: `constructor` is a name too. */
const ownOf = <T>(named: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(named, name) ? named[name] : undefined;

/** A queue of the host's by `device/queue`. */
function queueOf(devices: Readonly<Record<string, DeviceSpec>>, name: string): QueueSpec | undefined {
  const [device = '', queue = ''] = name.split('/');
  return ownOf(ownOf(devices, device)?.queues ?? {}, queue);
}

const oneOf = (named: object): string =>
  Object.keys(named).length === 0 ? 'there is none' : `there is ${Object.keys(named).join(', ')}`;
