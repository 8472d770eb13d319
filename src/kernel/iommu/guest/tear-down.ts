/**
 * The end of bindings, whoever asks for it (flow 2.6). The SPID is detached, by which the core announces UNBIND with the
 * last device; what follows is work in the core's phases, after what others do to stop submission: the device is
 * drained, then the entry cleared, then the reference given back. What its guest has not answered is answered here. What
 * hardware did not confirm keeps its reference, and so its id.
 */
import { Bug, isRefusal, type KeptList, type Refusal, type Task } from '../../../base/index.js';
import {
  type IoasidSet,
  ioasidDetachSpid,
  ioasidFinishWork,
  ioasidPut,
  ioasidQueueWork,
  ioasidTakeWork,
} from '../../../ioasid/index.js';
import { type KernelContext, tell } from '../../context.js';
import { Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import { type GuestBinding, type GuestDevice, WITHOUT_PASID } from './binding.js';
import type { GuestBindings } from './bindings.js';
import { carriedBy, type GuestEntries } from './entries.js';

/** What has to be done for a binding's end, in this order. */
const PHASES = ['drain', 'clear'] as const;

/** What is told when nobody lets go of a binding any more, by what it is then. */
const ENDS = { gone: 'guest:unbind', muted: 'guest:mute', held: 'guest:held' } as const;

export interface TearDownParts {
  /** The VM's. */
  readonly name: string;
  readonly set: IoasidSet;
  readonly devices: KeptList<GuestDevice>;
  readonly bindings: GuestBindings;
  readonly entries: GuestEntries;
}

export class GuestTearDown {
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #parts: TearDownParts;

  constructor(context: KernelContext, iommu: Iommu, parts: TearDownParts) {
    this.#context = context;
    this.#iommu = iommu;
    this.#parts = parts;
  }

  /**
   * Lets go of bindings of one id that nobody lets go of yet, and of what is muted, if that is not what is asked for.
   * Returns when that has begun.
   */
  *letGo(bindings: readonly GuestBinding[], mute = false): Task {
    const { name, set } = this.#parts;
    const all = bindings.filter(({ state }) => ['bound', 'muted', 'held'].includes(state));
    const wasBound = all.filter(({ state }) => state === 'bound');
    // Who drains by what the device is told of still has to, while it is muted.
    const unbound = mute ? [] : bindings.filter((each) => wasBound.includes(each) || each.isToBeMuted);
    for (const binding of bindings) binding.change().isToBeMuted = mute;
    for (const binding of all) {
      if (binding.state !== 'bound') this.#parts.bindings.revives();
      binding.become('leaving');
      for (const entry of binding.entries.items) {
        if (entry.users.items.every(({ state }) => state === 'leaving')) entry.stop();
      }
    }
    for (const { id, device } of unbound) device.endpoint.unbound?.(Pasid.of(id));
    for (const { id, guestPasid } of wasBound) {
      if (guestPasid === WITHOUT_PASID) continue;
      const detached = ioasidDetachSpid(set, id);
      if (isRefusal(detached)) throw new Bug(detached.why);
    }
    for (const binding of all) {
      for (const phase of PHASES) {
        // There is no memory for a while at most.
        while (!this.#queue(binding, phase)) yield `${name}: no memory for the end of PASID ${binding.id}`;
      }
    }
    for (const binding of all) {
      if (binding.entries.items.some((entry) => entry.hasGiven)) yield* this.abort(binding);
    }
  }

  /** What the guest has not answered for a device, it never will: another that shares the entry is asked, or nobody. */
  *abort(binding: GuestBinding): Task {
    for (const entry of [...binding.entries.items]) {
      const attachment = entry.attachment;
      if (attachment === undefined) continue;
      for (const group of entry.givenTo(binding)) {
        if (!entry.isGiven(binding, group) || entry.passOn(group)) continue;
        entry.takeBack(group);
        yield* this.#iommu.pageRequests.respond(attachment, group, 'invalid request');
      }
    }
  }

  /** One item of work on one id of a device's. */
  *work(device: GuestDevice): Task {
    const work = ioasidTakeWork(device.holder);
    if (work === undefined || isRefusal(work)) return;
    const binding = device.bindings.get(work.id);
    if (binding === undefined)
      throw new Bug(`work on PASID ${work.id}, which is not bound to ${device.name}`);
    if (work.phase === 'drain') {
      let refusal = yield* device.endpoint.drain(carriedBy(binding));
      refusal ??= yield* this.#drainStrays(binding);
      binding.change().isUndrained = refusal !== undefined;
      ioasidFinishWork(work);
      return;
    }
    const { entries } = this.#parts;
    let refusal = binding.isToBeMuted ? yield* entries.mute(binding) : undefined;
    // Somebody may have wanted it gone meanwhile.
    if (!binding.isToBeMuted) refusal ??= yield* entries.leave(binding);
    ioasidFinishWork(work);
    const isHeld = refusal !== undefined || binding.isUndrained;
    this.end(binding, isHeld ? 'held' : binding.isToBeMuted ? 'muted' : 'gone');
  }

  /** Nothing of a binding is left; or its reference stays, if it is muted, or hardware did not say so. */
  end(binding: GuestBinding, state: keyof typeof ENDS): void {
    const { name, set, bindings } = this.#parts;
    const { device, id, guestPasid } = binding;
    bindings.rests();
    if (state === 'gone') {
      bindings.remove(binding);
      const put = ioasidPut(set, id, device.holder);
      if (isRefusal(put)) throw new Bug(put.why);
    }
    tell(this.#context, ENDS[state], { vm: name, device: device.name, guestPasid, pasid: id });
    binding.become(state);
    bindings.settle();
  }

  /** Work that has to be done: whether there was memory for it. */
  #queue({ device, id }: GuestBinding, phase: 'drain' | 'clear'): boolean {
    const refusal = ioasidQueueWork(this.#parts.set, id, { holder: device.holder, phase });
    if (refusal !== undefined && refusal.errno !== 'ENOMEM') throw new Bug(refusal.why);
    return refusal === undefined;
  }

  /** Of what the CPUs may have sent to devices for which it is not bound; the others drain it for themselves. */
  *#drainStrays({ device, id }: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    for (const other of [...this.#parts.devices.items]) {
      if (other === device || other.bindings.has(id)) continue;
      const strays = other.endpoint.drainStrays?.(Pasid.of(id));
      const refusal = strays && (yield* strays);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }
}
