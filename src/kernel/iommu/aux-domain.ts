/**
 * An auxiliary domain: a second stage that parts of functions are attached to (ADIs; Scalable IOV 1.0, 3.3). A part's
 * requests carry the function's RID, so that no entry is its own but one of a PASID: the domain's *default PASID*,
 * which the function's driver programs into each part that is attached. It is one number on all functions, so that the
 * parts that share the domain share it; hardware knows them apart by what else there is (a dedicated queue by its
 * number).
 *
 * After Linux 5.0 to 5.16 (`iommu_aux_attach_device`, `iommu_aux_detach_device`, `iommu_aux_get_pasid`;
 * drivers/iommu/intel/iommu.c: `aux_domain_add_dev`, `default_pasid`), with one difference: attachments are counted by
 * function. Before 5.11 Linux counted them by domain alone, and the first of two parts of one function that was
 * detached took the entry of the other away.
 *
 * The default PASID is of the host's set, and not of the VM's: it is there before the guest has asked for any, whatever
 * its quota; a guest can neither free it nor bind it, and no SPID leads to it; and it lives as long as the domain has
 * parts, which outlive the VM's set by the end of its tear-down.
 */
import { Bug, isRefusal, KeptMap, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  type IoasidSet,
  ioasidAlloc,
  ioasidFree,
  ioasidGet,
  ioasidHolderFree,
  ioasidPut,
} from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { Pasid } from '../ids.js';
import { Mutex } from '../mutex.js';
import type { Iommu } from './core.js';
import type { Attachment, IommuDevice } from './device.js';
import type { Domain } from './domain.js';
import type { AttachErrno } from './driver.js';
import type { PagingDomain } from './paging-domain.js';

/** A function of which parts are attached, and how many. */
interface Parent {
  readonly attachment: Attachment;
  readonly users: KeptValue<number>;
}

export class AuxDomain {
  readonly domain: PagingDomain;
  /** What the default PASID is of. */
  readonly set: IoasidSet;
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #pasid: KeptValue<Pasid | undefined>;
  readonly #parents: KeptMap<IommuDevice, Parent>;
  /** Held over each attach and detach. */
  readonly #lock: Mutex;

  /** @param of `set`: the host's own */
  constructor(
    context: KernelContext,
    iommu: Iommu,
    of: { readonly domain: PagingDomain; readonly set: IoasidSet },
  ) {
    const { log } = context;
    this.#context = context;
    this.#iommu = iommu;
    this.domain = of.domain;
    this.set = of.set;
    this.#pasid = new KeptValue<Pasid | undefined>(log, undefined);
    this.#parents = new KeptMap(log);
    this.#lock = new Mutex(log, `aux domain ${of.domain.name}`);
  }

  /** How many parts of a function are attached. */
  usersOf(device: IommuDevice): number {
    return this.#parents.get(device)?.users.value ?? 0;
  }

  /**
   * Attaches one more part of a function: its requests reach the domain, once they carry the default PASID, which the
   * first one has allocated.
   *
   * On failure: `ENODEV` if function or unit have no PASIDs, or the unit cannot use the domain; `EBUSY` if the function
   * is on its way out; `EDQUOT`, `ENOSPC`, `ENOMEM`, `EIO`. It is not attached.
   */
  *attachDevice(
    device: IommuDevice,
  ): Task<Pasid | Refusal<'ENODEV' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    yield* this.#lock.lock();
    try {
      const pasid = this.#pasid.value ?? this.#alloc(device);
      if (isRefusal(pasid)) return pasid;
      const refusal = yield* this.#enter(device, pasid);
      if (refusal === undefined) return pasid;
      this.#freeUnused();
      return refusal;
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Detaches a part, of which its driver has made sure that it sends nothing with the default PASID any more. With the
   * function's last one the entry goes, and nothing is cached of it when this returns; with the last of all, the PASID
   * is free.
   *
   * On failure: `EIO` if hardware did not confirm: it is attached still, and one can try again.
   */
  *detachDevice(device: IommuDevice): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const parent = this.#parents.get(device);
      const pasid = this.#pasid.value;
      if (parent === undefined || pasid === undefined) {
        throw new Bug(`no part of ${device.name} is attached to ${this.domain.name}`);
      }
      if (parent.users.value === 1) {
        const refusal = yield* this.#iommu.detach(parent.attachment);
        if (refusal !== undefined) return refusal;
        this.#parents.delete(device);
        this.#tell('iommu:aux-clear', device, pasid);
      }
      parent.users.value--;
      this.#put(device, pasid);
      if (device.presence.value === 'gone') ioasidHolderFree(device.holder);
      this.#freeUnused();
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  /** Makes the entry of a function's first part, and counts the others. */
  *#enter(
    device: IommuDevice,
    pasid: Pasid,
  ): Task<Refusal<'ENODEV' | 'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO'> | undefined> {
    const got = ioasidGet(this.set, pasid, device.holder);
    if (got !== undefined) return refuse(got.errno === 'ENOMEM' ? 'ENOMEM' : 'EBUSY', got.why);
    const known = this.#parents.get(device);
    if (known !== undefined) {
      known.users.value++;
      return undefined;
    }
    const attachment = yield* this.#iommu.attach(device, pasid, this.domain as Domain);
    if (isRefusal(attachment)) {
      // What hardware did not confirm it may still use: the PASID stays held.
      if (attachment.errno !== 'EIO') this.#put(device, pasid);
      return asNoDevice(attachment);
    }
    this.#parents.set(device, { attachment, users: new KeptValue(this.#context.log, 1) });
    this.#tell('iommu:aux-entry', device, pasid);
    return undefined;
  }

  #alloc(device: IommuDevice): Pasid | Refusal<'ENODEV' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM' | 'EIO'> {
    if (device.pasidBits === 0) return refuse('ENODEV', `${device.name} has no PASIDs`);
    const id = ioasidAlloc(this.set, 1, 2 ** device.pasidBits - 1);
    if (!isRefusal(id)) {
      this.#pasid.value = Pasid.of(id);
      tell(this.#context, 'iommu:default-pasid', { domain: this.domain.name, pasid: id });
      return Pasid.of(id);
    }
    const { errno, why } = id;
    if (errno === 'EDEADLK' || errno === 'EINVAL' || errno === 'ENOENT') throw new Bug(why);
    return refuse(errno, why);
  }

  #put(device: IommuDevice, pasid: Pasid): void {
    const put = ioasidPut(this.set, pasid, device.holder);
    if (isRefusal(put)) throw new Bug(put.why);
  }

  #freeUnused(): void {
    const pasid = this.#pasid.value;
    if (pasid === undefined || this.#parents.size > 0) return;
    this.#pasid.value = undefined;
    ioasidFree(this.set, pasid);
  }

  #tell(kind: string, device: IommuDevice, pasid: Pasid): void {
    tell(this.#context, kind, { device: device.name, domain: this.domain.name, pasid });
  }
}

function asNoDevice(
  refusal: Refusal<AttachErrno>,
): Refusal<'ENODEV' | 'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO'> {
  const { errno, why } = refusal;
  return errno === 'EOPNOTSUPP' || errno === 'EINVAL' ? refuse('ENODEV', why) : refuse(errno, why);
}
