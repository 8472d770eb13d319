/**
 * Shared virtual addressing: a device works in a process's own page table. One PASID stands for an address space
 * on every device, and lives as long as the address space does (bugs C1, C5): it is freed with the last pin, and
 * each binding is one. Who holds it is on record in the IOASID core, by name.
 */
import { assert, isRefusal, KeptList, KeptMap, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  type IoasidHolder,
  type IoasidSet,
  ioasidAlloc,
  ioasidFree,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidPut,
} from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { Pasid } from '../ids.js';
import type { AddressSpace, FaultAccess, MmuNotifier, PasidOwner } from '../mm/address-space.js';
import { Mutex } from '../mutex.js';
import type { Iommu } from './core.js';
import type { Attachment, IommuDevice } from './device.js';
import type { FirstStageDomain } from './domain.js';
import type { IommuDriver } from './driver.js';

type BindErrno = 'ENODEV' | 'ESRCH' | 'EOVERFLOW' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM' | 'EIO';

/** An address space, as devices see it; told of each change of its table. */
class SvaDomain implements FirstStageDomain, MmuNotifier {
  readonly type = 'first-stage';
  readonly largestLeaf = 1;
  readonly mm: AddressSpace;
  readonly attachments: KeptList<Attachment>;
  readonly #iommu: Iommu;

  constructor(context: KernelContext, mm: AddressSpace, iommu: Iommu) {
    this.mm = mm;
    this.#iommu = iommu;
    this.attachments = new KeptList(context.log);
  }

  get name(): string {
    return this.mm.name;
  }

  get levels(): number {
    return this.mm.table.levels;
  }

  get root(): number {
    return this.mm.table.root;
  }

  writeBack(): void {
    this.mm.table.writeBack();
  }

  *handleFault(page: number, access: FaultAccess): Task<Refusal<'EFAULT' | 'ENOMEM' | 'ESRCH'> | undefined> {
    if (!this.mm.tryUse()) return refuse('ESRCH', `${this.mm.name} is gone`);
    try {
      return yield* this.mm.handleFault(page, access);
    } finally {
      yield* this.mm.put();
    }
  }

  *invalidateRange(first: number, last: number): Task<Refusal<'EIO'> | undefined> {
    let refused: Refusal<'EIO'> | undefined;
    for (const driver of this.#units()) refused = (yield* driver.flush(this, [{ first, last }])) ?? refused;
    return refused;
  }

  *release(): Task<Refusal<'EIO'> | undefined> {
    let refused: Refusal<'EIO'> | undefined;
    for (const attachment of [...this.attachments.items]) {
      refused = (yield* this.#iommu.mute(attachment)) ?? refused;
    }
    return refused;
  }

  /** The units that walk the table, each once. */
  #units(): Set<IommuDriver> {
    return new Set(this.attachments.items.map(({ device }) => device.driver));
  }
}

/** A device bound to an address space. */
export interface SvaBinding {
  readonly device: IommuDevice;
  readonly mm: AddressSpace;
  readonly pasid: Pasid;
}

export class Sva implements PasidOwner {
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #set: IoasidSet;
  /** Held over each bind and unbind. */
  readonly #lock: Mutex;
  readonly #domains: KeptMap<AddressSpace, SvaDomain>;
  /** The names in which address spaces hold their PASIDs. */
  readonly #holders: KeptMap<AddressSpace, IoasidHolder>;

  /** @param set where the PASIDs of this machine's own processes come from */
  constructor(context: KernelContext, iommu: Iommu, set: IoasidSet) {
    this.#context = context;
    this.#iommu = iommu;
    this.#set = set;
    this.#lock = new Mutex(context.log, 'sva');
    this.#domains = new KeptMap(context.log);
    this.#holders = new KeptMap(context.log);
  }

  /** How many groups a client of a PASID has answered; 0 if there is none. */
  answeredByClient(device: IommuDevice | Refusal, pasid: Pasid): number {
    return isRefusal(device) ? 0 : (device.attachments.get(pasid)?.requests?.answered ?? 0);
  }

  /** Answers what a client of a PASID has not answered: Invalid Request. It comes too late with its own. */
  *answerForClient(device: IommuDevice | Refusal, pasid: Pasid): Task {
    const attachment = isRefusal(device) ? undefined : device.attachments.get(pasid);
    if (attachment?.client !== undefined) yield* this.#iommu.pageRequests.abort(attachment);
  }

