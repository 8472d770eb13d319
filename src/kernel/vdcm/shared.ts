/**
 * A share of a shared queue. Hardware tells the work of two virtual devices of one VM apart by its PASID alone: what is
 * drained of a PASID is so for all that use it on this function. What is aborted would be so too: of a PASID that
 * another one has, work is drained in its place, so that a reset of one does no harm to the other. It is about those
 * that are bound through this virtual device, and no others of the VM.
 *
 * A shared queue always has PASIDs (Intel DSA 3.0, 3.1: WQCFG's PASID Enable has to be set in shared mode), and the
 * guest's CPUs send none but what is bound in its name. So nothing of it ever carries the default PASID.
 */
import { assert, isRefusal, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  type IoasidHolder,
  type IoasidSet,
  ioasidFindBySpid,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidPut,
} from '../../ioasid/index.js';
import type { KernelContext } from '../context.js';
import { type GuestPasid, Pasid } from '../ids.js';
import type { IdxdDevice } from '../idxd/device.js';
import type { BoundPasid } from '../iommu/guest/binding.js';
import type { BoundPasids } from './bound.js';
import type { PartOptions, QueueBehind } from './queue.js';

interface Owner {
  readonly set: IoasidSet;
  readonly holder: IoasidHolder;
}

export class SharedQueue implements QueueBehind {
  readonly #name: string;
  readonly #isAbandoned: () => boolean;
  readonly #parent: IdxdDevice;
  readonly #bound: BoundPasids;
  readonly #owner: KeptValue<Owner | undefined>;
  /** What it has nothing of: others on the function may have. */
  readonly #unused: KeptValue<Pasid | undefined>;

  constructor({ log }: KernelContext, parent: IdxdDevice, of: PartOptions & { readonly bound: BoundPasids }) {
    this.#name = of.name;
    this.#isAbandoned = of.isAbandoned;
    this.#bound = of.bound;
    this.#parent = parent;
    this.#owner = new KeptValue<Owner | undefined>(log, undefined);
    this.#unused = new KeptValue<Pasid | undefined>(log, undefined);
  }

  open(set: IoasidSet): Refusal<'ENOMEM'> | undefined {
    const holder = ioasidHolderAlloc(set.core, `vdcm ${this.#name}`);
    if (isRefusal(holder)) return refuse('ENOMEM', holder.why);
    this.#owner.value = { set, holder };
    return undefined;
  }

  close(): void {
    const owner = this.#owner.value;
    if (owner === undefined) return;
    const refusal = ioasidHolderFree(owner.holder);
    assert(refusal?.errno !== 'EBUSY', `${this.#name} ends with references: ${String(refusal?.why)}`);
    this.#owner.value = undefined;
  }

  /** Descriptors say whose they are. */
  configured(): void {}

  /** The parent's is enabled, for all who have a part of it. */
  *enable(): Task<undefined> {}

  /** Nothing is under way but commands. */
  *settle(): Task {}

  /** One that is disabled still takes what its own VM submits: the portal is mapped. */
  *disable(isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    return yield* this.quiesce(isAbort);
  }

  /** One after the other, the PASIDs that are bound through it, and that its guest may submit with. */
  *quiesce(isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    for (const pasid of this.#bound.hosts) {
      if (pasid === this.#unused.value) continue;
      const refusal = yield* this.#quiesceOne(pasid, isAbort);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /**
   * The reference keeps the id from becoming somebody else's meanwhile. Of one that is being freed, the host itself
   * drains what there is.
   */
  *quiescePasid(guest: GuestPasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const owner = this.#owner.value;
    if (owner === undefined) return undefined;
    const id = ioasidFindBySpid(owner.set, guest, owner.holder);
    if (isRefusal(id)) return undefined;
    try {
      const pasid = Pasid.of(id);
      if (this.#bound.hostOf(guest) !== pasid) return undefined;
      return yield* this.#quiesceOne(pasid, isAbort);
    } finally {
      ioasidPut(owner.set, id, owner.holder);
    }
  }

  /**
   * Another virtual device of the VM may go on with it: what there is may be that one's, and it may wait for what its
   * guest does only after this. Then nothing is waited for here, but of a device that is taken out: with the last of
   * them the PASID is drained.
   */
  *drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    if (pasid === this.#unused.value) return undefined;
    const isOthersToo = this.#parent.virtual.usersOf(pasid) > (this.#bound.has(pasid) ? 1 : 0);
    const isAbandoned = this.#isAbandoned();
    if (isOthersToo && !isAbandoned) return undefined;
    return yield* this.#parent.quiesceGuest(pasid, isAbandoned && !isOthersToo);
  }

  *drainStrays(pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#parent.quiescePasid(pasid, false);
  }

  /** What the guest submits, the CPUs translate: by what is bound in the VM. */
  bound({ guest, host }: BoundPasid): void {
    if (guest === undefined) this.#unused.value = host;
    // The number may be another's by now.
    else if (this.#unused.value === host) this.#unused.value = undefined;
  }
  unbound(): void {}

  *#quiesceOne(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#parent.quiesceGuest(pasid, isAbort && !this.#parent.virtual.isShared(pasid));
  }
}
