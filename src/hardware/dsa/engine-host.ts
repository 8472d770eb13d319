/** What an engine of an Intel DSA device, and what it is made of, see of the device. */
import type { Chooser } from '../../base/index.js';
import type { Interrupts } from './interrupts.js';
import type { DsaAudit, DsaParts } from './ports.js';
import type { SoftwareErrors } from './software-errors.js';
import type { WorkQueue } from './work-queue.js';

/** What an engine needs of its device. */
export interface EngineHost {
  readonly parts: DsaParts;
  /** Decides the order of a batch. */
  readonly chooser: Chooser;
  readonly interrupts: Interrupts;
  readonly errors: SoftwareErrors;
  readonly audit: DsaAudit | undefined;
  readonly overlappingCopy: boolean;
  readonly pageRequestRetries: number;
  /** GENCFG: user-mode descriptors may ask for interrupts. */
  readonly userInterrupts: boolean;
  /** Whether engines may go on: the device is enabled or draining. */
  readonly isRunning: boolean;
  queue(index: number): WorkQueue;
  /** Whether an engine has a descriptor of this queue, and PASID, that came before `tag`. */
  hasEarlier(queue: WorkQueue, pasid: number, tag: number): boolean;
  /** Something has happened that an engine, or a command, may have waited for. */
  stir(): void;
  /** Told after an engine has let go of translations. */
  released(): void;
}
