/**
 * A VFIO container of type `VFIO_TYPE1_NESTING_IOMMU`: a process's devices, the memory that they reach, and the guest
 * PASIDs that are bound for them. What the calls take are the structures of the user-space interface as bytes, judged
 * as ioctls judge them; each does all of what it says or nothing, and goes on to its end though the process is killed
 * meanwhile.
 */
import {
  assert,
  ended,
  isRefusal,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
} from '../../base/index.js';
import { type IoasidSet, ioasidAlloc, ioasidFree, ioasidSetForEach } from '../../ioasid/index.js';
import { encode, IOMMU_NESTING_INFO, IOMMU_PASID_FORMAT_INTEL_VTD } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { PAGE_BYTES } from '../ids.js';
import type { AuxDomain } from '../iommu/aux-domain.js';
import type { Iommu } from '../iommu/core.js';
import type { Domain } from '../iommu/domain.js';
import { type GuestDevice, WITHOUT_PASID } from '../iommu/guest/binding.js';
import type { GuestSpace } from '../iommu/guest/space.js';
import type { PagingDomain } from '../iommu/paging-domain.js';
import type { Process } from '../process.js';
import { uninterrupted } from '../uninterrupted.js';
import {
  answerDmaUnmap,
  parseBind,
  parseDmaMap,
  parseDmaUnmap,
  parseInvalidation,
  parsePasidRequest,
  parseResponse,
  parseUnbind,
} from './arguments.js';
import { AuxPart } from './aux-part.js';
import { encodeFault, type FaultListener, type VfioDevice } from './device.js';
import type { DmaMappings } from './dma.js';
import { FunctionReach, type Reach } from './reach.js';

export interface ContainerParts {
  readonly iommu: Iommu;
  readonly process: Process;
  readonly domain: PagingDomain;
  /** The same, as parts of functions are attached to it. */
  readonly aux: AuxDomain;
  readonly space: GuestSpace;
  readonly dma: DmaMappings;
  /** Takes a device for the container, if it has no other owner. */
  readonly claim: (device: VfioDevice) => Refusal<'EBUSY'> | undefined;
  readonly unclaim: (device: VfioDevice) => void;
  /** Called when all of it is gone. */
  readonly closed: (space: GuestSpace) => void;
}

/** A device in a container. */
interface Member {
  readonly guest: GuestDevice;
  /** What it reaches without a PASID. */
  readonly reach: Reach;
}

export class VfioContainer {
  readonly name: string;
  readonly #context: KernelContext;
  readonly #parts: ContainerParts;
  readonly #members: KeptMap<VfioDevice, Member>;
  readonly #state: KeptValue<'open' | 'closing' | 'closed'>;
  /** Devices that somebody takes out. */
  readonly #leaving: KeptMap<VfioDevice, true>;
  /** Woken when one is out, or could not be taken out. */
  readonly #left: WaitQueue;

  /** @internal */
  constructor(context: KernelContext, parts: ContainerParts) {
    this.#context = context;
    this.#parts = parts;
    this.name = `vfio ${parts.process.name}`;
    this.#members = new KeptMap(context.log);
    this.#leaving = new KeptMap(context.log);
    this.#left = new WaitQueue(`${this.name}: a device leaves`);
    this.#state = new KeptValue<'open' | 'closing' | 'closed'>(context.log, 'open');
  }

  /** The ids of the VM: of type mm, its token the process's memory. */
  get set(): IoasidSet {
    return this.#parts.space.set;
  }

  /** Maps guest-physical memory for devices. */
  get domain(): PagingDomain {
    return this.#parts.domain;
  }

  /**
   * Takes a device. Its requests without a PASID reach the container's memory from now on: of a whole function as they
   * are, of a mediated device by the default PASID, which it is told.
   *
   * On failure: `ENODEV` if its unit has no nested translation, or the container is closed; `EBUSY` if it, or what it
   * is made of, has another owner; `EINVAL`, `EOPNOTSUPP` if the unit cannot use the domain; `EDQUOT`, `ENOSPC`,
   * `ENOMEM`, `EIO`. It is not in the container.
   */
  addDevice(device: VfioDevice): Task<Refusal | undefined> {
    return this.#call('add', this.#addDevice(device));
  }

