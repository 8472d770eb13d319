/**
 * A dedicated queue that a virtual device has to itself. Descriptors do not say whose they are: the queue works with
 * one PASID, which is in its configuration. The guest names its own there; the host's stands in the real one, and
 * nowhere that the guest could read.
 *
 * A PASID is accepted only if it is bound through this virtual device; that it is the VM's is not enough (bug B11).
 * While the guest's configuration names it, it is held in this virtual device's name. It is let go of when it is
 * unbound or freed, enabled or not: as work of phase `drain` on the id, and for an unbinding that concerns this device
 * alone when the device is drained. The queue is disabled then, which the guest sees by its state.
 *
 * A queue whose guest uses no PASIDs has one all the same on the real device: without, its requests would meet what the
 * function's own meet, which is the host's (Scalable IOV 1.0, 2.4). It is what stands for them on this virtual device:
 * the default PASID of the VM's domain, or one for what the guest's own IOMMU maps them to; held from enabling to
 * disabling. Its requests have no privilege (WQCFG.Priv clear), as requests without a PASID have none where the context
 * entry does not say so (RID_PRIV; VT-d 4.1, 9.4): a first stage of the guest's is obeyed as it would be there. Where
 * nothing stands for them, the guest's IOMMU blocks them, and the queue is not enabled: hardware would enable it, and
 * have a fault of each descriptor.
 */
import {
  assert,
  isRefusal,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
} from '../../base/index.js';
import {
  type IoasidEvent,
  type IoasidHolder,
  type IoasidNotifier,
  type IoasidSet,
  type IoasidSubscription,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidTakeWork,
  ioasidUnregisterNotifier,
} from '../../ioasid/index.js';
import { DSA_COMMAND_ERROR as ERROR } from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { type GuestPasid, Pasid } from '../ids.js';
import type { IdxdDevice } from '../idxd/device.js';
import type { Unstick } from '../idxd/registers.js';
import type { WorkQueue } from '../idxd/work-queue.js';
import type { BoundPasid } from '../iommu/guest/binding.js';
import { Mutex } from '../mutex.js';
import type { PartOptions, QueueBehind } from './queue.js';

/** What the specification has no code for: a PASID that the host does not let this queue work with. */
const NOT_ACCEPTED = ERROR.WQ_PASID_ENABLE;

interface Owner {
  readonly set: IoasidSet;
  readonly holder: IoasidHolder;
  readonly subscription: IoasidSubscription;
}

interface DedicatedOptions {
  readonly wq: WorkQueue;
  readonly lost: () => void;
}

export class DedicatedQueue implements QueueBehind, IoasidNotifier {
  readonly name: string;
  readonly priority = 'device';
  readonly events = ['UNBIND', 'FREE'] as const;
  readonly #mdev: string;
  readonly #context: KernelContext;
  readonly #parent: IdxdDevice;
  readonly #wq: WorkQueue;
  /** Told that the host has disabled the queue. */
  readonly #lost: () => void;
  readonly #isAbandoned: () => boolean;
  readonly #owner: KeptValue<Owner | undefined>;
  /** Bound through this virtual device: guest PASIDs, by the host's. */
  readonly #bound: KeptMap<Pasid, GuestPasid>;
  /** What stands for requests without a PASID. */
  readonly #default: KeptValue<BoundPasid | undefined>;
  /** What it holds a reference of. */
  readonly #held: KeptValue<BoundPasid | undefined>;
  /** What it holds is on its way out: nothing begins with it. */
  readonly #isLeaving: KeptValue<boolean>;
  /** Of the real queue. */
  readonly #lock: Mutex;
  /** Items of work that are not finished. */
  readonly #queued: KeptValue<number>;
  readonly #rests: WaitQueue;

