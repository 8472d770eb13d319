/**
 * The machines that programs run on, as they see them: the host, and virtual machines on it. A process of a guest's
 * names its device, its parent on the host does the work; messages name the parent's queue.
 */
import { assert, type Refusal, type Task } from '../../base/index.js';
import type { Cpu } from '../../hardware/index.js';
import type { GroupConfig, IdxdDevice, Kernel, VfioPci } from '../../kernel/index.js';
import type { Queue } from '../../rules/index.js';
import type { DeviceSpec, QueueSpec } from '../scenario/schema.js';
import type { Hardware } from './hardware.js';

/** A queue, as a program opens it. */
export interface MachineQueue {
  /** The kernel's device; undefined if it has found none. */
  readonly idxd: IdxdDevice | undefined;
  /** The queue's place in it. */
  readonly index: number;
  /** What it is on the host. */
  readonly hardware: Queue;
  readonly spec: QueueSpec | undefined;
  /** Why the kernel could not configure it. */
  readonly unusable: Refusal | undefined;
}

/** What there is to know of a machine that is a virtual one. */
export interface VmState {
  /** Its guest goes on: it has neither been reset nor killed. */
  readonly isRunning: boolean;
  /** Its virtual IOMMU has caching mode, and KVM listens: all know of a new entry before it is used. */
  readonly tellsNewEntries: boolean;
  /** Returns when it goes on, or never will. */
  goesOn(): Task;
  /** Whether a device of its is out, or on its way out without a word. */
  isOut(device: string): boolean;
}

export interface Machine {
  /** `host`, `vm1`. */
  readonly name: string;
  readonly kernel: Kernel;
  /** By the index that the kernel knows them by. */
  readonly cpus: readonly Cpu[];
  /** Undefined for the host. */
  readonly vm: VmState | undefined;
  /** A queue by the program's name of it: `dsa0/shared`. */
  queue(name: string): MachineQueue;
  /** The host's accelerator that is behind a device of the scenario's. */
  deviceOf(name: string): string;
}

/** A queue, with where its device is. */
interface FoundQueue extends Pick<MachineQueue, 'index' | 'hardware' | 'spec'> {
  readonly rid: number | undefined;
  readonly at: string;
}

export class HostMachine implements Machine {
  readonly name = 'host';
  readonly vm = undefined;
  readonly kernel: Kernel;
  readonly #hardware: Hardware;
  readonly #unusable: ReadonlyMap<string, Refusal>;
  /** Those that were asked for, by name. */
  readonly #queues = new Map<string, FoundQueue>();

  /** @param unusable devices that the kernel could not configure, by their place */
  constructor(kernel: Kernel, hardware: Hardware, unusable: ReadonlyMap<string, Refusal>) {
    this.kernel = kernel;
    this.#hardware = hardware;
    this.#unusable = unusable;
  }

  get cpus(): readonly Cpu[] {
    return this.#hardware.cpus;
  }

  queue(name: string): MachineQueue {
    const known = this.#queues.get(name) ?? this.#found(name);
    const { rid, at, index, hardware, spec } = known;
    const idxd = this.kernel.idxds.find(({ pci }) => pci.rid === rid);
    return { idxd, index, hardware, spec, unusable: this.#unusable.get(at) };
  }

  /** What never changes of a queue. */
  #found(name: string): FoundQueue {
    const [device = '', queue = ''] = name.split('/');
    const accelerator = this.#hardware.accelerators.find((each) => each.name === device);
    const queues = accelerator?.spec.queues ?? {};
    const found = {
      rid: accelerator?.rid,
      at: accelerator?.spec.at ?? '',
      index: Object.keys(queues).indexOf(queue),
      hardware: { device, queue: name, via: name },
      spec: queues[queue],
    };
    this.#queues.set(name, found);
    return found;
  }

  deviceOf(name: string): string {
    return name;
  }

  /** An accelerator that is handed out whole. A `Bug` for others. */
  whole(name: string): { readonly function: VfioPci; readonly spec: DeviceSpec } {
    const accelerator = this.#hardware.accelerators.find((each) => each.name === name);
    const found = this.kernel.vfioPcis.find(({ pci }) => pci.rid === accelerator?.rid);
    assert(found !== undefined && accelerator !== undefined, `vfio-pci has no ${name}`);
    return { function: found, spec: accelerator.spec };
  }
}

/** How a driver configures it: each group has its queues, and as many engines as the others, or one more. */
export function groupsOf({ engines, queues }: DeviceSpec): readonly GroupConfig[] {
  const specs = Object.values(queues);
  const count = Math.max(0, ...specs.map(({ group }) => group)) + 1;
  return Array.from({ length: count }, (_, index) => {
    const wqs = specs
      .filter(({ group }) => group === index)
      .map(({ mode, size, threshold, priority, 'block-on-fault': blockOnFault }) => {
        return { mode, size, priority, blockOnFault, ...(threshold === undefined ? {} : { threshold }) };
      });
    return { wqs, engines: Math.floor(engines / count) + (index < engines % count ? 1 : 0) };
  });
}
