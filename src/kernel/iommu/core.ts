/**
 * The IOMMU core: the machine's units and the devices behind them, and what is attached to (device, PASID). What
 * it records of an attachment it records before hardware can act on it, and forgets after hardware has let go.
 */
import { isRefusal, KeptList, KeptMap, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  type IoasidCore,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidRegisterAllocator,
} from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { Pasid } from '../ids.js';
import type { PciDevice } from '../pci.js';
import { changeDomain } from './change.js';
import { Attachment, type AttachmentClient, IommuDevice } from './device.js';
import { DIRECT, type DmaSpace, TranslatedDma } from './dma.js';
import { type Domain, IDENTITY, type Identity, type NestedStage, type RidDomain } from './domain.js';
import type { AttachErrno, IommuDriver, PageRequest } from './driver.js';
import { ALL_PROTECTIONS, type GuestProtections } from './guest/protections.js';
import { PageRequests } from './page-requests.js';
import { isSecondStage, PagingDomain } from './paging-domain.js';
import { clearDevice } from './remove.js';
import { countUse, replaceLocked } from './replace.js';
import { VtdUnit } from './vtd/unit.js';

/** A nested domain's first stage; what is left out is off, and the levels are 4. */
export interface NestedOptions extends Pick<NestedStage, 'name' | 'root' | 'sharedId'> {
  readonly levels?: number;
  readonly supervisor?: boolean;
  readonly writeProtect?: boolean;
  readonly extendedAccessed?: boolean;
}

export class Iommu {
  readonly pageRequests: PageRequests;
  /** What keeps guests' PASIDs of one device apart from those of another. */
  readonly protections: GuestProtections;
  readonly #context: KernelContext;
  readonly #ioasids: IoasidCore;
  readonly #drivers: KeptList<IommuDriver>;
  readonly #devices: KeptMap<number, IommuDevice>;

