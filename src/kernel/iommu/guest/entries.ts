/**
 * The table entries of a virtual machine's bindings: where they stand, and under which number. A binding has one in the
 * table of its device's function, or two, where what the function is sent has either number (bug B9); in those of all
 * functions of the VM, if they are not to be kept apart (`protections.ts`).
 */
import { isRefusal, type KeptList, KeptMap, type Refusal, type Task } from '../../../base/index.js';
import type { KernelContext } from '../../context.js';
import { Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import type { IommuDevice } from '../device.js';
import type { AttachErrno } from '../driver.js';
import type { PagingDomain } from '../paging-domain.js';
import { type GuestBinding, type GuestDevice, type GuestEntry, WITHOUT_PASID } from './binding.js';
import { GuestFunction, type GuestStage } from './function.js';

export class GuestEntries {
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #parent: PagingDomain;
  readonly #devices: KeptList<GuestDevice>;
  readonly #functions: KeptMap<IommuDevice, GuestFunction>;
  /** What all functions share a domain id by, where they are not told apart. */
  readonly #sharedId = {};

  /** @param of `parent`: maps guest-physical memory; `devices`: the VM's */
  constructor(
    context: KernelContext,
    iommu: Iommu,
    of: { readonly parent: PagingDomain; readonly devices: KeptList<GuestDevice> },
  ) {
    this.#context = context;
    this.#iommu = iommu;
    this.#parent = of.parent;
    this.#devices = of.devices;
    this.#functions = new KeptMap(context.log);
  }

  /** Makes a binding's entries: each is valid then. The ones before that which failed are there. */
  *enter(binding: GuestBinding, stage: GuestStage): Task<Refusal<AttachErrno | 'EIO'> | undefined> {
    for (const { device, pasid } of this.#placesOf(binding)) {
      const entry = yield* this.#functionOf(device).enter(binding, pasid, stage);
      if (isRefusal(entry)) return entry;
    }
    return undefined;
  }

  /**
   * Clears a binding's entries, as far as nobody else uses them.
   *
   * On failure: `EIO`; those that are left stay the binding's.
   */
  *leave(binding: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    let refusal: Refusal<'EIO'> | undefined;
    for (const entry of [...binding.entries.items]) {
      const device = entry.attachment?.device ?? binding.device.iommu;
      refusal = (yield* this.#functionOf(device).leave(binding, entry)) ?? refusal;
    }
    return refusal;
  }

  /** A binding's entries lead nowhere. On failure: `EIO`. */
  *mute({ device, entries }: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    let refusal: Refusal<'EIO'> | undefined;
    for (const entry of [...entries.items]) {
      const at = entry.attachment?.device ?? device.iommu;
      refusal = (yield* this.#functionOf(at).mute(entry)) ?? refusal;
    }
    return refusal;
  }

  /** Where a binding's entries stand: in the table of its device's function alone. */
  #placesOf(binding: GuestBinding): { readonly device: IommuDevice; readonly pasid: Pasid }[] {
    const { device, id, guestPasid } = binding;
    const { iommu, endpoint } = device;
    const own = carriedBy(binding);
    if (endpoint.takesBothNumbers !== true && this.#iommu.protections.bindPerDevice) {
      return [{ device: iommu, pasid: own }];
    }
    const takesBoth = endpoint.takesBothNumbers === true && guestPasid !== WITHOUT_PASID;
    const pasids = takesBoth ? [...new Set([own, Pasid.of(id)])] : [own];
    const others = this.#iommu.protections.bindPerDevice ? [] : this.#devices.items.map((each) => each.iommu);
    const functions = [...new Set([iommu, ...others])];
    return functions.flatMap((each) => pasids.map((pasid) => ({ device: each, pasid })));
  }

  #functionOf(device: IommuDevice): GuestFunction {
    const known = this.#functions.get(device);
    if (known !== undefined) return known;
    const shared = this.#iommu.protections.ownDomainIds ? {} : { sharedId: this.#sharedId };
    const made = new GuestFunction(this.#context, this.#iommu, { parent: this.#parent, device, ...shared });
    this.#functions.set(device, made);
    return made;
  }
}

/**
 * The PASID that the requests of a binding's device carry. It is the host's, but for a whole function's: nobody stands
 * between it and the guest, which programs its own numbers into it (flow 4).
 */
export const carriedBy = ({ device: { endpoint }, id: hostPasid, guestPasid }: GuestBinding): Pasid =>
  Pasid.of(endpoint.usesParentPasids ? hostPasid : guestPasid);

/** The entries that hardware may have something of, by the function whose table they are in. */
export function presentByDevice(entries: readonly GuestEntry[]): Map<IommuDevice, GuestEntry[]> {
  const found = new Map<IommuDevice, GuestEntry[]>();
  for (const entry of entries) {
    const attachment = entry.attachment;
    if (attachment?.entry !== 'present') continue;
    const others = found.get(attachment.device);
    if (others === undefined) found.set(attachment.device, [entry]);
    else others.push(entry);
  }
  return found;
}
