/**
 * The virtual machines that have PASIDs of this host. The IOMMU layer hears FREE on the system-wide chain, and lets
 * go from deferred work: a handler runs under the core's lock.
 */
import { isRefusal, KeptMap, KeptValue, type Refusal, refuse } from '../../../base/index.js';
import {
  type IoasidCore,
  type IoasidNotifier,
  type IoasidSet,
  type IoasidSubscription,
  ioasidRegisterNotifier,
  ioasidUnregisterNotifier,
} from '../../../ioasid/index.js';
import type { KernelContext } from '../../context.js';
import type { Iommu } from '../core.js';
import { GuestSpace, type GuestSpaceOptions } from './space.js';

export class Guests {
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #core: IoasidCore;
  readonly #spaces: KeptMap<IoasidSet, GuestSpace>;
  /** While there are any. */
  readonly #subscription: KeptValue<IoasidSubscription | undefined>;
  readonly #notifier: IoasidNotifier = {
    ...{ name: 'iommu', priority: 'iommu', events: ['FREE'] },
    notify: ({ set, id }) => {
      if (set !== undefined) this.#spaces.get(set)?.freed(id);
    },
  };

  constructor(context: KernelContext, iommu: Iommu, core: IoasidCore) {
    this.#context = context;
    this.#iommu = iommu;
    this.#core = core;
    this.#spaces = new KeptMap(context.log);
    this.#subscription = new KeptValue<IoasidSubscription | undefined>(context.log, undefined);
  }

  /**
   * The guest PASIDs of one more VM.
   *
   * On failure: `ENOMEM`.
   */
  open(options: GuestSpaceOptions): GuestSpace | Refusal<'ENOMEM'> {
    if (this.#subscription.value === undefined) {
      const made = ioasidRegisterNotifier(this.#core, this.#notifier);
      if (isRefusal(made)) return refuse('ENOMEM', made.why);
      this.#subscription.value = made;
    }
    const space = new GuestSpace(this.#context, this.#iommu, options);
    this.#spaces.set(options.set, space);
    return space;
  }

  /** A VM has been closed. */
  forget(space: GuestSpace): void {
    this.#spaces.delete(space.set);
    const subscription = this.#subscription.value;
    if (this.#spaces.size > 0 || subscription === undefined) return;
    ioasidUnregisterNotifier(subscription);
    this.#subscription.value = undefined;
  }
}
