/** How a unit is told to invalidate: by its queue, or by its registers. */
import type { Refusal, Task } from '../../../base/index.js';

export interface Invalidator {
  /** Makes it ready. */
  start(): Task;

  /** Does what the errors in a unit's fault status ask for, and clears them. */
  recover(status: Int32Array): void;

  /**
   * Has descriptors done in order; returns when hardware has done them all.
   *
   * @param options `drain`: wait also until the page requests of devices have reached their queue
   *
   * On failure: `EIO` if hardware refused a descriptor, or a device did not answer.
   */
  sync(
    descriptors: readonly Int32Array[],
    options?: { readonly drain?: boolean },
  ): Task<Refusal<'EIO'> | undefined>;
}
