/**
 * Guest PASIDs of one virtual machine: first stages of a guest's, bound to PASIDs of the host's over the VM's second
 * stage (flow 2.3 to 2.7).
 *
 * To bind: a reference to the id is taken, the entry becomes valid, then the SPID is attached, by which the core
 * announces BIND with the first device. How a binding ends is `tear-down.ts`. From UNBIND on, or FREE, page requests of
 * the PASID are answered by the host.
 *
 * Nobody but its guest drains a whole function, and a guest's memory may go before its queues are closed. The guest's
 * entry says then that faults of what still comes are not to be recorded (FPD; VT-d 4.1, 9.6), and so does the host's,
 * until the guest's is empty or the id is freed. A part is drained here: its entry is emptied at once.
 */
import { Bug, isRefusal, KeptList, KeptValue, type Refusal, refuse, type Task } from '../../../base/index.js';
import {
  Ioasid,
  type IoasidSet,
  ioasidAttachSpid,
  ioasidFind,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidSetFree,
} from '../../../ioasid/index.js';
import { type KernelContext, tell } from '../../context.js';
import { type GuestPasid, Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import type { PageResponse } from '../driver.js';
import type { PagingDomain } from '../paging-domain.js';
import { GuestBinding, GuestDevice, type GuestEndpoint, type GuestEntry, WITHOUT_PASID } from './binding.js';
import { GuestBindings } from './bindings.js';
import { GuestEntries, presentByDevice } from './entries.js';
import type { GuestBindRequest, GuestInvalidation, GuestUnbindRequest } from './requests.js';
import { GuestTearDown } from './tear-down.js';

type BindErrno =
  | ('EINVAL' | 'EOVERFLOW' | 'EOPNOTSUPP' | 'ENODEV' | 'ENOENT' | 'EACCES' | 'EBUSY' | 'EAGAIN')
  | ('ENOSPC' | 'ENOMEM' | 'EIO');

export interface GuestSpaceOptions {
  readonly name: string;
  readonly set: IoasidSet;
  /** Maps guest-physical memory. */
  readonly parent: PagingDomain;
}

export class GuestSpace {
  readonly set: IoasidSet;
  readonly parent: PagingDomain;
  readonly name: string;
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #devices: KeptList<GuestDevice>;
  readonly #bindings: GuestBindings;
  readonly #entries: GuestEntries;
  readonly #tearDown: GuestTearDown;
  readonly #isClosed: KeptValue<boolean>;

  constructor(context: KernelContext, iommu: Iommu, of: GuestSpaceOptions) {
    const { name, set, parent } = of;
    this.#context = context;
    this.#iommu = iommu;
    this.name = name;
    this.set = set;
    this.parent = parent;
    const devices = new KeptList<GuestDevice>(context.log);
    const bindings = new GuestBindings(context, of);
    const entries = new GuestEntries(context, iommu, { parent, devices });
    this.#devices = devices;
    this.#bindings = bindings;
    this.#entries = entries;
    this.#tearDown = new GuestTearDown(context, iommu, { name, set, devices, bindings, entries });
    this.#isClosed = new KeptValue(context.log, false);
  }

  /**
   * A device that PASIDs can be bound to.
   *
   * On failure: `ENOMEM`.
   */
  addDevice(endpoint: GuestEndpoint): GuestDevice | Refusal<'ENOMEM'> {
    // The host's name of a device: no two have one, and a mediated device's says whose it is.
    const { name } = endpoint;
    const wake = (): void => void this.#context.tasks.spawn(`${name}: unbind`, this.#tearDown.work(device));
    const holder = ioasidHolderAlloc(this.set.core, `vfio ${name}`, wake);
    if (isRefusal(holder)) return refuse('ENOMEM', holder.why);
    const device = new GuestDevice(this.#context, endpoint, holder);
    this.#devices.push(device);
    return device;
  }

  /**
   * Nothing is bound for a device any more, and what was goes, in the phases of every tear-down: returns when it has.
   * Other devices keep what they have, of the same PASIDs too; its page requests that may be theirs are told to them.
   *
   * On failure: `EIO` if hardware did not confirm all of it: those ids stay in use, and one can try again.
   */
  *evict(device: GuestDevice): Task<Refusal<'EIO'> | undefined> {
    device.isLeaving.value = true;
    device.listener.value = undefined;
    for (const binding of device.bindings.values()) {
      while (binding.state === 'binding') yield binding.changed;
      yield* this.#tearDown.letGo([binding]);
    }
    for (const binding of device.bindings.values()) {
      while (binding.state === 'leaving') yield binding.changed;
    }
    if (device.bindings.size === 0) return undefined;
    return refuse('EIO', `${device.name} did not let go of PASIDs ${device.bindings.keys().join(', ')}`);
  }

  /** Forgets a device of which nothing is bound. */
  removeDevice(device: GuestDevice): void {
    this.#devices.remove(device);
    // Who still holds ids that hardware did not let go of stays.
    ioasidHolderFree(device.holder);
  }

  /**
   * Binds a guest's first stage to a PASID, for one device.
   *
   * On failure: `EINVAL` for what is no id, no SPID, or a root that the VM does not have; `ENOENT` if the id is
   * free; `EACCES` if it is of another set; `EBUSY` if it is being freed, is bound for this device, or if one of the
   * two numbers stands for another; `EAGAIN` while others still undo an earlier binding; `ENODEV` if the VM is
   * ending, or the device goes; what the IOMMU core refuses with. Nothing is bound.
   */
  *bind(device: GuestDevice, request: GuestBindRequest): Task<Refusal<BindErrno> | undefined> {
    const { hostPasid, guestPasid, stage } = request;
    const wrong = ioasidFind(this.set, hostPasid);
    if (isRefusal(wrong)) return wrong;
    for (let old = device.bindings.get(hostPasid); old !== undefined; old = device.bindings.get(hostPasid)) {
      if (old.state === 'muted') yield* this.#tearDown.letGo([old]);
      else if (old.state === 'leaving') yield old.changed;
      else return refuse('EBUSY', `host PASID ${hostPasid} is bound to ${device.name}`);
    }
    if (this.#isClosed.value) return refuse('ENODEV', `${this.name} is ending`);
    if (device.isLeaving.value) return refuse('ENODEV', `${device.name} goes`);
    if (guestPasid === WITHOUT_PASID && device.withoutPasid.value !== undefined) {
      return refuse('EBUSY', `requests of ${device.name} without a PASID have a first stage`);
    }
    const got = ioasidGet(this.set, hostPasid, device.holder);
    if (got !== undefined) return withoutDeadlock(got);
    const binding = new GuestBinding(this.#context, device, { id: Ioasid.of(hostPasid), guestPasid });
    this.#bindings.add(binding);
    const failed = yield* this.#entries.enter(binding, stage);
    if (failed !== undefined) {
      // What hardware did not confirm it may still use.
      const isHeld = failed.errno === 'EIO' || (yield* this.#entries.leave(binding)) !== undefined;
      this.#tearDown.end(binding, isHeld ? 'held' : 'gone');
      return failed;
    }
    const refusal = this.#isClosed.value
      ? refuse('ENODEV', `${this.name} is ending`)
      : this.#attachSpid(binding);
    if (refusal !== undefined) {
      const unconfirmed = yield* this.#entries.leave(binding);
      this.#tearDown.end(binding, unconfirmed === undefined ? 'gone' : 'held');
      return withoutDeadlock(refusal);
    }
    binding.become('bound');
    const guest = guestPasid === WITHOUT_PASID ? undefined : guestPasid;
    device.endpoint.bound?.({ guest, host: Pasid.of(hostPasid), set: this.set });
    const fields = { vm: this.name, device: device.name, guestPasid, pasid: hostPasid };
    tell(this.#context, 'guest:bind', fields);
    return undefined;
  }

  /**
   * Undoes a bind: returns when nothing of it is left. That it is being undone already is no error; of a device that is
   * taken out, and whose entry another device keeps, the end is not waited for, but when that one is unbound too.
   * Muted, it leads nowhere any more, and keeps faults from being recorded until it is unbound as others are, bound
   * anew, or freed.
   *
   * On failure: `EINVAL` for what is no id, or if the two PASIDs are not bound to each other; `ENOENT` if the id is
   * free, or not bound to the device; `EACCES` if it is of another set; `EIO` if hardware did not confirm: the id
   * stays in use, and one can try again.
   */
  *unbind(
    device: GuestDevice,
    { hostPasid, guestPasid, mute }: GuestUnbindRequest,
  ): Task<Refusal<'EINVAL' | 'ENOENT' | 'EACCES' | 'EIO'> | undefined> {
    const wrong = ioasidFind(this.set, hostPasid);
    if (isRefusal(wrong)) return wrong;
    const binding = device.bindings.get(hostPasid);
    if (binding === undefined) return refuse('ENOENT', `PASID ${hostPasid} is not bound to ${device.name}`);
    if (binding.guestPasid !== guestPasid) {
      return refuse('EINVAL', `PASID ${hostPasid} is guest PASID ${binding.guestPasid}, not ${guestPasid}`);
    }
    while (binding.state === 'binding') yield binding.changed;
    const isMuted = mute && !device.endpoint.usesParentPasids && guestPasid !== WITHOUT_PASID;
    if (!isMuted || binding.state === 'held') yield* this.#tearDown.letGo([binding]);
    else if (binding.state === 'bound') yield* this.#tearDown.letGo([binding], isMuted);
    const entries = [...binding.entries.items];
    while (binding.state === 'leaving') {
      // Its device is being taken out, and may wait for answers of a guest that waits here.
      if (device.isLeaving.value && binding.isKept) return undefined;
      yield binding.changed;
    }
    for (const entry of entries) while (entry.isEnding) yield entry.changed;
    if (binding.state !== 'held') return undefined;
    return refuse('EIO', `${device.name} did not let go of PASID ${hostPasid}`);
  }

  /**
   * A guest's answer to a group of page requests. One that refuses the group is asked by another device, if another
   * shares the entry: it may be that one's work.
   *
   * On failure: `EINVAL` if the device has no such group outstanding: it is dropped, which is told; `EIO`.
   */
  *respond(
    device: GuestDevice,
    { guestPasid, group, response }: { guestPasid: GuestPasid; group: number; response: PageResponse },
  ): Task<Refusal<'EINVAL' | 'EIO'> | undefined> {
    const binding = this.#bindings.boundAs(device, guestPasid);
    const entry = binding?.entries.items.find((each) => each.isGiven(binding, group));
    const attachment = entry?.attachment;
    if (entry === undefined || attachment === undefined) {
      const fields = { vm: this.name, device: device.name, guestPasid, group };
      tell(this.#context, 'guest:response-dropped', fields);
      return refuse('EINVAL', `${device.name} has no group ${group} of guest PASID ${guestPasid} to answer`);
    }
    if (response !== 'success' && entry.passOn(group)) return undefined;
    entry.takeBack(group);
    return yield* this.#iommu.pageRequests.respond(attachment, group, response);
  }

  /**
   * Returns when no cache of hardware has what the guest says that it has changed. What is not bound is in none, once
   * it has been let go of.
   *
   * On failure: `EIO`, also for what hardware did not let go of.
   */
  *invalidate(device: GuestDevice, what: GuestInvalidation): Task<Refusal<'EIO'> | undefined> {
    const { guestPasid, range, iotlb, pasidCache } = what;
    const entries: GuestEntry[] = [];
    let stuck: GuestBinding | undefined;
    for (const binding of this.#bindings.everBound(device, guestPasid)) {
      // An entry that others keep is flushed as it stands: its own end may wait for what the guest does after this.
      while (binding.state === 'leaving' && !binding.isKept) yield binding.changed;
      if (binding.state === 'held' && binding.entries.items.length > 0) stuck = binding;
      for (const entry of [...binding.entries.items]) {
        const attachment = entry.attachment;
        while (attachment?.entry === 'changing') yield attachment.changed;
        if (attachment?.entry === 'present') entries.push(entry);
      }
    }
    // Its guest may not know of a device TLB, which has what the IOTLB had.
    const deviceTlb = what.deviceTlb || (iotlb && device.endpoint.showsAts !== true);
    let refusal: Refusal<'EIO'> | undefined;
    for (const [iommu, own] of presentByDevice(entries)) {
      const flush = { entries: own, iotlb, deviceTlb, pasidCache, range };
      refusal = (yield* iommu.driver.flushGuest(iommu, flush)) ?? refusal;
    }
    if (refusal !== undefined || stuck === undefined) return refusal;
    return refuse('EIO', `${device.name} has not let go of PASID ${stuck.id}`);
  }

  /** FREE has been announced: under the core's lock. */
  freed(id: number): void {
    const bindings = this.#bindings.of(id);
    if (bindings.length === 0) return;
    for (const { state, entries } of bindings) {
      if (state === 'bound') for (const entry of entries.items) entry.stop();
    }
    this.#context.tasks.spawn(`${this.name}: free ${id}`, this.#tearDown.letGo(bindings));
  }

  /**
   * The end of the VM: returns when nothing of any of its PASIDs is left, and they and its set are given back.
   *
   * On failure: `EIO` if hardware did not confirm all of it: those ids stay in use.
   */
  *close(): Task<Refusal<'EIO'> | undefined> {
    this.#isClosed.value = true;
    ioasidSetFree(this.set);
    yield* this.#bindings.settled();
    for (const id of this.#bindings.ids) yield* this.#tearDown.letGo(this.#bindings.of(id));
    yield* this.#bindings.settled();
    const { ids } = this.#bindings;
    if (ids.length === 0) return undefined;
    return refuse('EIO', `hardware did not let go of PASIDs ${ids.join(', ')} of ${this.name}`);
  }

  /** No guest answers page requests any more: they are answered here, those that it was given, and new ones. */
  *mute(): Task {
    for (const device of this.#devices.items) device.listener.value = undefined;
    for (const id of this.#bindings.ids) {
      for (const binding of [...this.#bindings.of(id)]) yield* this.#tearDown.abort(binding);
    }
  }

  /** The pair is known from now on: what a guest has no number for is nobody's to submit with, and not announced. */
  #attachSpid({ id, guestPasid }: GuestBinding): ReturnType<typeof ioasidAttachSpid> {
    return guestPasid === WITHOUT_PASID ? undefined : ioasidAttachSpid(this.set, id, guestPasid);
  }
}

/** Nothing here is called under the core's lock. */
function withoutDeadlock(refusal: Refusal<BindErrno | 'EDEADLK'>): Refusal<BindErrno> {
  const { errno, why } = refusal;
  if (errno === 'EDEADLK') throw new Bug(why);
  return refuse(errno, why);
}
