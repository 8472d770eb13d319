/**
 * Nested entries: a guest's first stage over its VM's second stage, for one PASID of one function. Virtual devices of
 * one VM that are made of one function, and are bound to one PASID, share the entry: hardware cannot tell them apart.
 * The first of them is given its page requests.
 *
 * All entries that a VM has on a function share a domain id: it differs from that of any other function, so that a
 * number that means one thing on a function and another on the next does not meet in the IOTLB (flow 4).
 */
import {
  isRefusal,
  KeptList,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
} from '../../../base/index.js';
import type { KernelContext } from '../../context.js';
import type { GuestPasid, Pasid } from '../../ids.js';
import type { Iommu } from '../core.js';
import type { Attachment, AttachmentClient, IommuDevice } from '../device.js';
import type { NestedStage } from '../domain.js';
import type { AttachErrno, DmaFault, PageRequest } from '../driver.js';
import type { PagingDomain } from '../paging-domain.js';
import type { GuestBinding, GuestFault } from './device.js';

/** A first stage, as a guest's PASID table entry tells it. */
export interface GuestStage {
  /** The frame of its root: the guest's number. */
  readonly root: number;
  readonly levels: number;
  readonly supervisor: boolean;
  readonly writeProtect: boolean;
  readonly extendedAccessed: boolean;
}

/** `stuck` if hardware did not confirm its end. */
type State = 'making' | 'present' | 'leaving' | 'stuck' | 'gone';

export class GuestEntry implements AttachmentClient {
  readonly pasid: Pasid;
  readonly guestPasid: GuestPasid;
  readonly domain: NestedStage;
  readonly users: KeptList<GuestBinding>;
  readonly state: KeptValue<State>;
  readonly attachment: KeptValue<Attachment | undefined>;
  /** Who has been given a group of page requests, by its index. */
  readonly given: KeptMap<number, GuestBinding>;
  /** Woken on each change of the state. */
  readonly changed: WaitQueue;

  constructor(
    { log }: KernelContext,
    of: { readonly pasid: Pasid; readonly guestPasid: GuestPasid; readonly domain: NestedStage },
  ) {
    this.pasid = of.pasid;
    this.guestPasid = of.guestPasid;
    this.domain = of.domain;
    this.users = new KeptList(log);
    this.state = new KeptValue<State>(log, 'making');
    this.attachment = new KeptValue<Attachment | undefined>(log, undefined);
    this.given = new KeptMap(log);
    this.changed = new WaitQueue(`entry of ${of.domain.name}`);
  }

  become(state: State): void {
    this.state.value = state;
    this.changed.wakeAll();
  }

  /** From now on the host answers its page requests, and nobody is told of its faults. */
  stop(): void {
    const attachment = this.attachment.value;
    if (attachment === undefined || this.state.value !== 'present') return;
    attachment.dying.value = true;
    this.become('leaving');
  }

  pageRequests(group: readonly PageRequest[]): boolean {
    const user = this.#listening();
    const index = group.at(-1)?.group;
    if (user === undefined || index === undefined) return false;
    this.given.set(index, user);
    const { guestPasid } = this;
    for (const request of group) tellGuest(user, { kind: 'page request', guestPasid, request });
    return true;
  }

  fault(fault: DmaFault): void {
    const user = this.#listening();
    if (user !== undefined) tellGuest(user, { kind: 'unrecoverable', guestPasid: this.guestPasid, fault });
  }

  #listening(): GuestBinding | undefined {
    if (this.state.value !== 'present') return undefined;
    return this.users.items.find(
      ({ state, device }) => state.value === 'bound' && device.listener.value !== undefined,
    );
  }
}

/** What one VM has of one function. */
export class GuestFunction {
  readonly device: IommuDevice;
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #parent: PagingDomain;
  readonly #entries: KeptMap<Pasid, GuestEntry>;
  readonly #sharedId = {};

  constructor(context: KernelContext, iommu: Iommu, of: { parent: PagingDomain; device: IommuDevice }) {
    this.#context = context;
    this.#iommu = iommu;
    this.#parent = of.parent;
    this.device = of.device;
    this.#entries = new KeptMap(context.log);
  }

  /**
   * Makes a binding a user of its PASID's entry, which is valid then.
   *
   * On failure: `EINVAL` for a root that is not the guest's, `EBUSY` if the entry is another's, or what the IOMMU
   * core refuses with; the binding has no entry.
   */
  *enter(
    binding: GuestBinding,
    pasid: Pasid,
    stage: GuestStage,
  ): Task<GuestEntry | Refusal<AttachErrno | 'EIO'>> {
    const { guestPasid } = binding;
    for (let known = this.#entries.get(pasid); known !== undefined; known = this.#entries.get(pasid)) {
      if (known.state.value === 'present') return this.#share(known, binding, stage);
      if (known.state.value === 'stuck') return refuse('EBUSY', `${known.domain.name} was not let go of`);
      yield known.changed;
    }
    const name = `guest PASID ${guestPasid} of ${this.#parent.name}`;
    const domain = this.#iommu.allocNested(this.#parent, { ...stage, name, sharedId: this.#sharedId });
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
    entry.attachment.value = attachment;
    entry.become('present');
    binding.entry.value = entry;
    return entry;
  }

  /**
   * A binding is no user of its entry any more; the last one clears it.
   *
   * On failure: `EIO` if hardware did not confirm: the binding stays the entry's.
   */
  *leave(binding: GuestBinding): Task<Refusal<'EIO'> | undefined> {
    const entry = binding.entry.value;
    if (entry === undefined) return undefined;
    const attachment = entry.attachment.value;
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
    binding.entry.value = undefined;
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
    if (!isSame) return refuse('EBUSY', `${domain.name} has another first stage on ${this.device.name}`);
    entry.users.push(binding);
    binding.entry.value = entry;
    return entry;
  }
}

function tellGuest({ device }: GuestBinding, fault: GuestFault): void {
  device.listener.value?.(fault);
}
