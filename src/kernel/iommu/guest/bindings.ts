/**
 * The bindings of one virtual machine: by the host's id, and by what its guest calls them. One that is on its way in or
 * out, or is bound, is *live*; what is muted or held is not, and stays.
 */
import { isRefusal, KeptList, KeptMap, KeptValue, type Task, WaitQueue } from '../../../base/index.js';
import { type IoasidSet, ioasidFindBySpid } from '../../../ioasid/index.js';
import type { KernelContext } from '../../context.js';
import type { GuestPasid } from '../../ids.js';
import { type GuestBinding, type GuestDevice, WITHOUT_PASID } from './binding.js';

export class GuestBindings {
  readonly #context: KernelContext;
  readonly #set: IoasidSet;
  /** The bindings of each id. */
  readonly #byId: KeptMap<number, KeptList<GuestBinding>>;
  readonly #live: KeptValue<number>;
  /** Woken when none is live any more. */
  readonly #ended: WaitQueue;

  constructor(context: KernelContext, of: { readonly name: string; readonly set: IoasidSet }) {
    this.#context = context;
    this.#set = of.set;
    this.#byId = new KeptMap(context.log);
    this.#live = new KeptValue(context.log, 0);
    this.#ended = new WaitQueue(`guest PASIDs of ${of.name}`);
  }

  /** The ids that have some. */
  get ids(): readonly number[] {
    return this.#byId.keys();
  }

  /** Those of an id. */
  of(id: number): readonly GuestBinding[] {
    return this.#byId.get(id)?.items ?? [];
  }

  /** One that begins, and is live. */
  add(binding: GuestBinding): void {
    const { device, id } = binding;
    device.bindings.set(id, binding);
    if (binding.guestPasid === WITHOUT_PASID) device.withoutPasid.value = binding;
    const known = this.#byId.get(id);
    const list = known ?? new KeptList<GuestBinding>(this.#context.log);
    list.push(binding);
    if (known === undefined) this.#byId.set(id, list);
    this.#live.value++;
  }

  /** Nothing of it is left. */
  remove(binding: GuestBinding): void {
    const { device, id } = binding;
    device.bindings.delete(id);
    if (device.withoutPasid.value === binding) device.withoutPasid.value = undefined;
    const list = this.#byId.get(id);
    list?.remove(binding);
    if (list?.length === 0) this.#byId.delete(id);
  }

  /** One that was muted or held is live again. */
  revives(): void {
    this.#live.value++;
  }

  /** One is live no more. `settle` comes after what becomes of it. */
  rests(): void {
    this.#live.value--;
  }

  /** Wakes who waits for the last. */
  settle(): void {
    if (this.#live.value === 0) this.#ended.wakeAll();
  }

  /** Returns when none is live. */
  *settled(): Task {
    while (this.#live.value > 0) yield this.#ended;
  }

  /** What a guest's PASID is bound by, for a device. */
  boundAs(device: GuestDevice, guestPasid: GuestPasid): GuestBinding | undefined {
    if (guestPasid === WITHOUT_PASID) return device.withoutPasid.value;
    const id = ioasidFindBySpid(this.#set, guestPasid);
    return isRefusal(id) ? undefined : device.bindings.get(id);
  }

  /** What may be cached of a guest's PASID, or of all: what is on its way out, too, has no SPID any more. */
  everBound(device: GuestDevice, guestPasid: GuestPasid | undefined): readonly GuestBinding[] {
    if (guestPasid === undefined) return device.bindings.values();
    const bound = this.boundAs(device, guestPasid);
    if (bound !== undefined) return [bound];
    return device.bindings.values().filter((each) => each.guestPasid === guestPasid);
  }
}
