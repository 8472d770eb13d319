/**
 * Guest PASIDs of one virtual machine: first stages of a guest's, bound to PASIDs of the host's over the VM's second
 * stage (flow 2.3 to 2.7).
 *
 * To bind: a reference to the id is taken, the entry becomes valid, then the SPID is attached, by which the core
 * announces BIND with the first device. To let go, whoever asks for it: the SPID is detached, by which the core
 * announces UNBIND with the last device; what follows is work in the core's phases, after what others do to stop
 * submission: the device is drained, then the entry cleared, then the reference given back. From UNBIND on, or FREE,
 * page requests of the PASID are answered here. What hardware did not confirm keeps its reference, and so its id.
 *
 * Nobody but its guest drains a whole function, and a guest's memory may go before its queues are closed. The guest's
 * entry says then that faults of what still comes are not to be recorded (FPD; VT-d 4.1, 9.6), and so does the host's,
 * until the guest's is empty or the id is freed. A part is drained here: its entry is emptied at once.
 */
import {
  Bug,
  isRefusal,
  KeptList,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
} from '../../../base/index.js';
import {
  Ioasid,
  type IoasidSet,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFind,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidPut,
  ioasidQueueWork,
  ioasidSetFree,
  ioasidTakeWork,
} from '../../../ioasid/index.js';
import { type KernelContext, tell } from '../../context.js';
import { type GuestPasid, Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import type { IommuDevice } from '../device.js';
import type { AttachErrno, PageRange, PageResponse } from '../driver.js';
import type { PagingDomain } from '../paging-domain.js';
import { GuestBinding, GuestDevice, type GuestEndpoint, type GuestEntry, WITHOUT_PASID } from './binding.js';
import { GuestFunction, type GuestStage } from './function.js';

export interface GuestBindRequest {
  /** The host's PASID: an id of the VM's set. */
  readonly hostPasid: number;
  /** 0 for requests without one: the guest's own number for the host's is not known to anybody then. */
  readonly guestPasid: GuestPasid;
  readonly stage: GuestStage;
}

export interface GuestUnbindRequest extends Pick<GuestBindRequest, 'hostPasid' | 'guestPasid'> {
  /** Of a whole function: faults of what still comes are not recorded. */
  readonly mute: boolean;
}

/** What a guest says that caches may not hold any more. PASID 0 is its requests without one. */
export interface GuestInvalidation {
  /** All of the VM's on that device, if undefined. */
  readonly guestPasid: GuestPasid | undefined;
  /** All pages, if undefined. */
  readonly range: PageRange | undefined;
  readonly iotlb: boolean;
  readonly deviceTlb: boolean;
  readonly pasidCache: boolean;
}

/** What has to be done for a binding's end, in this order. */
const PHASES = ['drain', 'clear'] as const;

/** What is told when nobody lets go of a binding any more, by what it is then. */
const ENDS = { gone: 'guest:unbind', muted: 'guest:mute', held: 'guest:held' } as const;

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
  readonly #parts: KeptMap<IommuDevice, GuestFunction>;
  /** What all functions share a domain id by, where they are not told apart. */
  readonly #sharedId = {};
  /** The bindings of each id. */
  readonly #byId: KeptMap<number, KeptList<GuestBinding>>;
  readonly #isClosed: KeptValue<boolean>;
  /** Bindings that are neither gone nor held. */
  readonly #live: KeptValue<number>;
  readonly #ended: WaitQueue;

  constructor(context: KernelContext, iommu: Iommu, of: GuestSpaceOptions) {
    const { log } = context;
    this.#context = context;
    this.#iommu = iommu;
    this.name = of.name;
    this.set = of.set;
    this.parent = of.parent;
    this.#devices = new KeptList(log);
    this.#parts = new KeptMap(log);
    this.#byId = new KeptMap(log);
    this.#isClosed = new KeptValue(log, false);
    this.#live = new KeptValue(log, 0);
    this.#ended = new WaitQueue(`guest PASIDs of ${of.name}`);
  }

  /**
   * A device that PASIDs can be bound to.
   *
   * On failure: `ENOMEM`.
   */
  addDevice(endpoint: GuestEndpoint): GuestDevice | Refusal<'ENOMEM'> {
    // The host's name of a device: no two have one, and a mediated device's says whose it is.
    const { name } = endpoint;
    const wake = (): void => void this.#context.tasks.spawn(`${name}: unbind`, this.#work(device));
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
      while (binding.state.value === 'binding') yield binding.changed;
      yield* this.#letGo([binding]);
    }
    for (const binding of device.bindings.values()) {
      while (binding.state.value === 'leaving') yield binding.changed;
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
      if (old.state.value === 'muted') yield* this.#letGo([old]);
      else if (old.state.value === 'leaving') yield old.changed;
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
    this.#add(binding);
    const failed = yield* this.#enter(binding, stage);
    if (failed !== undefined) {
      // What hardware did not confirm it may still use.
      const isHeld = failed.errno === 'EIO' || (yield* this.#leave(binding)) !== undefined;
      this.#end(binding, isHeld ? 'held' : 'gone');
      return failed;
    }
    const refusal = this.#isClosed.value
      ? refuse('ENODEV', `${this.name} is ending`)
      : this.#attachSpid(binding);
    if (refusal !== undefined) {
      const unconfirmed = yield* this.#leave(binding);
      this.#end(binding, unconfirmed === undefined ? 'gone' : 'held');
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
    while (binding.state.value === 'binding') yield binding.changed;
    const isMuted = mute && !device.endpoint.usesParentPasids && guestPasid !== WITHOUT_PASID;
    if (!isMuted || binding.state.value === 'held') yield* this.#letGo([binding]);
    else if (binding.state.value === 'bound') yield* this.#letGo([binding], isMuted);
    const entries = [...binding.entries.items];
    while (binding.state.value === 'leaving') {
      // Its device is being taken out, and may wait for answers of a guest that waits here.
      if (device.isLeaving.value && binding.isKept) return undefined;
      yield binding.changed;
    }
    for (const entry of entries) while (entry.isEnding) yield entry.changed;
    if (binding.state.value !== 'held') return undefined;
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
    const binding = this.#boundAs(device, guestPasid);
    const entry = binding?.entries.items.find((each) => each.isGiven(binding, group));
    const attachment = entry?.attachment.value;
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
    for (const binding of this.#everBound(device, guestPasid)) {
      // An entry that others keep is flushed as it stands: its own end may wait for what the guest does after this.
      while (binding.state.value === 'leaving' && !binding.isKept) yield binding.changed;
      if (binding.state.value === 'held' && binding.entries.items.length > 0) stuck = binding;
      for (const entry of [...binding.entries.items]) {
        const attachment = entry.attachment.value;
        while (attachment?.entry.value === 'changing') yield attachment.changed;
        if (attachment?.entry.value === 'present') entries.push(entry);
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
    const bindings = this.#byId.get(id);
    if (bindings === undefined) return;
    for (const { state, entries } of bindings.items) {
      if (state.value === 'bound') for (const entry of entries.items) entry.stop();
    }
    this.#context.tasks.spawn(`${this.name}: free ${id}`, this.#letGo(bindings.items));
  }

  /**
   * The end of the VM: returns when nothing of any of its PASIDs is left, and they and its set are given back.
   *
   * On failure: `EIO` if hardware did not confirm all of it: those ids stay in use.
   */
  *close(): Task<Refusal<'EIO'> | undefined> {
    this.#isClosed.value = true;
    ioasidSetFree(this.set);
    while (this.#live.value > 0) yield this.#ended;
    for (const id of this.#byId.keys()) yield* this.#letGo(this.#byId.get(id)?.items ?? []);
    while (this.#live.value > 0) yield this.#ended;
    if (this.#byId.size === 0) return undefined;
    return refuse('EIO', `hardware did not let go of PASIDs ${this.#byId.keys().join(', ')} of ${this.name}`);
  }

  /** No guest answers page requests any more: they are answered here, those that it was given, and new ones. */
  *mute(): Task {
    for (const device of this.#devices.items) device.listener.value = undefined;
    for (const id of this.#byId.keys()) {
      for (const binding of [...(this.#byId.get(id)?.items ?? [])]) yield* this.#abort(binding);
    }
  }

  /**
   * Lets go of bindings of one id that nobody lets go of yet, and of what is muted, if that is not what is asked for.
   * Returns when that has begun.
   */
  *#letGo(bindings: readonly GuestBinding[], mute = false): Task {
    const all = bindings.filter(({ state }) => ['bound', 'muted', 'held'].includes(state.value));
    const wasBound = all.filter(({ state }) => state.value === 'bound');
    // Who drains by what the device is told of still has to, while it is muted.
    const unbound = mute ? [] : bindings.filter((each) => wasBound.includes(each) || each.isToBeMuted.value);
    for (const { isToBeMuted } of bindings) isToBeMuted.value = mute;
    for (const binding of all) {
      if (binding.state.value !== 'bound') this.#live.value++;
      binding.become('leaving');
      for (const entry of binding.entries.items) {
        if (entry.users.items.every(({ state }) => state.value === 'leaving')) entry.stop();
      }
    }
    for (const { id, device } of unbound) device.endpoint.unbound?.(Pasid.of(id));
    for (const { id, guestPasid } of wasBound) {
      if (guestPasid === WITHOUT_PASID) continue;
      const detached = ioasidDetachSpid(this.set, id);
      if (isRefusal(detached)) throw new Bug(detached.why);
    }
    for (const binding of all) {
      for (const phase of PHASES) {
        // There is no memory for a while at most.
        while (!this.#queue(binding, phase))
          yield `${this.name}: no memory for the end of PASID ${binding.id}`;
      }
    }
    for (const binding of all) {
      if (binding.entries.items.some((entry) => entry.hasGiven)) yield* this.#abort(binding);
    }
  }

  /** Work that has to be done: whether there was memory for it. */
  #queue({ device, id }: GuestBinding, phase: 'drain' | 'clear'): boolean {
    const refusal = ioasidQueueWork(this.set, id, { holder: device.holder, phase });
    if (refusal !== undefined && refusal.errno !== 'ENOMEM') throw new Bug(refusal.why);
    return refusal === undefined;
  }

  /** What the guest has not answered for a device, it never will: another that shares the entry is asked, or nobody. */
  *#abort(binding: GuestBinding): Task {
    for (const entry of [...binding.entries.items]) {
      const attachment = entry.attachment.value;
      if (attachment === undefined) continue;
      for (const group of entry.givenTo(binding)) {
        if (!entry.isGiven(binding, group) || entry.passOn(group)) continue;
        entry.takeBack(group);
        yield* this.#iommu.pageRequests.respond(attachment, group, 'invalid request');
      }
    }
  }

  /** Makes a binding's entries: each is valid then. The ones before that which failed are there. */
  *#enter(binding: GuestBinding, stage: GuestStage): Task<Refusal<AttachErrno | 'EIO'> | undefined> {
    for (const { device, pasid } of this.#placesOf(binding)) {
      const entry = yield* this.#partOf(device).enter(binding, pasid, stage);
      if (isRefusal(entry)) return entry;
    }
    return undefined;
  }

  /**
   * Clears a binding's entries, as far as nobody else uses them.
   *
   * On failure: `EIO`; those that are left stay the binding's.
   */
  *#leave(binding: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    let refusal: Refusal<'EIO'> | undefined;
    for (const entry of [...binding.entries.items]) {
      const device = entry.attachment.value?.device ?? binding.device.iommu;
      refusal = (yield* this.#partOf(device).leave(binding, entry)) ?? refusal;
    }
    return refusal;
  }

  /** A binding's entries lead nowhere. On failure: `EIO`. */
  *#mute({ device, entries }: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    let refusal: Refusal<'EIO'> | undefined;
    for (const entry of [...entries.items]) {
      const at = entry.attachment.value?.device ?? device.iommu;
      refusal = (yield* this.#partOf(at).mute(entry)) ?? refusal;
    }
    return refusal;
  }

  /** Where a binding's entries stand: in the table of its device's function alone. */
  #placesOf({
    device,
    id,
    guestPasid,
  }: GuestBinding): { readonly device: IommuDevice; readonly pasid: Pasid }[] {
    const { iommu, endpoint } = device;
    const own = pasidOf(device, { hostPasid: id, guestPasid });
    if (endpoint.takesBothNumbers !== true && this.#iommu.protections.bindPerDevice) {
      return [{ device: iommu, pasid: own }];
    }
    const takesBoth = endpoint.takesBothNumbers === true && guestPasid !== WITHOUT_PASID;
    const pasids = takesBoth ? [...new Set([own, Pasid.of(id)])] : [own];
    const others = this.#iommu.protections.bindPerDevice ? [] : this.#devices.items.map((each) => each.iommu);
    const functions = [...new Set([iommu, ...others])];
    return functions.flatMap((each) => pasids.map((pasid) => ({ device: each, pasid })));
  }

  /** One item of work on one id of a device's. */
  *#work(device: GuestDevice): Task {
    const work = ioasidTakeWork(device.holder);
    if (work === undefined || isRefusal(work)) return;
    const binding = device.bindings.get(work.id);
    if (binding === undefined)
      throw new Bug(`work on PASID ${work.id}, which is not bound to ${device.name}`);
    if (work.phase === 'drain') {
      const { id: hostPasid, guestPasid } = binding;
      let refusal = yield* device.endpoint.drain(pasidOf(device, { hostPasid, guestPasid }));
      refusal ??= yield* this.#drainStrays(binding);
      binding.isUndrained.value = refusal !== undefined;
      ioasidFinishWork(work);
      return;
    }
    const { isToBeMuted, isUndrained } = binding;
    let refusal = isToBeMuted.value ? yield* this.#mute(binding) : undefined;
    // Somebody may have wanted it gone meanwhile.
    if (!isToBeMuted.value) refusal ??= yield* this.#leave(binding);
    ioasidFinishWork(work);
    const isHeld = refusal !== undefined || isUndrained.value;
    this.#end(binding, isHeld ? 'held' : isToBeMuted.value ? 'muted' : 'gone');
  }

  /** Of what the CPUs may have sent to devices for which it is not bound; the others drain it for themselves. */
  *#drainStrays({ device, id }: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    for (const other of [...this.#devices.items]) {
      if (other === device || other.bindings.has(id)) continue;
      const strays = other.endpoint.drainStrays?.(Pasid.of(id));
      const refusal = strays && (yield* strays);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #add(binding: GuestBinding): void {
    const { device, id } = binding;
    device.bindings.set(id, binding);
    if (binding.guestPasid === WITHOUT_PASID) device.withoutPasid.value = binding;
    const known = this.#byId.get(id);
    const list = known ?? new KeptList<GuestBinding>(this.#context.log);
    list.push(binding);
    if (known === undefined) this.#byId.set(id, list);
    this.#live.value++;
  }

  /** Nothing of a binding is left; or its reference stays, if it is muted, or hardware did not say so. */
  #end(binding: GuestBinding, state: keyof typeof ENDS): void {
    const { device, id, guestPasid } = binding;
    this.#live.value--;
    if (state === 'gone') {
      device.bindings.delete(id);
      if (device.withoutPasid.value === binding) device.withoutPasid.value = undefined;
      const list = this.#byId.get(id);
      list?.remove(binding);
      if (list?.length === 0) this.#byId.delete(id);
      const put = ioasidPut(this.set, id, device.holder);
      if (isRefusal(put)) throw new Bug(put.why);
    }
    tell(this.#context, ENDS[state], { vm: this.name, device: device.name, guestPasid, pasid: id });
    binding.become(state);
    if (this.#live.value === 0) this.#ended.wakeAll();
  }

  /** The pair is known from now on: what a guest has no number for is nobody's to submit with, and not announced. */
  #attachSpid({ id, guestPasid }: GuestBinding): ReturnType<typeof ioasidAttachSpid> {
    return guestPasid === WITHOUT_PASID ? undefined : ioasidAttachSpid(this.set, id, guestPasid);
  }

  #boundAs(device: GuestDevice, guestPasid: GuestPasid): GuestBinding | undefined {
    if (guestPasid === WITHOUT_PASID) return device.withoutPasid.value;
    const id = ioasidFindBySpid(this.set, guestPasid);
    return isRefusal(id) ? undefined : device.bindings.get(id);
  }

  /** What may be cached of a guest's PASID, or of all: what is on its way out, too, has no SPID any more. */
  #everBound(device: GuestDevice, guestPasid: GuestPasid | undefined): readonly GuestBinding[] {
    if (guestPasid === undefined) return device.bindings.values();
    const bound = this.#boundAs(device, guestPasid);
    if (bound !== undefined) return [bound];
    return device.bindings.values().filter((each) => each.guestPasid === guestPasid);
  }

  #partOf(device: IommuDevice): GuestFunction {
    const known = this.#parts.get(device);
    if (known !== undefined) return known;
    const shared = this.#iommu.protections.ownDomainIds ? {} : { sharedId: this.#sharedId };
    const made = new GuestFunction(this.#context, this.#iommu, { parent: this.parent, device, ...shared });
    this.#parts.set(device, made);
    return made;
  }
}

/**
 * The PASID that a device's requests carry. It is the host's, but for a whole function's: nobody stands between it
 * and the guest, which programs its own numbers into it (flow 4).
 */
function pasidOf(
  { endpoint }: GuestDevice,
  { hostPasid, guestPasid }: Pick<GuestBindRequest, 'hostPasid' | 'guestPasid'>,
): Pasid {
  return Pasid.of(endpoint.usesParentPasids ? hostPasid : guestPasid);
}

/** The entries that hardware may have something of, by the function whose table they are in. */
function presentByDevice(entries: readonly GuestEntry[]): Map<IommuDevice, GuestEntry[]> {
  const found = new Map<IommuDevice, GuestEntry[]>();
  for (const entry of entries) {
    const attachment = entry.attachment.value;
    if (attachment?.entry.value !== 'present') continue;
    const others = found.get(attachment.device);
    if (others === undefined) found.set(attachment.device, [entry]);
    else others.push(entry);
  }
  return found;
}

/** Nothing here is called under the core's lock. */
function withoutDeadlock(refusal: Refusal<BindErrno | 'EDEADLK'>): Refusal<BindErrno> {
  const { errno, why } = refusal;
  if (errno === 'EDEADLK') throw new Bug(why);
  return refuse(errno, why);
}
