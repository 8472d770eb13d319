/**
 * A device that a virtual machine has, as the IOMMU layer knows it; what binds it to a guest's PASID; and the nested
 * entry that a binding uses. The three name each other, so they stand in one file.
 *
 * Virtual devices of one VM that are made of one function, and are bound to one PASID, share the entry: hardware
 * cannot tell them apart, and a page request says nothing of whose work it is. One of them is asked, which may know
 * nothing of the page, or be on its way out; then the next is, and only when none is left is the answer Invalid
 * Request.
 */
import { KeptList, KeptMap, KeptValue, type Refusal, type Task } from '../../../base/index.js';
import type { Ioasid, IoasidHolder, IoasidSet } from '../../../ioasid/index.js';
import { Awaited } from '../../awaited.js';
import type { KernelContext } from '../../context.js';
import { GuestPasid, type Pasid } from '../../ids.js';
import type { Attachment, AttachmentClient, IommuDevice } from '../device.js';
import type { NestedStage } from '../domain.js';
import type { DmaFault, PageRequest } from '../driver.js';

/** Stands for the requests that have no PASID in the guest: it is no SPID. */
export const WITHOUT_PASID = GuestPasid.of(0);

/** A PASID that a device may work with. */
export interface BoundPasid {
  /** The guest's number for it; undefined if it is what the device's requests carry that have none in the guest. */
  readonly guest: GuestPasid | undefined;
  readonly host: Pasid;
  /** The set that the host's is of: the VM's, or for a default PASID the host's own. */
  readonly set: IoasidSet;
}

/** What a device needs to have for a guest's PASIDs. */
export interface GuestEndpoint {
  readonly name: string;
  /** The function whose RID its DMA carries. */
  readonly iommu: IommuDevice;
  /** Its requests carry the host's PASIDs; those of a whole function carry what the guest has put into it. */
  readonly usesParentPasids: boolean;
  /**
   * A whole function whose shared queues are used: what CPUs send there carries the host's PASIDs, beside the others.
   */
  readonly takesBothNumbers?: boolean;
  /** Whether the guest sees a device TLB; if not, the host flushes it for the guest. */
  readonly showsAts?: boolean;
  /** Returns when it has nothing of a PASID under way, as its requests carry it. */
  drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined>;
  /**
   * The same of a PASID that is not bound for this device, where it may have come from the VM's CPUs all the same:
   * these translate what is bound for any of its devices, and reach the portals of all. Nothing comes any more.
   */
  drainStrays?(pasid: Pasid): Task<Refusal<'EIO'> | undefined>;
  /** A PASID is bound for this device. */
  bound?(pair: BoundPasid): void;
  /** That is being undone: from now on the device begins nothing with it. `drain` follows. */
  unbound?(host: Pasid): void;
}

/** What a guest is told, by its own PASIDs. */
export type GuestFault =
  | { readonly kind: 'page request'; readonly guestPasid: GuestPasid; readonly request: PageRequest }
  | {
      readonly kind: 'unrecoverable';
      readonly guestPasid: GuestPasid | undefined;
      readonly fault: DmaFault;
    };

export class GuestDevice {
  readonly endpoint: GuestEndpoint;
  readonly holder: IoasidHolder;
  /** It may be called in an interrupt's context. */
  readonly listener: KeptValue<((fault: GuestFault) => void) | undefined>;
  /** By the host's id. */
  readonly bindings: KeptMap<number, GuestBinding>;
  /** The one for requests without a PASID. */
  readonly withoutPasid: KeptValue<GuestBinding | undefined>;
  /** It is on its way out of the VM: nothing is bound for it any more. */
  readonly isLeaving: KeptValue<boolean>;

  constructor({ log }: KernelContext, endpoint: GuestEndpoint, holder: IoasidHolder) {
    this.endpoint = endpoint;
    this.holder = holder;
    this.listener = new KeptValue<((fault: GuestFault) => void) | undefined>(log, undefined);
    this.bindings = new KeptMap(log);
    this.withoutPasid = new KeptValue<GuestBinding | undefined>(log, undefined);
    this.isLeaving = new KeptValue(log, false);
  }

  get name(): string {
    return this.endpoint.name;
  }

  get iommu(): IommuDevice {
    return this.endpoint.iommu;
  }
}

/**
 * How far a binding has come; `muted` if its entries lead nowhere, and keep faults from being recorded; `held` if
 * hardware did not confirm its end. The id stays in use in both.
 */
export type BindingState = 'binding' | 'bound' | 'leaving' | 'muted' | 'held' | 'gone';

/** One device bound to one PASID. */
export class GuestBinding extends Awaited {
  readonly device: GuestDevice;
  readonly id: Ioasid;
  readonly guestPasid: GuestPasid;
  readonly state: BindingState = 'binding';
  /** Those that it uses: one for each number that the device's requests may carry. */
  readonly entries: KeptList<GuestEntry>;
  /** Whether its entries are muted at its end, and stay: until somebody wants it gone. */
  readonly isToBeMuted: boolean = false;
  /** Whether the device did not say that it has nothing of the PASID any more. */
  readonly isUndrained: boolean = false;

