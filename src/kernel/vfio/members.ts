/**
 * The devices of a container: which there are, what each reaches without a PASID, and how they come and go. Between two
 * that come or go nobody waits for the other; who closes the container waits for all.
 */
import { assert, isRefusal, KeptMap, type Refusal, refuse, type Task, WaitQueue } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import type { AuxDomain } from '../iommu/aux-domain.js';
import type { Iommu } from '../iommu/core.js';
import type { IommuDevice } from '../iommu/device.js';
import type { Domain } from '../iommu/domain.js';
import type { GuestDevice } from '../iommu/guest/binding.js';
import type { GuestSpace } from '../iommu/guest/space.js';
import type { PagingDomain } from '../iommu/paging-domain.js';
import { AuxPart } from './aux-part.js';
import type { VfioDevice } from './device.js';
import { FunctionReach, type Reach } from './reach.js';

/** What devices are put into. */
export interface MemberParts {
  readonly iommu: Iommu;
  readonly domain: PagingDomain;
  /** The same, as parts of functions are attached to it. */
  readonly aux: AuxDomain;
  readonly space: GuestSpace;
  /** Takes a device for the container, if it has no other owner. */
  readonly claim: (device: VfioDevice) => Refusal<'EBUSY'> | undefined;
  readonly unclaim: (device: VfioDevice) => void;
}

/** A device in a container. */
interface Member {
  readonly guest: GuestDevice;
  /** What it reaches without a PASID. */
  readonly reach: Reach;
}

export class ContainerMembers {
  readonly #name: string;
  readonly #context: KernelContext;
  readonly #parts: MemberParts;
  readonly #members: KeptMap<VfioDevice, Member>;
  /** Devices that somebody takes out. */
  readonly #leaving: KeptMap<VfioDevice, true>;
  /** Woken when one is out, or could not be taken out. */
  readonly #left: WaitQueue;

  /** @param name the container's */
  constructor(context: KernelContext, name: string, parts: MemberParts) {
    this.#name = name;
    this.#context = context;
    this.#parts = parts;
    this.#members = new KeptMap(context.log);
    this.#leaving = new KeptMap(context.log);
    this.#left = new WaitQueue(`${name}: a device leaves`);
  }

  /** The functions that they are, or are parts of. */
  get functions(): readonly IommuDevice[] {
    return this.#members.values().map(({ guest }) => guest.iommu);
  }

  /** On failure: `ENODEV` if it is not here. */
  guestOf(device: VfioDevice): GuestDevice | Refusal<'ENODEV'> {
    const member = this.#members.get(device);
    return member?.guest ?? refuse('ENODEV', `${device.name} is not in ${this.#name}`);
  }

  /** A `Bug` for a device that is not here. */
  get(device: VfioDevice): GuestDevice {
    const member = this.#members.get(device);
    assert(member !== undefined, `${device.name} is not in ${this.#name}`);
    return member.guest;
  }

  /** Whether its requests without a PASID meet the container's memory. */
  isAttached(device: VfioDevice): boolean {
    return this.#members.get(device)?.reach.isAttached === true;
  }

  /**
   * @param isOpen why the container takes none any more
   *
   * On failure: as `VfioContainer.addDevice`.
   */
  *add(device: VfioDevice, isOpen: () => Refusal<'ENODEV'> | undefined): Task<Refusal | undefined> {
    const { space, claim, unclaim } = this.#parts;
    const unsuited = whyNot(device);
    if (unsuited !== undefined) return unsuited;
    const taken = claim(device);
    if (taken !== undefined) return taken;
    const guest = space.addDevice(device);
    if (isRefusal(guest)) {
      unclaim(device);
      return guest;
    }
    const member = yield* this.#attach(guest);
    if (!isRefusal(member) && isOpen() === undefined) {
      this.#members.set(device, member);
      return undefined;
    }
    if (!isRefusal(member)) yield* member.reach.end();
    space.removeDevice(guest);
    unclaim(device);
    return isRefusal(member) ? member : isOpen();
  }

  /** On failure: as `VfioContainer.removeDevice`. */
  *remove(device: VfioDevice): Task<Refusal | undefined> {
    const member = this.#members.get(device);
    if (member === undefined || this.#leaving.has(device)) return this.#notHere(device);
    const { space } = this.#parts;
    this.#leaving.set(device, true);
    const refusal = (yield* space.evict(member.guest)) ?? (yield* member.reach.end());
    this.#leaving.delete(device);
    this.#left.wakeAll();
    if (refusal !== undefined) return refusal;
    this.#forget(device, member);
    this.#parts.unclaim(device);
    return undefined;
  }

  /** Does something about what a device reaches. On failure: `ENODEV` if it is not here, or is being taken out. */
  *reachOf(device: VfioDevice, does: (reach: Reach) => Task<Refusal | undefined>): Task<Refusal | undefined> {
    const reach = this.#members.get(device)?.reach;
    if (reach === undefined || this.#leaving.has(device)) return this.#notHere(device);
    return yield* does(reach);
  }

  /**
   * All go, at the end of the container.
   *
   * @param isHeld hardware has not let go of a PASID of its: none of them has a next owner
   */
  *removeAll(isHeld: boolean): Task {
    while (this.#leaving.size > 0) yield this.#left;
    for (const device of this.#members.keys()) {
      const member = this.#members.get(device);
      if (member === undefined) continue;
      const refusal = yield* member.reach.end();
      this.#forget(device, member);
      // Nor has a device that hardware did not let go of.
      if (refusal === undefined && !isHeld) this.#parts.unclaim(device);
    }
  }

  #notHere({ name }: VfioDevice): Refusal<'ENODEV'> {
    return refuse('ENODEV', `${name} is not in ${this.#name}, or is being taken out`);
  }

  #forget(device: VfioDevice, { guest }: Member): void {
    this.#parts.space.removeDevice(guest);
    this.#members.delete(device);
  }

  /** Has a device's requests without a PASID meet the container's memory. */
  *#attach(guest: GuestDevice): Task<Member | Refusal> {
    const { iommu, domain, aux } = this.#parts;
    const { endpoint: device } = guest;
    const reach = device.usesParentPasids
      ? new AuxPart(this.#context, aux, device)
      : new FunctionReach(this.#context, iommu, { device, domain: domain as Domain });
    return (yield* reach.attach()) ?? { guest, reach };
  }
}

/** Why a device cannot have nested translation in a container. */
function whyNot({ iommu, name }: VfioDevice): Refusal | undefined {
  if (iommu.driver.nesting !== undefined && iommu.pasidBits > 0) return undefined;
  return refuse('ENODEV', `no nested translation for ${name} by ${iommu.driver.name}`);
}
