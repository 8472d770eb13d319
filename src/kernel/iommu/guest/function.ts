/**
 * What one VM has of one function: nested entries, a guest's first stage over its VM's second stage, by PASID as the
 * function's requests carry it: the host's number of a part of a function, the guest's of a whole one.
 *
 * All of them share a domain id: it differs from that of any other function, so that a number that means one thing on
 * a function and another on the next does not meet in the IOTLB (flow 4).
 */
import { isRefusal, KeptMap, type Refusal, refuse, type Task } from '../../../base/index.js';
import type { KernelContext } from '../../context.js';
import type { Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import type { IommuDevice } from '../device.js';
import type { AttachErrno } from '../driver.js';
import type { PagingDomain } from '../paging-domain.js';
import { type GuestBinding, GuestEntry, WITHOUT_PASID } from './binding.js';

/** A first stage, as a guest's PASID table entry tells it. */
export interface GuestStage {
  /** The frame of its root: the guest's number. */
  readonly root: number;
  readonly levels: number;
  readonly supervisor: boolean;
  readonly writeProtect: boolean;
  readonly extendedAccessed: boolean;
}

/** What one VM has of one function. */
export class GuestFunction {
  readonly device: IommuDevice;
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #parent: PagingDomain;
  readonly #entries: KeptMap<Pasid, GuestEntry>;
  readonly #sharedId: object;

  /** @param of `sharedId`: what its entries share a domain id with; each other, if it is left out */
  constructor(
    context: KernelContext,
    iommu: Iommu,
    of: { readonly parent: PagingDomain; readonly device: IommuDevice; readonly sharedId?: object },
  ) {
    this.#context = context;
    this.#iommu = iommu;
    this.#parent = of.parent;
    this.device = of.device;
    this.#sharedId = of.sharedId ?? {};
    this.#entries = new KeptMap(context.log);
  }

  /**
   * Makes a binding a user of the entry at a PASID, which is valid then.
   *
   * On failure: `EINVAL` for a root that is not the guest's, `EBUSY` if the entry is another's, or what the IOMMU
   * core refuses with; the binding does not have the entry.
   */
  *enter(
    binding: GuestBinding,
    pasid: Pasid,
    stage: GuestStage,
  ): Task<GuestEntry | Refusal<AttachErrno | 'EIO'>> {
    const { guestPasid } = binding;
    for (let known = this.#entries.get(pasid); known !== undefined; known = this.#entries.get(pasid)) {
      if (known.state === 'present') return this.#share(known, binding, stage);
      if (known.state === 'stuck') return refuse('EBUSY', `${known.domain.name} was not let go of`);
      yield known.changed;
    }
    const what = guestPasid === WITHOUT_PASID ? 'no PASID' : `guest PASID ${guestPasid}`;
    const { root, levels, supervisor, writeProtect, extendedAccessed } = stage;
    const domain = this.#iommu.allocNested(this.#parent, {
      name: `${what} of ${this.#parent.name}`,
      root,
      levels,
      supervisor,
      writeProtect,
      extendedAccessed,
      sharedId: this.#sharedId,
    });
    if (isRefusal(domain)) return domain;
    const entry = new GuestEntry(this.#context, { pasid, guestPasid, domain });
    entry.users.push(binding);
    this.#entries.set(pasid, entry);
    const attachment = yield* this.#iommu.attach(this.device, pasid, domain, entry);
    if (isRefusal(attachment)) {
      this.#entries.delete(pasid);
      entry.become('gone');
      return attachment;
    }
    entry.change().attachment = attachment;
    entry.become('present');
    binding.entries.push(entry);
    return entry;
  }

  /**
   * An entry whose last user goes leads nowhere from now on, and its faults are not recorded: until that one leaves it.
   *
   * On failure: `EIO` if hardware did not confirm.
   */
  *mute(entry: GuestEntry): Task<Refusal<'EIO'> | undefined> {
    const attachment = entry.attachment;
    if (entry.users.length > 1 || attachment === undefined) return undefined;
    entry.stop();
    const refusal = yield* this.#iommu.mute(attachment);
    if (refusal !== undefined) entry.become('stuck');
    return refusal;
  }

  /**
   * A binding is no user of an entry any more; the last one clears it.
   *
   * On failure: `EIO` if hardware did not confirm: the binding stays the entry's.
   */
  *leave(binding: GuestBinding, entry: GuestEntry): Task<Refusal<'EIO'> | undefined> {
    const attachment = entry.attachment;
    if (entry.users.length === 1 && attachment !== undefined) {
      entry.stop();
      const refusal = yield* this.#iommu.detach(attachment);
      if (refusal !== undefined) {
        entry.become('stuck');
        return refusal;
      }
      this.#entries.delete(entry.pasid);
      entry.become('gone');
    }
    entry.users.remove(binding);
    binding.entries.remove(entry);
    return undefined;
  }

  #share(entry: GuestEntry, binding: GuestBinding, stage: GuestStage): GuestEntry | Refusal<'EBUSY'> {
    const { domain, guestPasid } = entry;
    const isSame =
      guestPasid === binding.guestPasid &&
      domain.root === stage.root &&
      domain.levels === stage.levels &&
      domain.supervisor === stage.supervisor &&
      domain.writeProtect === stage.writeProtect &&
      domain.extendedAccessed === stage.extendedAccessed;
    // Where devices are not told apart, what is there is taken for what was asked for.
    if (!isSame && this.#iommu.protections.bindPerDevice)
      return refuse('EBUSY', `${domain.name} has another first stage on ${this.device.name}`);
    entry.users.push(binding);
    binding.entries.push(entry);
    return entry;
  }
}
