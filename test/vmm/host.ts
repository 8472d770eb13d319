/**
 * A host for virtual machines: the machine's hardware with the kernel on it, one accelerator with a shared queue and a
 * dedicated one, and VMs on virtual devices of it. All of it goes on by the answers of one chooser.
 */
import {
  isRefusal,
  Random,
  RandomChooser,
  type Refusal,
  type Restorable,
  type Task,
  TaskSet,
} from '../../src/base/index.js';
import { type IoasidCore, ioasidCreate } from '../../src/ioasid/index.js';
import {
  type FrameLedger,
  type FrameOwner,
  Kernel,
  Mdev,
  type RidDomain,
  type WqConfig,
} from '../../src/kernel/index.js';
import type { PciState } from '../../src/kernel/vdcm/pci-state.js';
import { parseScenario, Scheduler } from '../../src/machine/index.js';
import { Hardware } from '../../src/machine/world/hardware.js';
import { HostPlatform, type KernelEvent } from '../../src/machine/world/platform.js';
import { Vm, type VmOptions } from '../../src/vmm/index.js';

const MACHINE = `
version: 1
models: { shows: a, leaves-out: b, claims: c }
machine:
  memory: 64 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true }
  devices:
    dsa0:
      kind: dsa
      at: '6a:01.0'
      engines: 2
      queues: { shared: { mode: shared, size: 16 }, own: { mode: dedicated, size: 4 } }
processes: { nobody: {} }
steps: []
`;

const STEPS = 3_000_000;

/** What configuration space says of a function of which everything is enabled. */
export const PCI_ENABLED: PciState = {
  isBusMaster: true,
  isPasidEnabled: true,
  isPrivilegedEnabled: false,
  isAtsEnabled: true,
  isPriEnabled: true,
};

export function value<T>(result: T | Refusal): T {
  if (isRefusal(result)) throw new Error(String(result));
  return result;
}

interface TestHostOptions {
  readonly queues?: Partial<WqConfig>;
  readonly ridDomain?: RidDomain;
  readonly beside?: TestHost;
}

export class TestHost {
  readonly tasks: TaskSet;
  readonly hardware: Hardware;
  readonly kernel: Kernel;
  readonly ioasids: IoasidCore;
  readonly chooser: RandomChooser;
  readonly events: KernelEvent[] = [];
  readonly owners = new Map<number, FrameOwner>();
  readonly #scheduler: Scheduler;
  readonly #kept: readonly Restorable[];

  /** @param options `queues`: what both queues have, if that is not the usual; `beside`: who runs it as well */
  constructor(seed = 1, { queues = {}, ridDomain = 'blocked', beside }: TestHostOptions = {}) {
    this.tasks = beside?.tasks ?? new TaskSet();
    const scenario = parseScenario(MACHINE);
    if (Array.isArray(scenario)) throw new Error(JSON.stringify(scenario));
    this.chooser = beside?.chooser ?? new RandomChooser(new Random(seed));
    const straight = <T>(inner: T): T => inner;
    this.hardware = new Hardware(
      scenario.machine,
      { upstream: straight, downstream: straight },
      this.chooser,
    );
    const platform = new HostPlatform(this.hardware, this.chooser, {
      kernel: (event) => void this.events.push(event),
      stored: () => {},
    });
    this.ioasids = value(ioasidCreate());
    const ledger: FrameLedger = {
      owned: (frame, owner) => void this.owners.set(frame, owner),
      freed: (frame) => void this.owners.delete(frame),
    };
    const { tasks, ioasids } = this;
    this.kernel = new Kernel({
      name: 'host',
      platform,
      tasks,
      ioasids,
      ledger,
      seed,
      ridDomain,
      quota: 1000,
    });
    this.#scheduler = new Scheduler(tasks, this.hardware.scheduled);
    beside?.hardware.scheduled.addGroup(this.hardware.scheduled);
    this.run(this.#boot(queues));
    this.#kept = [this.hardware, ...platform.kept, ioasids, tasks];
  }

  /** A virtual device on the shared queue, or on queue 1, which is dedicated. */
  newMdev(name: string, wq: 0 | 1 = 0): Mdev {
    const [idxd] = this.kernel.idxds;
    if (idxd === undefined) throw new Error('no accelerator');
    return value(Mdev.create(this.kernel.context, idxd, { name, wq }));
  }

  /** A VM with one virtual device, `dsa0`. */
  newVm(name: string, options: Partial<VmOptions> = {}): Vm {
    return new Vm({
      name,
      host: this.kernel,
      machine: { memory: this.hardware.memory, cpus: this.hardware.vcpus.every },
      tasks: this.tasks,
      chooser: this.chooser,
      stepIn: (what) => this.hardware.engines.maybeStep(this.chooser, what),
      memory: 2 * 2 ** 20,
      cpus: 1,
      devices: [{ name: 'dsa0', at: 0x0100, mdev: this.newMdev(`${name} dsa0`) }],
      iommu: { cachingMode: true, pasids: { rest: 'lowest', hostMin: 1, hostMax: 0xfffff } },
      emit: (event) => void this.events.push({ ...event, fields: { ...event.fields, vm: name } }),
      ...options,
    });
  }

  /** Runs a task, and all that it sets off, to the end; what it returned. */
  run<T>(task: Task<T>): T {
    const results: T[] = [];
    const body = function* (): Task {
      results.push(yield* task);
    };
    this.tasks.spawn('test', body());
    this.runAll();
    const [result] = results;
    if (results.length === 0) throw new Error(`sleeps for ever: ${this.places}`);
    return result as T;
  }

  runAll(): void {
    for (let steps = 0; this.#scheduler.step(this.chooser); steps++) {
      if (steps > STEPS) throw new Error(`still running: ${this.places}`);
    }
  }

  /** Runs everything for some steps; false if nothing can go on. */
  some(steps: number): boolean {
    for (let i = 0; i < steps; i++) if (!this.#scheduler.step(this.chooser)) return false;
    return true;
  }

  /** The names of events of a kind. */
  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }

  mark(vms: readonly Vm[]): void {
    for (const part of [...this.#kept, ...vms]) part.mark();
  }

  restore(vms: readonly Vm[]): void {
    for (const part of [...this.#kept, ...vms]) part.restore();
  }

  get places(): string {
    return this.tasks.tasks.map(({ name, at }) => `${name} at ${at}`).join('; ');
  }

  *#boot(queues: Partial<WqConfig>): Task {
    value(yield* this.kernel.boot());
    const [idxd] = this.kernel.idxds;
    const wqs = [
      { mode: 'shared', size: 16, blockOnFault: true, ...queues },
      { mode: 'dedicated', size: 4, blockOnFault: true, ...queues },
    ] satisfies WqConfig[];
    value(yield* idxd?.configure([{ wqs, engines: 2 }]) ?? []);
  }
}