  constructor(context: KernelContext, ioasids: IoasidCore, protections: GuestProtections = ALL_PROTECTIONS) {
    this.#context = context;
    this.#ioasids = ioasids;
    this.protections = protections;
    this.#drivers = new KeptList(context.log);
    this.#devices = new KeptMap(context.log);
    this.pageRequests = new PageRequests(context, (request) => this.#requestedOf(request));
  }

  get devices(): readonly IommuDevice[] {
    return this.#devices.values();
  }

  device(rid: number): IommuDevice | undefined {
    return this.#devices.get(rid);
  }

  /**
   * Makes all units ready that firmware tells of.
   *
   * On failure: what a driver refuses with.
   */
  *boot(): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const { iommus } = this.#context.platform;
    for (const [index, unit] of iommus.entries()) {
      const driver = new VtdUnit(this.#context, unit, `dmar${index}`);
      const refusal = yield* driver.boot({
        pageRequest: (from, request) => this.pageRequests.receive(from, request),
        pageRequestsLost: (from) => this.#forgetPartial(from),
        fault: (fault) => this.#attachmentOf(fault.rid, fault.pasid)?.client?.fault(fault),
        ownerOf: (rid, pasid) => this.device(rid)?.attachments.get(Pasid.of(pasid))?.domain.name,
      });
      if (refusal !== undefined) return refusal;
      const unregistered =
        driver.pasidAllocator && ioasidRegisterAllocator(this.#ioasids, driver.pasidAllocator);
      if (unregistered !== undefined) return refuse('ENOMEM', unregistered.why);
      this.#drivers.push(driver);
    }
    return undefined;
  }

  /**
   * How the kernel does DMA by a function: as its device does; with frames' own addresses where no unit covers it;
   * undefined if such requests are blocked, or its unit cannot serve it.
   */
  dmaOf(pci: PciDevice): DmaSpace | undefined {
    const device = this.device(pci.rid);
    if (device !== undefined) return device.dma.value;
    return this.#driverOf(pci.rid) === undefined ? DIRECT : undefined;
  }

  /** All devices have been added: the units begin to translate. */
  *enable(): Task {
    for (const driver of this.#drivers.items) yield* driver.enable();
  }

  /** All units. */
  get drivers(): readonly IommuDriver[] {
    return this.#drivers.items;
  }

  /**
   * Adds a device, with what its requests without a PASID meet; switches on what both it and its unit have.
   *
   * On failure: `ENODEV` if no unit covers it, or if its unit cannot do what is asked; `ENOMEM`, `EIO`. Nothing of
   * it is left but context tables of its bus.
   */
  *add(pci: PciDevice, rid: RidDomain): Task<IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>> {
    const driver = this.#driverOf(pci.rid);
    if (driver === undefined) return refuse('ENODEV', `no IOMMU covers ${pci.name}`);
    if (this.#devices.has(pci.rid)) return refuse('ENODEV', `${pci.name} is there already`);
    const holder = ioasidHolderAlloc(this.#ioasids, `iommu ${pci.name}`);
    if (isRefusal(holder)) return refuse('ENOMEM', holder.why);
    const device = new IommuDevice(this.#context, { pci, driver, holder, rid });
    const refusal = yield* this.#start(device, rid);
    if (refusal !== undefined) {
      ioasidHolderFree(holder);
      return refusal;
    }
    device.switchOn();
    this.#devices.set(pci.rid, device);
    const { name, pasidBits, ats, pri } = device;
    tell(this.#context, 'iommu:add', { device: name, unit: driver.name, pasidBits, ats, pri });
    return device;
  }

  /**
   * Takes a device out that its own driver has quiesced: when it returns, no table has it, no cache has anything that
   * it reached, and its place may be another's. Whatever is attached to it is detached.
   *
   * On failure: `EIO` if hardware did not confirm: what it may still use stays as it is, nobody attaches to the device
   * any more, and it can be tried again.
   */
  *remove(device: IommuDevice): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* clearDevice(device, (attachment) => this.detach(attachment));
    if (refusal !== undefined) return refusal;
    this.#devices.delete(device.rid);
    // Bindings that are left have their references; the last of them forgets the holder.
    ioasidHolderFree(device.holder);
    tell(this.#context, 'iommu:remove', { device: device.name, unit: device.driver.name });
    return undefined;
  }

  /**
   * A domain in which nothing is mapped, of what a device's unit walks; a second stage, if it has one and nothing
   * else is asked. It can be attached to other devices too, as far as their units are alike.
   *
   * On failure: `EOPNOTSUPP` if the unit has no such stage; `ENOMEM`.
   */
  allocPaging(
    device: IommuDevice,
    options: { readonly name: string; readonly stage?: PagingDomain['type'] },
  ): PagingDomain | Refusal<'EOPNOTSUPP' | 'ENOMEM'> {
    const { firstStage, secondStage } = device.driver;
    const stage = options.stage ?? (secondStage.levels.length > 0 ? 'second-stage' : 'first-stage');
    const limits = stage === 'second-stage' ? secondStage : firstStage;
    const of = { name: options.name, stage, limits, drivers: () => this.drivers };
    return PagingDomain.create(this.#context, of);
  }

  /**
   * A domain of a first stage that stands in what `parent` maps. It has nothing to be freed; `parent` is in use while
   * it is attached.
   *
   * On failure: `EINVAL` if the parent is no second stage, or does not reach as far as the root.
   */
  allocNested(parent: PagingDomain, options: NestedOptions): NestedStage | Refusal<'EINVAL'> {
    const { name, root } = options;
    if (!isSecondStage(parent)) return refuse('EINVAL', `${parent.name} is no second stage, for ${name}`);
    if (root >= 2 ** (parent.width - 12))
      return refuse('EINVAL', `the root of ${name} is not in ${parent.name}`);
    const { levels = 4, supervisor = false, writeProtect = false, extendedAccessed = false } = options;
    const { sharedId } = options;
    return {
      type: 'nested',
      name,
      parent,
      root,
      levels,
      supervisor,
      writeProtect,
      extendedAccessed,
      sharedId,
    };
  }

  /**
   * From now on DMA through a domain snoops the CPUs' caches, whatever a request says (Linux's
   * `enforce_cache_coherency`); it stays so.
   *
   * On failure: `EOPNOTSUPP` if a unit that it is attached behind cannot; `EBUSY` if pages of a second stage are
   * mapped: nothing has changed. `EIO` if hardware did not confirm.
   */
  *enforceCoherency(domain: PagingDomain): Task<Refusal<'EOPNOTSUPP' | 'EBUSY' | 'EIO'> | undefined> {
    return yield* changeDomain(this, domain, {
      can: ({ canSnoop }) => canSnoop,
      change: () => domain.snoop(),
    });
  }

  /**
   * Has hardware mark what DMA writes to, or no longer (Linux's `set_dirty_tracking`). What was marked before is
   * forgotten.
   *
   * On failure: `EOPNOTSUPP` if a unit that the domain is attached behind cannot: nothing has changed. `EIO` if
   * hardware did not confirm.
   */
  *trackDirty(domain: PagingDomain, is: boolean): Task<Refusal<'EOPNOTSUPP' | 'EIO'> | undefined> {
    const refusal = yield* changeDomain(this, domain, {
      can: ({ dirtyStages }) => !is || dirtyStages.includes(domain.type),
      change: () => domain.trackDirty(is),
    });
    return refusal ?? (is ? yield* domain.forgetDirty() : undefined);
  }

  /**
   * Attaches a domain to a (device, PASID); to PASID 0 for the requests that have none. A client serves its page
   * requests in the kernel's place.
   *
   * On failure: `EBUSY` if something is attached; what the driver refuses with. Nothing has changed.
   */
  *attach(
    device: IommuDevice,
    pasid: Pasid,
    domain: Domain,
    client?: AttachmentClient,
  ): Task<Attachment | Refusal<AttachErrno>> {
    if (!device.lock.tryLock()) yield* device.lock.lock();
    try {
      return yield* this.#attachLocked(device, { pasid, domain, client });
    } finally {
      device.lock.unlock();
    }
  }

  /**
   * Puts another domain in the place of those attached, on all of them or on none: each request meets the old domain
   * or the new one, never neither. The attachments are over then; the new ones stand in their order.
   *
   * On failure: `EBUSY` if one is on its way out, or serves page requests (a process's memory is unbound instead);
   * what the drivers refuse with. All of them are attached to what they were; only on an `EIO` may caches hold
   * something of the new domain, which keeps its use then.
   */
  *replace(
    attachments: readonly Attachment[],
    domain: Domain,
  ): Task<readonly Attachment[] | Refusal<AttachErrno>> {
    // In one order, whoever comes.
    const devices = [...new Set(attachments.map(({ device }) => device))].sort((a, b) => a.rid - b.rid);
    for (const device of devices) yield* device.lock.lock();
    try {
      return yield* replaceLocked(this.#context, attachments, domain);
    } finally {
      for (const device of devices) device.lock.unlock();
    }
  }

  /**
   * The address space behind an attachment goes, and its users are still there: its entry is taken away, and the
   * faults of what still comes are not recorded. Whoever comes second waits for the first.
   */
  *mute(attachment: Attachment): Task<Refusal<'EIO'> | undefined> {
    while (attachment.entry === 'changing') yield attachment.changed;
    if (attachment.entry !== 'present') return undefined;
    return yield* this.#clear(attachment, true);
  }

  /**
   * Detaches: nothing new is served (stop), what is being served is answered (drain), entry and caches are cleared, and
   * what the device may have asked for until then is answered too (clear). It has been quiesced by its own driver. If
   * it was replaced, what has taken its place goes; if it was detached before, nothing.
   *
   * On failure: `EIO` if hardware did not confirm: the PASID must not be handed out again.
   */
  *detach(attachment: Attachment): Task<Refusal<'EIO'> | undefined> {
    attachment.change().dying = true;
    while (attachment.detaching) yield attachment.changed;
    attachment.change().detaching = true;
    try {
      return yield* this.#detach(attachment);
    } finally {
      attachment.change().detaching = false;
      attachment.wake();
    }
  }

  *#detach(attachment: Attachment): Task<Refusal<'EIO'> | undefined> {
    const { device, pasid, domain } = attachment;
    const wasReplaced = attachment.replacedBy !== undefined;
    if (!wasReplaced && device.attachments.get(pasid) !== attachment) return undefined;
    // What a client had is answered; a device that has been quiesced has nothing on its way to a client.
    if (attachment.client === undefined && !this.pageRequests.isIdle(attachment)) {
      yield* this.pageRequests.settle(attachment);
    }
    // No lock of the group while waiting above: a fault's worker may be what tears the address space down.
    while (attachment.entry === 'changing') yield attachment.changed;
    const successor = attachment.replacedBy;
    if (successor !== undefined) return yield* this.detach(successor);
    const wasMuted = attachment.entry === 'muted';
    const refusal = wasMuted
      ? yield* device.driver.unmute(device, pasid)
      : yield* this.#clear(attachment, false);
    if (refusal !== undefined) return refusal;
    if (wasMuted) yield* this.pageRequests.drain(attachment);
    else if (!this.pageRequests.isIdle(attachment)) yield* this.pageRequests.settle(attachment);
    device.attachments.delete(pasid);
    countUse(domain, -1);
    return undefined;
  }

  *#attachLocked(
    device: IommuDevice,
    of: ConstructorParameters<typeof Attachment>[2],
  ): Task<Attachment | Refusal<AttachErrno>> {
    const { pasid, domain } = of;
    if (device.presence.value !== 'there') return refuse('EBUSY', `${device.name} is on its way out`);
    if (device.attachments.has(pasid)) return refuse('EBUSY', `PASID ${pasid} of ${device.name} is in use`);
    const attachment = new Attachment(this.#context, device, of);
    // A page request may come as soon as the entry is present.
    device.attachments.set(pasid, attachment);
    countUse(domain, 1);
    const refusal = yield* device.driver.attach(device, pasid, domain);
    if (refusal !== undefined) {
      // What hardware did not confirm it may still use.
      if (refusal.errno !== 'EIO') countUse(domain, -1);
      device.attachments.delete(pasid);
      return refusal;
    }
    attachment.change().entry = 'present';
    return attachment;
  }

  /** Makes a device's tables, and attaches what it begins with. */
  *#start(device: IommuDevice, rid: RidDomain): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const domain = this.#firstDomain(device, rid);
    if (isRefusal(domain)) return asNoDevice(domain);
    const unsuited = domain && device.driver.judge(device, NO_PASID, domain);
    const refusal = unsuited ?? (yield* device.driver.addDevice(device));
    if (refusal !== undefined) {
      freeOwn(domain);
      return asNoDevice(refusal);
    }
    if (domain === undefined) return undefined;
    const attachment = yield* this.attach(device, NO_PASID, domain);
    if (!isRefusal(attachment)) {
      device.dma.value = domain instanceof PagingDomain ? new TranslatedDma(this.#context, domain) : DIRECT;
      return undefined;
    }
    // What hardware did not let go of stays.
    if ((yield* device.driver.removeDevice(device)) === undefined) freeOwn(domain);
    return asNoDevice(attachment);
  }

  #firstDomain(
    device: IommuDevice,
    rid: RidDomain,
  ): PagingDomain | Identity | undefined | Refusal<'EOPNOTSUPP' | 'ENOMEM'> {
    if (rid === 'blocked') return undefined;
    return rid === 'identity' ? IDENTITY : this.allocPaging(device, { name: `dma ${device.name}` });
  }

  *#clear(attachment: Attachment, mute: boolean): Task<Refusal<'EIO'> | undefined> {
    const { device, pasid, domain } = attachment;
    attachment.change().entry = 'changing';
    const refusal = yield* device.driver.detach(device, pasid, { domain, mute });
    // What hardware did not confirm is asked of it again by whoever detaches.
    attachment.change().entry = mute && refusal === undefined ? 'muted' : 'none';
    attachment.wake();
    return refusal;
  }

  #forgetPartial(driver: IommuDriver): void {
    for (const device of this.devices) {
      if (device.driver !== driver) continue;
      for (const { requests } of device.attachments.values()) {
        for (const group of requests?.partial.keys() ?? []) requests?.partial.delete(group);
      }
    }
  }

  /** Whom a page request is for. */
  #requestedOf({ rid, pasid }: PageRequest): Attachment | undefined {
    if (pasid === undefined) return undefined;
    if (this.protections.pageRequestsByRid) return this.device(rid)?.attachments.get(pasid);
    return this.devices.map(({ attachments }) => attachments.get(pasid)).find((each) => each !== undefined);
  }

  #attachmentOf(rid: number, pasid: Pasid | undefined): Attachment | undefined {
    return this.device(rid)?.attachments.get(pasid ?? NO_PASID);
  }

  #driverOf(rid: number): IommuDriver | undefined {
    const { iommus } = this.#context.platform;
    const named = iommus.findIndex((unit) => unit.rids?.includes(rid) === true);
    const index = named >= 0 ? named : iommus.findIndex((unit) => unit.rids === undefined);
    return this.#drivers.items[index];
  }
}

/** What a device's requests have that have no PASID. */
const NO_PASID = Pasid.of(0);

function freeOwn(domain: PagingDomain | Identity | undefined): void {
  if (domain instanceof PagingDomain) domain.free();
}

/** A device that cannot have what is asked for all of them is left out. */
function asNoDevice(refusal: Refusal<AttachErrno>): Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> {
  const { errno, why } = refusal;
  return errno === 'ENOMEM' || errno === 'EIO' ? refuse(errno, why) : refuse('ENODEV', why);
}
