/**
 * What the parts of one Intel DSA device share: registers, work queues, engines, the device's state. The device
 * itself ({@link file://./device.ts}) is the PCI function around it.
 */
import type { DSA_DEVICE_STATE, DsaRegisterTable, RegisterFile } from '../../spec/index.js';
import type { DsaEngine } from './engine.js';
import type { Interrupts } from './interrupts.js';
import type { DsaParts } from './ports.js';
import type { SoftwareErrors } from './software-errors.js';
import type { WorkQueue } from './work-queue.js';

/** One of {@link DSA_DEVICE_STATE}. */
export type DeviceState = (typeof DSA_DEVICE_STATE)[keyof typeof DSA_DEVICE_STATE];

export interface DsaCore {
  readonly table: DsaRegisterTable;
  readonly registers: RegisterFile;
  readonly parts: DsaParts;
  readonly interrupts: Interrupts;
  readonly errors: SoftwareErrors;
  readonly queues: readonly WorkQueue[];
  readonly engines: readonly DsaEngine[];
  deviceState: DeviceState;
  /** The tag of the descriptor that came last. */
  readonly lastTag: number;
  /** Told of each descriptor that is thrown out of a queue. */
  readonly discarded: (tag: number) => void;
  /** Something has happened that an engine, or a command, may have waited for. */
  stir(): void;
  /** Forms the groups, and lets the engines run. */
  enable(): void;
  /** Disables all queues and the device. */
  disable(): void;
  /** All configuration to its reset values: what Reset Device does at its end. */
  resetConfiguration(): void;
  /** The configuration of one queue, but for its size, to its reset values. */
  resetQueue(queue: WorkQueue): void;
}
