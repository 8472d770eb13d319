/**
 * What a guest's code holds on to, whichever VMM it runs under: its tasks, its local APIC, with the handlers that its
 * kernel has there, and where its IOMMU driver sleeps. A VMM has one in front of it from its beginning; a guest that
 * comes from another VMM brings its own.
 */
import { type Restorable, type TaskSet, type UndoLog, WaitQueue } from '../base/index.js';
import { GuestInterrupts } from './interrupts.js';
import { GuestTasks, type Runner } from './tasks.js';

export class GuestSide {
  readonly tasks: GuestTasks;
  readonly interrupts: GuestInterrupts;
  /** Woken when what the driver of the virtual IOMMU polls for may have come. */
  readonly progress: WaitQueue;

  /** @param vcpus at most 32; they may come later */
  constructor(
    log: UndoLog,
    of: { readonly name: string; readonly tasks: TaskSet; readonly vcpus: readonly Runner[] },
  ) {
    this.tasks = new GuestTasks(of.name, of.tasks, of.vcpus);
    this.interrupts = new GuestInterrupts(log, this.tasks);
    this.progress = new WaitQueue(`progress of ${of.name} iommu`);
  }

  /** What is put back with the machine. */
  get kept(): readonly Restorable[] {
    return [this.tasks, this.interrupts.apic];
  }
}