  constructor(context: KernelContext, parent: IdxdDevice, of: PartOptions & DedicatedOptions) {
    const { log } = context;
    this.name = `vdcm ${of.name}`;
    this.#mdev = of.name;
    this.#context = context;
    this.#parent = parent;
    this.#wq = of.wq;
    this.#lost = of.lost;
    this.#isAbandoned = of.isAbandoned;
    this.#owner = new KeptValue<Owner | undefined>(log, undefined);
    this.#bound = new KeptMap(log);
    this.#default = new KeptValue<BoundPasid | undefined>(log, undefined);
    this.#held = new KeptValue<BoundPasid | undefined>(log, undefined);
    this.#isLeaving = new KeptValue(log, false);
    this.#lock = new Mutex(log, `${of.wq.name} of ${of.name}`);
    this.#queued = new KeptValue(log, 0);
    this.#rests = new WaitQueue(`work of ${this.name}`);
  }

  open(set: IoasidSet): Refusal<'ENOMEM' | 'EBUSY'> | undefined {
    if (this.#held.value !== undefined) return refuse('EBUSY', `${this.#wq.name} was not let go of`);
    const wake = (): void => void this.#context.tasks.spawn(`${this.name} drain`, this.#work());
    const holder = ioasidHolderAlloc(set.core, this.name, wake);
    if (isRefusal(holder)) return refuse('ENOMEM', holder.why);
    const subscription = ioasidRegisterNotifier(set, this);
    if (isRefusal(subscription)) {
      ioasidHolderFree(holder);
      return refuse('ENOMEM', subscription.why);
    }
    this.#owner.value = { set, holder, subscription };
    return undefined;
  }

  /** By what it was registered with: whose task this is, and whether the VM's memory is there, makes no odds (B4). */
  *settle(): Task {
    const owner = this.#owner.value;
    if (owner !== undefined) ioasidUnregisterNotifier(owner.subscription);
    while (this.#queued.value > 0) yield this.#rests;
  }

  close(): void {
    const owner = this.#owner.value;
    if (owner === undefined) return;
    const refusal = ioasidHolderFree(owner.holder);
    const isStuck = this.#held.value !== undefined;
    assert(isStuck || refusal === undefined, `${this.name} ends with references: ${String(refusal?.why)}`);
    this.#owner.value = undefined;
  }

  configured(guest: GuestPasid | undefined): void {
    const held = this.#held.value;
    // What hardware did not let go of stays held.
    if ((held !== undefined && held.guest === guest) || this.#wq.isEnabled) return;
    this.#put();
    if (guest !== undefined) this.#take(guest);
  }

  *enable(guest: GuestPasid | undefined): Task<number | undefined> {
    yield* this.#lock.lock();
    try {
      // It may have been bound after it was named.
      if (this.#held.value === undefined) this.#take(guest);
      const held = this.#held.value;
      if (held === undefined || held.guest !== guest || this.#isLeaving.value) return NOT_ACCEPTED;
      this.#wq.configure(held.host);
      const refusal = yield* this.#wq.enable();
      if (refusal !== undefined) {
        this.#wq.configure(undefined);
        this.#putDefault();
        return ERROR.HARDWARE_ERROR;
      }
      tell(this.#context, 'vdcm:enable', { mdev: this.#mdev, spid: guest ?? null, pasid: held.host });
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  *disable(isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      return yield* this.#disable(isAbort);
    } finally {
      this.#lock.unlock();
    }
  }

  /** The queue is the guest's alone, so this is no other's work, whatever PASID that has. */
  *quiesce(isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    if (!this.#wq.isEnabled) return undefined;
    return yield* isAbort ? this.#wq.abort(this.#unstick) : this.#wq.drain(this.#unstick);
  }

  *quiescePasid(guest: GuestPasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const held = this.#held.value;
    if (held === undefined || held.guest !== guest) return undefined;
    return yield* this.quiesce(isAbort);
  }

  /** Descriptors bring no PASID of their own. */
  *drainStrays(): Task<undefined> {}

  *drain(host: Pasid): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#letGo(host);
  }

  bound(pasid: BoundPasid): void {
    const { guest, host } = pasid;
    if (guest === undefined) this.#default.value = pasid;
    else this.#bound.set(host, guest);
  }

  unbound(host: Pasid): void {
    this.#bound.delete(host);
    if (this.#default.value?.host === host) this.#default.value = undefined;
    if (this.#holds(host)) this.#isLeaving.value = true;
  }

  /** An id of the VM's goes. Under the core's lock. @see IoasidNotifier */
  notify({ id, set }: IoasidEvent): void {
    const owner = this.#owner.value;
    if (owner === undefined || set === undefined || !this.#holds(Pasid.of(id))) return;
    this.#isLeaving.value = true;
    // Without memory for it, the end of the binding drains this device all the same.
    const refusal = ioasidQueueWork(set, id, { holder: owner.holder, phase: 'drain' });
    if (refusal === undefined) this.#queued.value++;
  }

  /** What its guest does not answer, the host does in the end: others wait for the parent's commands. */
  readonly #unstick: Unstick = {
    answered: () => {
      const held = this.#held.value;
      return held === undefined ? 0 : this.#parent.answeredByGuest(held.host);
    },
    answer: () => this.#answer(),
  };
  *#answer(): Task {
    const held = this.#held.value;
    if (held !== undefined) yield* this.#parent.answerForGuest(held.host);
  }

  /** Whether a host's PASID is what it holds a reference of, and not another device of the VM's (B2). */
  #holds(host: Pasid): boolean {
    return this.#held.value?.host === host;
  }

  /** Holds what the guest has named, if it may be used here. */
  #take(guest: GuestPasid | undefined): void {
    const owner = this.#owner.value;
    if (owner === undefined) return;
    if (guest === undefined) {
      this.#takeDefault(owner);
      return;
    }
    const id = ioasidFindBySpid(owner.set, guest, owner.holder);
    if (isRefusal(id)) return;
    const host = Pasid.of(id);
    if (this.#bound.get(host) === guest) {
      this.#held.value = { guest, host, set: owner.set };
      this.#isLeaving.value = false;
    } else {
      ioasidPut(owner.set, id, owner.holder);
    }
  }

  #takeDefault({ holder }: Owner): void {
    const pasid = this.#default.value;
    if (pasid === undefined || ioasidGet(pasid.set, pasid.host, holder) !== undefined) return;
    this.#held.value = pasid;
    this.#isLeaving.value = false;
  }

  /** No configuration names what stands for requests without a PASID: it is not held while the queue is disabled. */
  #putDefault(): void {
    if (this.#held.value?.guest === undefined) this.#put();
  }

  /** Gives back its own reference, if it has one. */
  #put(): void {
    const [owner, held] = [this.#owner.value, this.#held.value];
    if (owner === undefined || held === undefined) return;
    this.#held.value = undefined;
    this.#isLeaving.value = false;
    const put = ioasidPut(held.set, held.host, owner.holder);
    assert(!isRefusal(put), `${this.name} held PASID ${held.host}: ${String(put)}`);
  }

  /** Of the real queue, under its lock. */
  *#disable(isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    if (!this.#wq.isEnabled) return undefined;
    const refusal =
      (isAbort ? yield* this.#wq.abort(this.#unstick) : undefined) ??
      (yield* this.#wq.disable(this.#unstick));
    if (refusal !== undefined) return refusal;
    this.#wq.configure(undefined);
    this.#putDefault();
    return undefined;
  }

  /** Has nothing of a host's PASID any more. If hardware does not confirm, it stays held. */
  *#letGo(host: Pasid): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const held = this.#held.value;
      if (held === undefined || !this.#holds(host)) return undefined;
      if (this.#wq.isEnabled) {
        const refusal = yield* this.#disable(this.#isAbandoned());
        if (refusal !== undefined) return refusal;
        this.#lost();
        tell(this.#context, 'vdcm:lost', { mdev: this.#mdev, spid: held.guest ?? null, pasid: host });
      }
      this.#put();
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  /** One item of work. */
  *#work(): Task {
    const owner = this.#owner.value;
    if (owner === undefined) return;
    const work = ioasidTakeWork(owner.holder);
    if (work === undefined || isRefusal(work)) return;
    yield* this.#letGo(Pasid.of(work.id));
    ioasidFinishWork(work);
    this.#queued.value--;
    this.#rests.wakeAll();
  }
}