  /**
   * Takes a device out, whatever is bound for it: returns when nothing of the container's PASIDs and memory is in its
   * reach, and it may be another's. What is bound is undone in the phases of every tear-down, for this device alone:
   * others go on with the same PASIDs. Until then what the guest undoes by itself waits for it.
   *
   * On failure: `ENODEV` if it is not in the container, or somebody takes it out; `EIO` if hardware did not confirm:
   * nothing can be bound for it, and one can try again.
   */
  removeDevice(device: VfioDevice): Task<Refusal | undefined> {
    return this.#call('remove', this.#removeDevice(device));
  }

  /**
   * Has a device's requests without a PASID reach the container's memory, as they do once it has been added. That they
   * do already is no error.
   *
   * On failure: `ENODEV` if the device is not in the container; as `addDevice`. They are blocked.
   */
  attachDomain(device: VfioDevice): Task<Refusal | undefined> {
    return this.#call(
      'attach',
      this.#reachOf(device, (reach) => reach.attach()),
    );
  }

  /**
   * Blocks them: returns when nothing of them is under way. That they are blocked already is no error.
   *
   * On failure: `ENODEV` if the device is not in the container; `EIO` if hardware did not confirm: they may reach it
   * still.
   */
  detachDomain(device: VfioDevice): Task<Refusal | undefined> {
    return this.#call(
      'detach',
      this.#reachOf(device, (reach) => reach.detach()),
    );
  }

  /** What nested translation there is, as `struct iommu_nesting_info`: what all units of its devices have. */
  info(): Uint8Array {
    const { domain } = this.#parts;
    const units = this.#members.values().map(({ guest }) => guest.iommu);
    const offers = units.map(({ driver }) => driver.nesting);
    const has = offers.length > 0;
    const every = (pick: 'cap' | 'ecap'): bigint =>
      has ? offers.reduce((all, offer) => all & (offer?.[pick] ?? 0n), 2n ** 64n - 1n) : 0n;
    const words = encode(IOMMU_NESTING_INFO, {
      ARGSZ: IOMMU_NESTING_INFO.bytes,
      FORMAT: IOMMU_PASID_FORMAT_INTEL_VTD,
      BIND_PGTBL: has ? 1 : 0,
      CACHE_INVLD: has ? 1 : 0,
      ADDR_WIDTH: domain.width,
      PASID_BITS: has ? Math.min(...units.map(({ pasidBits }) => pasidBits)) : 0,
      CAP_REG: every('cap'),
      ECAP_REG: every('ecap'),
    });
    return new Uint8Array(words.buffer);
  }

  /**
   * Maps memory of the process for its devices (`struct vfio_iommu_type1_dma_map`): its pages are held.
   *
   * On failure: as `DmaMappings.map`; `EFAULT`, `EINVAL` for the argument; `ENODEV` if the container is closed.
   */
  mapDma(argument: Uint8Array): Task<Refusal | undefined> {
    return this.#call('map', this.#mapDma(argument));
  }

  /**
   * Takes mappings away (`struct vfio_iommu_type1_dma_unmap`); the argument's size says how much that was.
   *
   * On failure: as `DmaMappings.unmap`; `EFAULT`, `EINVAL` for the argument; `ENODEV`.
   */
  unmapDma(argument: Uint8Array): Task<Refusal | undefined> {
    return this.#call('unmap', this.#unmapDma(argument));
  }

  /**
   * Allocates a PASID of a range, or frees those of one (`struct vfio_iommu_type1_pasid_request`), at once. What is
   * freed while it is bound is torn down by itself; to free it again is no error. A range of several frees those of
   * the VM's in it.
   *
   * @returns the PASID, or 0
   *
   * On failure: as `ioasidAlloc` and `ioasidFree`; `EFAULT`, `EINVAL` for the argument; `ENODEV`.
   */
  pasidRequest(argument: Uint8Array): number | Refusal {
    const request = this.#isOpen() ?? parsePasidRequest(argument);
    if (isRefusal(request)) return request;
    const { set } = this;
    const { kind, min, max } = request;
    if (kind === 'alloc') return ioasidAlloc(set, min, max);
    if (min === max) {
      const freed = ioasidFree(set, min);
      return isRefusal(freed) ? freed : 0;
    }
    return ioasidSetForEach(set, (id) => void (id >= min && id <= max && ioasidFree(set, id))) ?? 0;
  }

  /**
   * Binds a guest's first stage to a PASID, for one device (`struct iommu_gpasid_bind_data`). A guest's PASID 0 stands
   * for requests that have none in the guest; they are blocked before, by {@link VfioContainer.detachDomain}.
   *
   * On failure: as `GuestSpace.bind`; `EFAULT`, `EINVAL` for the argument; `ENODEV` for a device that is not in the
   * container. Nothing is bound.
   */
  bindGpasid(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined> {
    const guest = this.#guestOf(device);
    if (isRefusal(guest)) return ended(guest);
    const request = parseBind(argument);
    if (isRefusal(request)) return ended(request);
    if (request.guestPasid === WITHOUT_PASID && this.#members.get(device)?.reach.isAttached === true) {
      return ended(refuse('EBUSY', `requests of ${device.name} without a PASID meet the VM's memory`));
    }
    return this.#call('bind', this.#parts.space.bind(guest, request));
  }

  /**
   * Undoes a bind (`struct iommu_gpasid_bind_data`, of which the PASIDs count): returns when nothing of it is left; or,
   * if it is muted, when nothing leads anywhere any more.
   *
   * On failure: as `GuestSpace.unbind`; `EFAULT`, `EINVAL` for the argument; `ENODEV`.
   */
  unbindGpasid(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined> {
    const guest = this.#guestOf(device);
    if (isRefusal(guest)) return ended(guest);
    const request = parseUnbind(argument);
    if (isRefusal(request)) return ended(request);
    return this.#call('unbind', this.#parts.space.unbind(guest, request));
  }

  /**
   * Returns when hardware has forgotten what the guest says that it has changed (`struct
   * iommu_cache_invalidate_info`). PASIDs are the guest's; a domain is what the VM has on the device.
   *
   * On failure: `EFAULT`, `EINVAL` for the argument; `ENODEV`; `EIO`.
   */
  invalidate(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined> {
    const guest = this.#guestOf(device);
    if (isRefusal(guest)) return ended(guest);
    const what = parseInvalidation(argument);
    if (isRefusal(what)) return ended(what);
    return this.#call('invalidate', this.#parts.space.invalidate(guest, what));
  }

  /**
   * Answers a group of page requests that the device's listener was told of (`struct iommu_page_response`).
   *
   * On failure: as `GuestSpace.respond`; `EFAULT`, `EINVAL` for the argument; `ENODEV`.
   */
  pageResponse(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined> {
    const guest = this.#guestOf(device);
    if (isRefusal(guest)) return ended(guest);
    const answer = parseResponse(argument);
    if (isRefusal(answer)) return ended(answer);
    // Response Failure stops all of a function, and others may have a part of it.
    const isOthersToo = device.usesParentPasids && answer.response === 'failure';
    const response = isOthersToo ? 'invalid request' : answer.response;
    return this.#call('respond', this.#parts.space.respond(guest, { ...answer, response }));
  }

  /** Has `listener` told of the device's faults, by the guest's PASIDs. A `Bug` for a device that is not here. */
  onFault(device: VfioDevice, listener: FaultListener): void {
    const member = this.#members.get(device);
    assert(member !== undefined, `${device.name} is not in ${this.name}`);
    member.guest.listener.value = (fault) => listener(encodeFault(fault));
  }

  /**
   * Nobody will be told of faults any more, nor answer: the guest stands still. Page requests, outstanding and new, are
   * answered Invalid Request.
   */
  mute(): Task {
    return uninterrupted(this.#context, () => `${this.name}: mute`, this.#parts.space.mute());
  }

  /**
   * The end of it, from whatever state: returns when nothing of it is left but what hardware did not let go of.
   * Once more is no error.
   */
  close(): Task {
    return uninterrupted(this.#context, () => `${this.name}: close`, this.#close());
  }

  /** As an open file. */
  release(): Task {
    return this.close();
  }

  *#addDevice(device: VfioDevice): Task<Refusal | undefined> {
    const { space, claim, unclaim } = this.#parts;
    const unsuited = this.#whyNot(device);
    if (unsuited !== undefined) return unsuited;
    const taken = claim(device);
    if (taken !== undefined) return taken;
    const guest = space.addDevice(device);
    if (isRefusal(guest)) {
      unclaim(device);
      return guest;
    }
    const member = yield* this.#attach(guest);
    if (!isRefusal(member) && this.#isOpen() === undefined) {
      this.#members.set(device, member);
      return undefined;
    }
    if (!isRefusal(member)) yield* member.reach.end();
    space.removeDevice(guest);
    unclaim(device);
    return isRefusal(member) ? member : this.#isOpen();
  }

  *#removeDevice(device: VfioDevice): Task<Refusal | undefined> {
    const member = this.#members.get(device);
    if (member === undefined || this.#leaving.has(device)) {
      return refuse('ENODEV', `${device.name} is not in ${this.name}, or is being taken out`);
    }
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

  #forget(device: VfioDevice, { guest }: Member): void {
    this.#parts.space.removeDevice(guest);
    this.#members.delete(device);
  }

  *#mapDma(argument: Uint8Array): Task<Refusal | undefined> {
    const request = parseDmaMap(argument);
    return isRefusal(request) ? request : yield* this.#parts.dma.map(request);
  }

  *#unmapDma(argument: Uint8Array): Task<Refusal | undefined> {
    const range = parseDmaUnmap(argument);
    if (isRefusal(range)) return range;
    const pages = yield* this.#parts.dma.unmap(range);
    if (isRefusal(pages)) return pages;
    answerDmaUnmap(argument, pages * PAGE_BYTES);
    return undefined;
  }

  *#close(): Task {
    if (this.#state.value !== 'open') return;
    this.#state.value = 'closing';
    const { space, dma, domain, unclaim, closed } = this.#parts;
    const held = yield* space.close();
    while (this.#leaving.size > 0) yield this.#left;
    for (const device of this.#members.keys()) {
      const member = this.#members.get(device);
      if (member === undefined) continue;
      const refusal = yield* member.reach.end();
      this.#forget(device, member);
      // A device that hardware did not let go of has no next owner.
      if (refusal === undefined && held === undefined) unclaim(device);
    }
    // While something is attached, its frames stay held.
    if (domain.uses.value === 0 && (yield* dma.unmapAll()) === undefined) domain.free();
    closed(space);
    this.#state.value = 'closed';
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

  *#reachOf(
    device: VfioDevice,
    does: (reach: Reach) => Task<Refusal | undefined>,
  ): Task<Refusal | undefined> {
    const reach = this.#members.get(device)?.reach;
    if (reach === undefined || this.#leaving.has(device)) {
      return refuse('ENODEV', `${device.name} is not in ${this.name}, or is being taken out`);
    }
    return yield* does(reach);
  }

  /** Why a device cannot have nested translation here. */
  #whyNot({ iommu, name }: VfioDevice): Refusal | undefined {
    if (iommu.driver.nesting !== undefined && iommu.pasidBits > 0) return undefined;
    return refuse('ENODEV', `no nested translation for ${name} by ${iommu.driver.name}`);
  }

  #guestOf(device: VfioDevice): GuestDevice | Refusal<'ENODEV'> {
    const closed = this.#isOpen();
    if (closed !== undefined) return closed;
    const member = this.#members.get(device);
    return member?.guest ?? refuse('ENODEV', `${device.name} is not in ${this.name}`);
  }

  #isOpen(): Refusal<'ENODEV'> | undefined {
    return this.#state.value === 'open' ? undefined : refuse('ENODEV', `${this.name} is closed`);
  }

  #call(what: string, body: Task<Refusal | undefined>): Task<Refusal | undefined> {
    const closed = this.#isOpen();
    if (closed !== undefined) return ended(closed);
    return uninterrupted(this.#context, () => `${this.name}: ${what}`, body);
  }
}
