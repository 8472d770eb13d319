/**
 * A mediated device on its container's domain. What its guest takes for requests without a PASID carries the domain's
 * default PASID on the host: the parent driver is told of it as of one that is bound, and has nothing of it any more
 * before the device is detached.
 */
import { isRefusal, KeptValue, type Refusal, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import type { Pasid } from '../ids.js';
import type { AuxDomain } from '../iommu/aux-domain.js';
import { Mutex } from '../mutex.js';
import type { VfioDevice } from './device.js';
import type { Reach } from './reach.js';

export class AuxPart implements Reach {
  readonly #aux: AuxDomain;
  readonly #device: VfioDevice;
  /** While it is attached. */
  readonly #pasid: KeptValue<Pasid | undefined>;
  /** The parent driver was told that it goes, and hardware did not let go of it. */
  readonly #isLeaving: KeptValue<boolean>;
  readonly #lock: Mutex;

  constructor({ log }: KernelContext, aux: AuxDomain, device: VfioDevice) {
    this.#aux = aux;
    this.#device = device;
    this.#pasid = new KeptValue<Pasid | undefined>(log, undefined);
    this.#isLeaving = new KeptValue(log, false);
    this.#lock = new Mutex(log, `domain of ${device.name}`);
  }

  get isAttached(): boolean {
    return this.#pasid.value !== undefined;
  }

  /** On failure: as `AuxDomain.attachDevice`. */
  *attach(): Task<Refusal | undefined> {
    yield* this.#lock.lock();
    try {
      const known = this.#pasid.value;
      if (known !== undefined && !this.#isLeaving.value) return undefined;
      const pasid = known ?? (yield* this.#aux.attachDevice(this.#device.iommu));
      if (isRefusal(pasid)) return pasid;
      this.#pasid.value = pasid;
      this.#isLeaving.value = false;
      this.#device.bound?.({ guest: undefined, host: pasid, set: this.#aux.set });
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  *detach(): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const pasid = this.#pasid.value;
      if (pasid === undefined) return undefined;
      if (!this.#isLeaving.value) this.#device.unbound?.(pasid);
      this.#isLeaving.value = true;
      const refusal =
        (yield* this.#device.drain(pasid)) ?? (yield* this.#aux.detachDevice(this.#device.iommu));
      if (refusal !== undefined) return refusal;
      this.#pasid.value = undefined;
      this.#isLeaving.value = false;
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  end(): Task<Refusal<'EIO'> | undefined> {
    return this.detach();
  }
}