  constructor(
    { log }: KernelContext,
    device: GuestDevice,
    of: { readonly id: Ioasid; readonly guestPasid: GuestPasid },
  ) {
    super(log);
    this.device = device;
    this.id = of.id;
    this.guestPasid = of.guestPasid;
    this.entries = new KeptList(log);
  }

  get name(): string {
    return `PASID ${this.guestPasid} on ${this.device.name}`;
  }

  /** Whether others keep what it uses: when it goes, nothing is cleared. */
  get isKept(): boolean {
    const { items } = this.entries;
    return items.length > 0 && items.every((entry) => entry.isKept);
  }

  protected override get awaited(): string {
    return `guest ${this.name}`;
  }

  become(state: BindingState): void {
    this.change().state = state;
    this.wake();
  }
}

/** A group of page requests, who has been given it, and who was before and has not served it. */
interface GivenGroup {
  readonly requests: readonly PageRequest[];
  readonly to: GuestBinding;
  readonly before: readonly GuestBinding[];
}

/** `stuck` if hardware did not confirm its end. */
type State = 'making' | 'present' | 'leaving' | 'stuck' | 'gone';

export class GuestEntry extends Awaited implements AttachmentClient {
  readonly pasid: Pasid;
  readonly guestPasid: GuestPasid;
  readonly domain: NestedStage;
  readonly users: KeptList<GuestBinding>;
  readonly state: State = 'making';
  readonly attachment: Attachment | undefined;
  /** By group index: page requests that somebody has been given, and that are not answered. */
  readonly #given: KeptMap<number, GivenGroup>;

  constructor(
    { log }: KernelContext,
    of: { readonly pasid: Pasid; readonly guestPasid: GuestPasid; readonly domain: NestedStage },
  ) {
    super(log);
    this.pasid = of.pasid;
    this.guestPasid = of.guestPasid;
    this.domain = of.domain;
    this.users = new KeptList(log);
    this.#given = new KeptMap(log);
  }

  protected override get awaited(): string {
    return `entry of ${this.domain.name}`;
  }

  become(state: State): void {
    this.change().state = state;
    this.wake();
  }

  /** Whether it has a user that is bound. */
  get isKept(): boolean {
    return this.users.items.some(({ state }) => state === 'bound');
  }

  /** Whether all users that it has left are on their way out. */
  get isEnding(): boolean {
    const { items } = this.users;
    return items.length > 0 && items.every(({ state }) => state === 'leaving');
  }

  /** From now on the host answers its page requests, and nobody is told of its faults. */
  stop(): void {
    const attachment = this.attachment;
    if (attachment === undefined || this.state !== 'present') return;
    attachment.change().dying = true;
    this.become('leaving');
  }

  pageRequests(requests: readonly PageRequest[]): boolean {
    // A guest's device asks for no page without a PASID.
    return this.guestPasid !== WITHOUT_PASID && this.#give(requests, []);
  }

  /** Whether this user has a group, and its answer counts. */
  isGiven(user: GuestBinding, group: number): boolean {
    return this.#given.get(group)?.to === user;
  }

  /** Whether anybody has a group to answer. */
  get hasGiven(): boolean {
    return this.#given.size > 0;
  }

  /** The groups that a user has. */
  givenTo(user: GuestBinding): readonly number[] {
    return this.#given.keys().filter((group) => this.isGiven(user, group));
  }

  /** A group is to be answered now: nobody has it any more. */
  takeBack(group: number): void {
    this.#given.delete(group);
  }

  /** Who has a group does not serve it: gives it to the next. False if there is none, or nobody waits for it. */
  passOn(group: number): boolean {
    const given = this.#given.get(group);
    if (given === undefined || this.attachment?.requests?.outstanding.has(group) !== true) return false;
    return this.#give(given.requests, [...given.before, given.to]);
  }

  fault(fault: DmaFault): void {
    const user = this.#listening();
    const guestPasid = this.guestPasid === WITHOUT_PASID ? undefined : this.guestPasid;
    if (user !== undefined) tellGuest(user, { kind: 'unrecoverable', guestPasid, fault });
  }

  #give(requests: readonly PageRequest[], before: readonly GuestBinding[]): boolean {
    const to = this.#listening(before);
    const group = requests.at(-1)?.group;
    if (to === undefined || group === undefined) return false;
    this.#given.set(group, { requests, to, before });
    const { guestPasid } = this;
    for (const request of requests) tellGuest(to, { kind: 'page request', guestPasid, request });
    return true;
  }

  #listening(but: readonly GuestBinding[] = []): GuestBinding | undefined {
    if (this.state !== 'present') return undefined;
    const isThere = ({ state, device }: GuestBinding): boolean =>
      state === 'bound' && device.listener.value !== undefined;
    return this.users.items.find((user) => isThere(user) && !but.includes(user));
  }
}

function tellGuest({ device }: GuestBinding, fault: GuestFault): void {
  device.listener.value?.(fault);
}
