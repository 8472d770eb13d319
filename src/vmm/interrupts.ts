/**
 * Interrupts into a guest: messages wait in its local APIC, and are delivered by a task of the guest's own, which
 * is there only while some wait: a machine without work has no tasks. Left out: interrupt remapping, and a choice
 * among vCPUs.
 */
import { KeptValue, type Task, type UndoLog } from '../base/index.js';
import { LocalApic } from '../hardware/index.js';
import type { GuestTasks } from './tasks.js';

/** Addresses of interrupt messages (Intel SDM volume 3, 11.11.1). */
const MESSAGES = 0xfee;
const MESSAGES_SHIFT = 2 ** 20;

export class GuestInterrupts {
  readonly apic = new LocalApic();
  readonly #tasks: GuestTasks;
  readonly #isDelivering: KeptValue<boolean>;

  constructor(log: UndoLog, tasks: GuestTasks) {
    this.#tasks = tasks;
    this.#isDelivering = new KeptValue(log, false);
  }

  /** A message of a virtual device or the virtual IOMMU; lost if it goes elsewhere. */
  message(address: number, data: number): void {
    if (Math.floor(address / MESSAGES_SHIFT) !== MESSAGES) return;
    this.apic.message(address, data);
    this.resume();
  }

  /** The guest goes on: what waits is delivered. */
  resume(): void {
    if (!this.apic.isReady) return;
    if (this.#isDelivering.value || !this.#tasks.isRunning) return;
    this.#isDelivering.value = true;
    this.#tasks.spawn('interrupt', this.#deliver());
  }

  *#deliver(): Task {
    while (this.apic.isReady) {
      this.apic.step();
      yield 'interrupt';
    }
    this.#isDelivering.value = false;
  }
}
