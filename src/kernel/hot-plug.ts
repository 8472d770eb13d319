/**
 * Devices that come and go at run time: an interrupt of the machine's hot-plug controller says that something has
 * changed, and a task does what it asks for. What is to go, its driver lets go of, and the controller is told so; what
 * has gone without a word is found not to be there, and let go of in the same way.
 *
 * One controller, for functions 0 of the devices of bus 0. Left out: bridges, resources that the kernel would have to
 * assign (who plugs a function in has placed its BARs), a device that somebody uses and is asked for again.
 */
import { KeptValue, type Refusal, type Task } from '../base/index.js';
import { HOT_PLUG } from '../spec/index.js';
import { type KernelContext, newInterrupt, tell } from './context.js';
import { ridName } from './ids.js';
import type { Iommu } from './iommu/core.js';
import { PciDevice } from './pci.js';

const SLOTS = 32;
const FUNCTIONS = 8;

/** What does with functions what is to be done. */
interface FunctionOwner {
  readonly iommu: Iommu;
  addFunction(pci: PciDevice): Task;
  removeFunction(rid: number): Task<Refusal<'ENOENT' | 'EBUSY' | 'EIO'> | undefined>;
}

export class HotPlug {
  readonly #context: KernelContext;
  readonly #kernel: FunctionOwner;
  readonly #isRunning: KeptValue<boolean>;
  /** An interrupt has come since the task looked. */
  readonly #isAsked: KeptValue<boolean>;

  constructor(context: KernelContext, kernel: FunctionOwner) {
    this.#context = context;
    this.#kernel = kernel;
    this.#isRunning = new KeptValue(context.log, false);
    this.#isAsked = new KeptValue(context.log, false);
  }

  /** Listens from now on, if the machine has a controller. */
  start(): void {
    const { hotPlug } = this.#context.platform;
    if (hotPlug === undefined) return;
    hotPlug.route(newInterrupt(this.#context, () => this.#wake()));
  }

  /** In an interrupt's context. */
  #wake(): void {
    this.#isAsked.value = true;
    if (this.#isRunning.value) return;
    this.#isRunning.value = true;
    this.#context.tasks.spawn('hot-plug', this.#run());
  }

  *#run(): Task {
    while (this.#isAsked.value) {
      this.#isAsked.value = false;
      yield 'hot-plug';
      for (const slot of this.#slots(HOT_PLUG.DOWN)) yield* this.#remove(slot);
      for (const slot of this.#slots(HOT_PLUG.UP)) yield* this.#add(slot);
    }
    this.#isRunning.value = false;
  }

  *#add(slot: number): Task {
    const pci = new PciDevice(this.#context, slot * FUNCTIONS);
    // It may have gone again.
    if (pci.isThere && this.#kernel.iommu.device(pci.rid) === undefined) yield* this.#kernel.addFunction(pci);
  }

  *#remove(slot: number): Task {
    const rid = slot * FUNCTIONS;
    const refusal = yield* this.#kernel.removeFunction(rid);
    if (refusal === undefined || refusal.errno === 'ENOENT') {
      this.#context.platform.mmio.write32(this.#at(HOT_PLUG.EJECT), 1 << slot);
      return;
    }
    tell(this.#context, 'pci:held', { device: ridName(rid), why: refusal.toString() });
  }

  #slots(register: number): readonly number[] {
    const bits = this.#context.platform.mmio.read32(this.#at(register));
    return Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => (bits & (1 << slot)) !== 0);
  }

  #at(register: number): number {
    return (this.#context.platform.hotPlug?.registers ?? 0) + register;
  }
}
