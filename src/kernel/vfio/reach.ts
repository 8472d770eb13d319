/**
 * What a container's devices reach without a PASID. A whole function's requests meet its memory as they are: it is
 * attached to the function itself (PASID 0), in the place of what the host had there. A mediated device's have the
 * function's RID in common with others, and are told apart by PASID alone (`aux-part.ts`).
 */
import { isRefusal, KeptValue, type Refusal, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import { Pasid } from '../ids.js';
import type { Iommu } from '../iommu/core.js';
import type { Attachment } from '../iommu/device.js';
import type { Domain } from '../iommu/domain.js';
import { Mutex } from '../mutex.js';
import type { VfioDevice } from './device.js';

export interface Reach {
  /** Whether its requests without a PASID meet the container's memory. */
  readonly isAttached: boolean;
  /** Has them meet it. Once more is no error. On failure: what the IOMMU core refuses with; they are blocked. */
  attach(): Task<Refusal | undefined>;
  /**
   * Blocks them: returns when nothing of them is under way. Once more is no error.
   *
   * On failure: `EIO`, they may meet it still.
   */
  detach(): Task<Refusal<'EIO'> | undefined>;
  /** The device leaves the container. On failure: it must not be another's. */
  end(): Task<Refusal | undefined>;
}

const NO_PASID = Pasid.of(0);

export class FunctionReach implements Reach {
  readonly #iommu: Iommu;
  readonly #domain: Domain;
  readonly #device: VfioDevice;
  /** What the host had there. */
  readonly #before: Domain | undefined;
  readonly #attachment: KeptValue<Attachment | undefined>;
  readonly #lock: Mutex;

  constructor(
    { log }: KernelContext,
    iommu: Iommu,
    of: { readonly device: VfioDevice; readonly domain: Domain },
  ) {
    const { device } = of;
    this.#iommu = iommu;
    this.#domain = of.domain;
    this.#device = device;
    this.#before = device.iommu.attachments.get(NO_PASID)?.domain;
    this.#attachment = new KeptValue<Attachment | undefined>(log, undefined);
    this.#lock = new Mutex(log, `domain of ${device.name}`);
  }

  get isAttached(): boolean {
    return this.#attachment.value !== undefined;
  }

  *attach(): Task<Refusal | undefined> {
    yield* this.#lock.lock();
    try {
      return this.isAttached ? undefined : yield* this.#meet(this.#domain);
    } finally {
      this.#lock.unlock();
    }
  }

  *detach(): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const attachment = this.#attachment.value;
      if (attachment === undefined) return undefined;
      const refusal = (yield* this.#device.drain(NO_PASID)) ?? (yield* this.#iommu.detach(attachment));
      if (refusal === undefined) this.#attachment.value = undefined;
      return refusal;
    } finally {
      this.#lock.unlock();
    }
  }

  /** They meet what they did before. */
  *end(): Task<Refusal | undefined> {
    if (this.#before === undefined) return yield* this.detach();
    yield* this.#lock.lock();
    try {
      return (yield* this.#device.drain(NO_PASID)) ?? (yield* this.#meet(this.#before));
    } finally {
      this.#lock.unlock();
    }
  }

  /** At no time nothing, if they meet something now. */
  *#meet(domain: Domain): Task<Refusal | undefined> {
    const { iommu } = this.#device;
    const known = iommu.attachments.get(NO_PASID);
    const made =
      known === undefined
        ? yield* this.#iommu.attach(iommu, NO_PASID, domain)
        : yield* this.#iommu.replace([known], domain);
    if (isRefusal(made)) return made;
    this.#attachment.value = Array.isArray(made) ? made[0] : made;
    return undefined;
  }
}
