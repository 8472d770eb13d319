/**
 * The IOMMU core: the machine's units and the devices behind them, and what is attached to (device, PASID). What
 * it records of an attachment it records before hardware can act on it, and forgets after hardware has let go.
 */
import { isRefusal, KeptList, KeptMap, type Refusal, refuse, type Task } from '../../base/index.js';
import { type IoasidCore, ioasidHolderAlloc } from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { Pasid } from '../ids.js';
import type { PciDevice } from '../pci.js';
import { Attachment, IommuDevice } from './device.js';
import type { FirstStageDomain, RidDomain } from './domain.js';
import type { IommuDriver } from './driver.js';
import { PageRequests } from './page-requests.js';
import { VtdUnit } from './vtd/unit.js';

export class Iommu {
  readonly pageRequests: PageRequests;
  readonly #context: KernelContext;
  readonly #ioasids: IoasidCore;
  readonly #drivers: KeptList<IommuDriver>;
  readonly #devices: KeptMap<number, IommuDevice>;

  constructor(context: KernelContext, ioasids: IoasidCore) {
    this.#context = context;
    this.#ioasids = ioasids;
    this.#drivers = new KeptList(context.log);
    this.#devices = new KeptMap(context.log);
    this.pageRequests = new PageRequests(context, (rid) => this.device(rid));
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
        ownerOf: (rid, pasid) => this.device(rid)?.attachments.get(Pasid.of(pasid))?.domain.name,
      });
      if (refusal !== undefined) return refusal;
      this.#drivers.push(driver);
    }
    return undefined;
  }

  /** All devices have been added: the units begin to translate. */
  *enable(): Task {
    for (const driver of this.#drivers.items) yield* driver.enable();
  }

  /**
   * Adds a device, with what its requests without a PASID meet; switches on what both it and its unit have.
   *
   * On failure: `ENODEV` if no unit covers it; what the driver refuses with.
   */
  *add(pci: PciDevice, rid: RidDomain): Task<IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>> {
    const driver = this.#driverOf(pci.rid);
    if (driver === undefined) return refuse('ENODEV', `no IOMMU covers ${pci.name}`);
    const holder = ioasidHolderAlloc(this.#ioasids, `iommu ${pci.name}`);
    if (isRefusal(holder)) return refuse('ENOMEM', holder.why);
    const device = new IommuDevice(this.#context, { pci, driver, holder });
    const refusal = yield* driver.addDevice(device, rid);
    if (refusal !== undefined) return refusal;
    // PASIDs cannot be switched while ATS is on, and page requests need translations.
    if (device.pasidBits > 0) pci.enablePasid();
    if (device.pri) pci.enablePri();
    if (device.ats) pci.enableAts();
    this.#devices.set(pci.rid, device);
    const { name, pasidBits, ats, pri } = device;
    tell(this.#context, 'iommu:add', { device: name, unit: driver.name, pasidBits, ats, pri });
    return device;
  }

  /**
   * Attaches a first stage to a (device, PASID).
   *
   * On failure: `EBUSY` if something is attached; what the driver refuses with. Nothing has changed.
   */
  *attachPasid(
    device: IommuDevice,
    pasid: Pasid,
    domain: FirstStageDomain,
  ): Task<Attachment | Refusal<'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    yield* device.lock.lock();
    try {
      if (device.attachments.has(pasid)) return refuse('EBUSY', `PASID ${pasid} of ${device.name} is in use`);
      const attachment = new Attachment(this.#context, device, { pasid, domain });
      // A page request may come as soon as the entry is present.
      device.attachments.set(pasid, attachment);
      const refusal = yield* device.driver.setFirstStage(device, pasid, domain);
      if (refusal !== undefined) {
        device.attachments.delete(pasid);
        return refusal;
      }
      attachment.entry.value = 'present';
      return attachment;
    } finally {
      device.lock.unlock();
    }
  }

  /**
   * The address space behind an attachment goes, and its users are still there: its entry is taken away, and the
   * faults of what still comes are not recorded. Whoever comes second waits for the first.
   */
  *mute(attachment: Attachment): Task<Refusal<'EIO'> | undefined> {
    while (attachment.entry.value === 'clearing') yield attachment.cleared;
    if (attachment.entry.value !== 'present') return undefined;
    return yield* this.#clear(attachment, true);
  }

  /**
   * Detaches: nothing new is served (stop), what is outstanding is answered (drain), entry and caches are cleared
   * (clear). The device has been quiesced by its own driver.
   *
   * On failure: `EIO` if hardware did not confirm: the PASID must not be handed out again.
   */
  *detachPasid(attachment: Attachment): Task<Refusal<'EIO'> | undefined> {
    const { device, pasid } = attachment;
    attachment.dying.value = true;
    yield* this.pageRequests.drain(attachment);
    // No lock of the group while waiting above: a fault's worker may be what tears the address space down.
    while (attachment.entry.value === 'clearing') yield attachment.cleared;
    const refusal =
      attachment.entry.value === 'muted'
        ? yield* device.driver.unmutePasid(device, pasid)
        : yield* this.#clear(attachment, false);
    if (refusal !== undefined) return refusal;
    yield* this.pageRequests.drain(attachment);
    device.attachments.delete(pasid);
    return undefined;
  }

  *#clear(attachment: Attachment, mute: boolean): Task<Refusal<'EIO'> | undefined> {
    const { device, pasid, domain, entry, cleared } = attachment;
    entry.value = 'clearing';
    const refusal = yield* device.driver.clearPasid(device, pasid, { domain, mute });
    entry.value = mute ? 'muted' : 'none';
    cleared.wakeAll();
    return refusal;
  }

  #driverOf(rid: number): IommuDriver | undefined {
    const { iommus } = this.#context.platform;
    const named = iommus.findIndex((unit) => unit.rids?.includes(rid) === true);
    const index = named >= 0 ? named : iommus.findIndex((unit) => unit.rids === undefined);
    return this.#drivers.items[index];
  }
}
