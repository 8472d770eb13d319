/**
 * A VFIO container of type `VFIO_TYPE1_NESTING_IOMMU`: a process's devices, the memory that they reach, and the guest
 * PASIDs that are bound for them. What the calls take are the structures of the user-space interface as bytes, judged
 * as ioctls judge them; each does all of what it says or nothing, and goes on to its end though the process is killed
 * meanwhile.
 */
import { ended, isRefusal, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import { type IoasidSet, ioasidAlloc, ioasidFree, ioasidSetForEach } from '../../ioasid/index.js';
import type { KernelContext } from '../context.js';
import { PAGE_BYTES } from '../ids.js';
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
import { encodeFault, type FaultListener, type VfioDevice } from './device.js';
import type { DmaMappings } from './dma.js';
import { ContainerMembers, type MemberParts } from './members.js';
import { nestingInfo } from './nesting-info.js';

export interface ContainerParts extends MemberParts {
  readonly process: Process;
  readonly dma: DmaMappings;
  /** Called when all of it is gone. */
  readonly closed: (space: GuestSpace) => void;
}

export class VfioContainer {
  readonly name: string;
  readonly #context: KernelContext;
  readonly #parts: ContainerParts;
  readonly #members: ContainerMembers;
  readonly #state: KeptValue<'open' | 'closing' | 'closed'>;

  /** @internal */
  constructor(context: KernelContext, parts: ContainerParts) {
    this.#context = context;
    this.#parts = parts;
    this.name = `vfio ${parts.process.name}`;
    this.#members = new ContainerMembers(context, this.name, parts);
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
    return this.#call(
      'add',
      this.#members.add(device, () => this.#isOpen()),
    );
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
    return this.#call('remove', this.#members.remove(device));
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
      this.#members.reachOf(device, (reach) => reach.attach()),
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
      this.#members.reachOf(device, (reach) => reach.detach()),
    );
  }

  /** What nested translation there is, as `struct iommu_nesting_info`: what all units of its devices have. */
  info(): Uint8Array {
    return nestingInfo(this.#members.functions, this.#parts.domain);
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
    if (request.guestPasid === WITHOUT_PASID && this.#members.isAttached(device)) {
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
    this.#members.get(device).listener.value = (fault) => listener(encodeFault(fault));
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
    const { space, dma, domain, closed } = this.#parts;
    const held = yield* space.close();
    yield* this.#members.removeAll(held !== undefined);
    // While something is attached, its frames stay held.
    if (domain.uses.value === 0 && (yield* dma.unmapAll()) === undefined) domain.free();
    closed(space);
    this.#state.value = 'closed';
  }

  #guestOf(device: VfioDevice): GuestDevice | Refusal<'ENODEV'> {
    return this.#isOpen() ?? this.#members.guestOf(device);
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