  /**
   * Binds a device to an address space; again, if it is bound already: each bind wants an unbind.
   *
   * On failure: `ENODEV` says what device or unit lack; `ESRCH` if the memory is gone; `EOVERFLOW` if the address
   * space has a PASID that the device is too narrow for; `EDQUOT`, `ENOSPC`, `ENOMEM`, `EBUSY`, `EIO`. Nothing
   * has changed.
   */
  *bind(device: IommuDevice, mm: AddressSpace): Task<SvaBinding | Refusal<BindErrno>> {
    const lacking = whyNoSva(device, this.#context);
    if (lacking !== undefined) return refuse('ENODEV', `no SVA on ${device.name}: ${lacking}`);
    // A user of the memory while it binds: the table must not go before its end could be told.
    if (!mm.tryUse()) return refuse('ESRCH', `${mm.name} is gone`);
    if (!this.#lock.tryLock()) yield* this.#lock.lock();
    try {
      const bound = this.#domains.get(mm)?.attachments.items.find((each) => each.device === device);
      if (bound !== undefined) {
        bound.change().users++;
        return { device, mm, pasid: bound.pasid };
      }
      const pasid = mm.pasid ?? this.#alloc(device);
      if (isRefusal(pasid)) return pasid;
      const refusal = yield* this.#attach(device, mm, pasid);
      if (refusal !== undefined) {
        if (mm.pasid === undefined) this.#free(pasid);
        return refusal;
      }
      if (mm.pasid === undefined) this.#publish(mm, pasid);
      tell(this.#context, 'sva:bind', { device: device.name, process: mm.name, pasid });
      return { device, mm, pasid };
    } finally {
      this.#lock.unlock();
      if (!mm.tryPut()) yield* mm.put();
    }
  }

  /**
   * Undoes one bind; the last one of a device detaches it. The device's driver has stopped submission and drained
   * the device before. On an `EIO` of the hardware the PASID stays held, and is not handed out again.
   */
  *unbind({ device, mm, pasid }: SvaBinding): Task<Refusal<'EIO'> | undefined> {
    if (!this.#lock.tryLock()) yield* this.#lock.lock();
    try {
      const domain = this.#domains.get(mm);
      const attachment = domain?.attachments.items.find((each) => each.device === device);
      assert(domain !== undefined && attachment !== undefined, `${device.name} is not bound to ${mm.name}`);
      attachment.change().users--;
      if (attachment.users > 0) return undefined;
      const refusal = yield* this.#iommu.detach(attachment);
      if (refusal !== undefined) return refusal;
      domain.attachments.remove(attachment);
      if (domain.attachments.length === 0) {
        mm.removeNotifier(domain);
        this.#domains.delete(mm);
      }
      ioasidPut(this.#set, pasid, device.holder);
      tell(this.#context, 'sva:unbind', { device: device.name, process: mm.name, pasid });
      if (device.presence.value === 'gone') ioasidHolderFree(device.holder);
      mm.unpin();
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  *#attach(device: IommuDevice, mm: AddressSpace, pasid: Pasid): Task<Refusal<BindErrno> | undefined> {
    if (pasid >= 2 ** device.pasidBits) {
      return refuse(
        'EOVERFLOW',
        `${device.name} has ${device.pasidBits} bits, ${mm.name} has PASID ${pasid}`,
      );
    }
    const got = ioasidGet(this.#set, pasid, device.holder);
    if (got !== undefined)
      return got.errno === 'ENOMEM' ? refuse('ENOMEM', got.why) : refuse('EBUSY', got.why);
    const known = this.#domains.get(mm);
    const domain = known ?? new SvaDomain(this.#context, mm, this.#iommu);
    // No request with the PASID comes before the device's driver knows it: changes until then need no flush.
    const attachment = yield* this.#iommu.attach(device, pasid, domain);
    if (isRefusal(attachment)) {
      ioasidPut(this.#set, pasid, device.holder);
      const { errno, why } = attachment;
      return errno === 'EOPNOTSUPP' || errno === 'EINVAL' ? refuse('ENODEV', why) : refuse(errno, why);
    }
    domain.attachments.push(attachment);
    this.#domains.set(mm, domain);
    if (known === undefined) mm.addNotifier(domain);
    mm.pin();
    return undefined;
  }

  /** A PASID that nobody uses yet, and the name in which the address space holds it. */
  #alloc(device: IommuDevice): Pasid | Refusal<'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM' | 'EIO'> {
    const id = ioasidAlloc(this.#set, 1, 2 ** device.pasidBits - 1);
    if (!isRefusal(id)) return Pasid.of(id);
    const { errno, why } = id;
    assert(errno !== 'EDEADLK' && errno !== 'EINVAL' && errno !== 'ENOENT', `PASIDs of the host: ${why}`);
    return refuse(errno, why);
  }

  #free(pasid: Pasid): void {
    ioasidFree(this.#set, pasid);
  }

  /** The address space has its PASID from now on, and to its end. */
  #publish(mm: AddressSpace, pasid: Pasid): void {
    const holder = this.#hold(mm, pasid);
    if (holder !== undefined) this.#holders.set(mm, holder);
    mm.setPasid(pasid, this);
  }

  /** @see PasidOwner */
  unpinned(mm: AddressSpace, pasid: Pasid): void {
    const holder = this.#holders.get(mm);
    if (holder !== undefined) {
      this.#holders.delete(mm);
      ioasidPut(this.#set, pasid, holder);
      ioasidHolderFree(holder);
    }
    this.#free(pasid);
  }

  /** Puts on record that the address space holds its PASID; without memory for the record it does so unrecorded. */
  #hold(mm: AddressSpace, pasid: Pasid): IoasidHolder | undefined {
    const holder = ioasidHolderAlloc(this.#set.core, `mm ${mm.name}`);
    if (isRefusal(holder)) return undefined;
    const refusal = ioasidGet(this.#set, pasid, holder);
    if (refusal === undefined) return holder;
    ioasidHolderFree(holder);
    return undefined;
  }
}

/** Why a device cannot be bound to any address space; undefined if it can. */
export function whyNoSva(device: IommuDevice, { platform }: KernelContext): string | undefined {
  const { pasidBits, pci, driver, ats, pri } = device;
  const { pageTableLevels: levels = 4 } = platform;
  if (driver.pasidBits === 0) return `${driver.name} has no PASIDs`;
  if (driver.firstStage.levels.length === 0) return `${driver.name} has no first stages`;
  if (!driver.firstStage.levels.includes(levels)) {
    return `the CPUs' page tables have ${levels} levels, those of ${driver.name} not`;
  }
  if (pasidBits === 0) return `${pci.name} has no PASID capability`;
  if (!ats) return pci.hasAts ? `${driver.name} has no device TLBs` : `${pci.name} has no ATS capability`;
  if (pri) return undefined;
  return pci.hasPri ? `${driver.name} takes no page requests` : `${pci.name} has no PRI capability`;
}
