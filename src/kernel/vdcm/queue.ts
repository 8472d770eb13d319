/**
 * What stands behind the one work queue of a virtual accelerator: a share of a shared queue of its parent's, or a
 * dedicated queue as a whole. Registers and commands are emulated in front of it, in the same way for both.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { IoasidSet } from '../../ioasid/index.js';
import type { GuestPasid, Pasid } from '../ids.js';
import type { BoundPasid } from '../iommu/guest/binding.js';

/** Of the virtual device that it stands behind. */
export interface PartOptions {
  readonly name: string;
  /** Whether its VM has lost it: what is in flight is abandoned, and not drained. */
  readonly isAbandoned: () => boolean;
}

export interface QueueBehind {
  /**
   * A VM takes the device.
   *
   * @param set the VM's PASIDs
   *
   * On failure: `ENOMEM`; `EBUSY` if hardware did not let go of it for who had it before.
   */
  open(set: IoasidSet): Refusal<'ENOMEM' | 'EBUSY'> | undefined;
  /** The VM gives it up, after it was disabled and has settled: it holds nothing of the VM's from now on. */
  close(): void;
  /** Nothing new is told it, and what it was told of is done when it returns. */
  settle(): Task;
  /** The guest's configuration names this PASID from now on, or none. The queue is disabled. */
  configured(guest: GuestPasid | undefined): void;
  /**
   * Has it take work. The command's error code (`DSA_COMMAND_ERROR`), if it fails.
   *
   * @param guest what its configuration names; undefined if it is to work without PASIDs
   */
  enable(guest: GuestPasid | undefined): Task<number | undefined>;
  /**
   * Has it take no work any more; returns when what it had is done, or else abandoned.
   *
   * On failure: `EIO`.
   */
  disable(isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  /**
   * Returns when what it has by now is done, or else abandoned.
   *
   * On failure: `EIO`.
   */
  quiesce(isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  /**
   * The same for one PASID of the guest's; nothing is done for one that stands for nothing here.
   *
   * On failure: `EIO`.
   */
  quiescePasid(guest: GuestPasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  /**
   * Returns when it has nothing of a host's PASID, and will have nothing of it.
   *
   * On failure: `EIO`.
   */
  drain(host: Pasid): Task<Refusal<'EIO'> | undefined>;
  /**
   * Returns when it has nothing of a host's PASID that is not bound through this virtual device, and that its VM's CPUs
   * may have sent to it all the same.
   *
   * On failure: `EIO`.
   */
  drainStrays(host: Pasid): Task<Refusal<'EIO'> | undefined>;
  /** A PASID is bound through this virtual device from now on. */
  bound(pasid: BoundPasid): void;
  /** And from now on it is not: its tear-down has begun, and drains it. */
  unbound(host: Pasid): void;
}
