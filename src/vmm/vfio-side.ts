/**
 * The host's side of the virtual IOMMU, over VFIO: what is asked for becomes the structures that its ioctls take
 * (`spec/uapi`), and what the host reports of a device's faults is told to the virtual unit. Devices are known by
 * virtual RID here, and by VFIO's own name there.
 */
import { ended, KeptMap, type Refusal, refuse, type Task, type UndoLog } from '../base/index.js';
import { NO_PASID, PAGE_RESPONSE, RIGHT } from '../hardware/index.js';
import type { VfioContainer, VfioDevice } from '../kernel/index.js';
import {
  encode,
  FAULT,
  IOMMU_CACHE_INVALIDATE,
  IOMMU_CACHE_INVALIDATE_SCOPE_WORD,
  IOMMU_CACHE_INVALIDATE_VERSION,
  IOMMU_FAULT,
  IOMMU_FAULT_EVENT_WORD,
  IOMMU_FAULT_PAGE_REQUEST,
  IOMMU_FAULT_PERM,
  IOMMU_FAULT_REASON,
  IOMMU_FAULT_TYPE,
  IOMMU_FAULT_UNRECOVERABLE,
  IOMMU_GPASID_BIND,
  IOMMU_GPASID_BIND_VERSION,
  IOMMU_INV_ADDR,
  IOMMU_INV_GRANULARITY,
  IOMMU_INV_PASID,
  IOMMU_PAGE_RESPONSE,
  IOMMU_PAGE_RESPONSE_CODE,
  IOMMU_PAGE_RESPONSE_VERSION,
  IOMMU_PASID_FORMAT_INTEL_VTD,
  setU64,
  VFIO_DMA_MAP,
  VFIO_PASID_REQUEST,
} from '../spec/index.js';
import type {
  GuestBinding,
  HostInvalidation,
  HostPageResponse,
  HostSide,
  PasidPair,
} from './iommu/host-side.js';
import type { VirtualUnit } from './iommu/port.js';

const BIND = IOMMU_GPASID_BIND;
const INVALIDATE = IOMMU_CACHE_INVALIDATE;
const INV_PASID = IOMMU_INV_PASID;
const INV_ADDR = IOMMU_INV_ADDR;
const PAGE = 4096;
/** Bits of an address of a first stage, by its levels. */
const WIDTHS: Readonly<Record<number, number>> = { 4: 48, 5: 57 };

/** What the guest is told of the reasons that a report can give, but for a denied access (VT-d 4.1, 7.1.3). */
const REASONS: Readonly<Record<number, number>> = {
  [IOMMU_FAULT_REASON.PASID_FETCH]: FAULT.PASID_TABLE_ACCESS,
  [IOMMU_FAULT_REASON.BAD_PASID_ENTRY]: FAULT.PASID_RESERVED,
  [IOMMU_FAULT_REASON.PASID_INVALID]: FAULT.PASID_NOT_PRESENT,
  [IOMMU_FAULT_REASON.WALK_EABT]: FAULT.FIRST_STAGE_ACCESS,
  [IOMMU_FAULT_REASON.PTE_FETCH]: FAULT.FIRST_STAGE_NOT_PRESENT,
  [IOMMU_FAULT_REASON.ACCESS]: FAULT.FIRST_STAGE_AD_FAILED,
  [IOMMU_FAULT_REASON.OOR_ADDRESS]: FAULT.NESTED_ADDRESS_BEYOND_WIDTH,
};

/** The argument that maps a run of the VMM's pages for devices, at guest frame `gfn`. */
export function dmaMap(of: {
  readonly gfn: number;
  readonly pages: number;
  readonly page: number;
}): Uint8Array {
  return bytesOf(
    encode(VFIO_DMA_MAP, {
      ARGSZ: VFIO_DMA_MAP.bytes,
      READ: 1,
      WRITE: 1,
      VADDR: BigInt(of.page) * BigInt(PAGE),
      IOVA: BigInt(of.gfn) * BigInt(PAGE),
      SIZE: BigInt(of.pages) * BigInt(PAGE),
    }),
  );
}

export class VfioSide implements HostSide {
  readonly #container: VfioContainer;
  readonly #devices: KeptMap<number, VfioDevice>;
  readonly #bindArgument = new BindArgument();
  readonly #invalidateArgument = new InvalidateArgument();

  constructor(log: UndoLog, container: VfioContainer) {
    this.#container = container;
    this.#devices = new KeptMap(log);
  }

  /** A device of the container has this virtual RID. */
  add(rid: number, device: VfioDevice): void {
    this.#devices.set(rid, device);
  }

  /** It is gone. */
  remove(rid: number): void {
    this.#devices.delete(rid);
  }

  /** Has what the host reports of a device told to the virtual unit. */
  listen(rid: number, unit: Pick<VirtualUnit, 'pageRequest' | 'fault'>): void {
    const device = this.#devices.get(rid);
    if (device !== undefined) this.#container.onFault(device, (bytes) => report(unit, rid, bytes));
  }

  allocPasid(min: number, max: number): number | Refusal {
    return this.#container.pasidRequest(pasidRequest({ ALLOC: 1, MIN: min, MAX: max }));
  }

  freePasid(hostPasid: number): Refusal | undefined {
    const answer = this.#container.pasidRequest(pasidRequest({ FREE: 1, MIN: hostPasid, MAX: hostPasid }));
    return typeof answer === 'number' ? undefined : answer;
  }

  attach(rid: number): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    return device === undefined ? noDevice(rid) : this.#container.attachDomain(device);
  }

  detach(rid: number): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    return device === undefined ? noDevice(rid) : this.#container.detachDomain(device);
  }

  bind(rid: number, binding: GuestBinding): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return this.#container.bindGpasid(device, this.#bindArgument.of(binding, binding));
  }

  isWhole(rid: number): boolean {
    return this.#devices.get(rid)?.usesParentPasids === false;
  }

  unbind(rid: number, pair: PasidPair, { mute } = { mute: false }): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return this.#container.unbindGpasid(device, this.#bindArgument.toUnbind(pair, mute));
  }

  invalidate(rid: number, what: HostInvalidation): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return this.#container.invalidate(device, this.#invalidateArgument.of(what));
  }

  respond(rid: number, { guestPasid, group, code }: HostPageResponse): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    const words = encode(IOMMU_PAGE_RESPONSE, {
      ARGSZ: IOMMU_PAGE_RESPONSE.bytes,
      VERSION: IOMMU_PAGE_RESPONSE_VERSION,
      PASID_VALID: 1,
      PASID: guestPasid,
      GRPID: group,
      CODE: responseCode(code),
    });
    return this.#container.pageResponse(device, bytesOf(words));
  }
}

/** An argument that is filled anew for each call: the kernel has read it when the call returns its task. */
abstract class Argument {
  readonly bytes: Uint8Array;
  protected readonly words: Int32Array;

  constructor(bytes: number) {
    this.words = new Int32Array(bytes / 4);
    this.bytes = new Uint8Array(this.words.buffer);
  }
}

/** What binds, with a first stage, or unbinds. */
class BindArgument extends Argument {
  constructor() {
    super(BIND.bytes);
  }

  of({ guestPasid, hostPasid }: PasidPair, stage?: GuestBinding): Uint8Array {
    const { words } = this;
    words.fill(0);
    BIND.ARGSZ.set(words, 0, BIND.bytes);
    BIND.VERSION.set(words, 0, IOMMU_GPASID_BIND_VERSION);
    BIND.FORMAT.set(words, 0, IOMMU_PASID_FORMAT_INTEL_VTD);
    BIND.ADDR_WIDTH.set(words, 0, WIDTHS[stage?.levels ?? 4] ?? 0);
    BIND.GPASID_VALID.set(words, 0, 1);
    setU64(BIND.GPGD, words, 0, (stage?.root ?? 0) * PAGE);
    setU64(BIND.HPASID, words, 0, hostPasid);
    setU64(BIND.GPASID, words, 0, guestPasid);
    if (stage?.supervisorRequests === true) BIND.SRE.set(words, 0, 1);
    if (stage?.extendedAccessed === true) BIND.EAFE.set(words, 0, 1);
    if (stage?.writeProtect === true) BIND.WPE.set(words, 0, 1);
    return this.bytes;
  }

  toUnbind(pair: PasidPair, mute: boolean): Uint8Array {
    const bytes = this.of(pair);
    BIND.FPD.set(this.words, 0, mute ? 1 : 0);
    return bytes;
  }
}

/** What invalidates: all of a PASID, or pages of it. */
class InvalidateArgument extends Argument {
  constructor() {
    super(INVALIDATE.bytes + INV_ADDR.bytes);
  }

  of({ cache, guestPasid, pages, leafOnly }: HostInvalidation): Uint8Array {
    const { words } = this;
    const scope = IOMMU_CACHE_INVALIDATE_SCOPE_WORD;
    words.fill(0);
    INVALIDATE.VERSION.set(words, 0, IOMMU_CACHE_INVALIDATE_VERSION);
    if (cache !== 'device-tlb') INVALIDATE.IOTLB.set(words, 0, 1);
    if (cache !== 'iotlb') INVALIDATE.DEV_IOTLB.set(words, 0, 1);
    if (pages === undefined) {
      INVALIDATE.ARGSZ.set(words, 0, INVALIDATE.bytes + INV_PASID.bytes);
      INVALIDATE.GRANULARITY.set(words, 0, IOMMU_INV_GRANULARITY.PASID);
      INV_PASID.PASID_VALID.set(words, scope, 1);
      setU64(INV_PASID.PASID, words, scope, guestPasid);
      return this.bytes;
    }
    INVALIDATE.ARGSZ.set(words, 0, INVALIDATE.bytes + INV_ADDR.bytes);
    INVALIDATE.GRANULARITY.set(words, 0, IOMMU_INV_GRANULARITY.ADDRESS);
    INV_ADDR.PASID_VALID.set(words, scope, 1);
    if (leafOnly) INV_ADDR.LEAF.set(words, scope, 1);
    setU64(INV_ADDR.PASID, words, scope, guestPasid);
    setU64(INV_ADDR.ADDR, words, scope, pages.page * PAGE);
    setU64(INV_ADDR.GRANULE_SIZE, words, scope, PAGE);
    setU64(INV_ADDR.NB_GRANULES, words, scope, pages.pages);
    return this.bytes;
  }
}

const noDevice = (rid: number): Task<Refusal> => ended(refuse('ENODEV', `no virtual device at RID ${rid}`));

function pasidRequest(of: {
  readonly ALLOC?: 1;
  readonly FREE?: 1;
  readonly MIN: number;
  readonly MAX: number;
}): Uint8Array {
  return bytesOf(encode(VFIO_PASID_REQUEST, { ARGSZ: VFIO_PASID_REQUEST.bytes, ...of }));
}

/** What is neither success nor an invalid request is a failure (PCIe 6.0, 10.4.2.1). */
function responseCode(code: number): number {
  if (code === PAGE_RESPONSE.SUCCESS) return IOMMU_PAGE_RESPONSE_CODE.SUCCESS;
  if (code === PAGE_RESPONSE.INVALID_REQUEST) return IOMMU_PAGE_RESPONSE_CODE.INVALID;
  return IOMMU_PAGE_RESPONSE_CODE.FAILURE;
}

function report(unit: Pick<VirtualUnit, 'pageRequest' | 'fault'>, rid: number, bytes: Uint8Array): void {
  const words = wordsOfBytes(bytes);
  const event = words.subarray(IOMMU_FAULT_EVENT_WORD);
  if (IOMMU_FAULT.TYPE.get(words, 0) === IOMMU_FAULT_TYPE.PAGE_REQUEST) {
    const r = IOMMU_FAULT_PAGE_REQUEST;
    unit.pageRequest({
      rid,
      pasid: r.PASID_VALID.get(event, 0) === 1 ? r.PASID.get(event, 0) : NO_PASID,
      page: pageOf(r.ADDR.getBig(event, 0)),
      rights: rightsOf(r.PERM.get(event, 0)),
      group: r.GRPID.get(event, 0),
      isLast: r.LAST_PAGE.get(event, 0) === 1,
    });
    return;
  }
  const u = IOMMU_FAULT_UNRECOVERABLE;
  const rights = rightsOf(u.PERM.get(event, 0));
  unit.fault({
    rid,
    pasid: u.PASID_VALID.get(event, 0) === 1 ? u.PASID.get(event, 0) : NO_PASID,
    page: u.ADDR_VALID.get(event, 0) === 1 ? pageOf(u.ADDR.getBig(event, 0)) : 0,
    rights,
    reason: reasonOf(u.REASON.get(event, 0), rights),
  });
}

/** A report does not say which right was missing: of a first stage's page it is that, if no other was asked for. */
function reasonOf(reason: number, rights: number): number {
  if (reason !== IOMMU_FAULT_REASON.PERMISSION) return REASONS[reason] ?? FAULT.FIRST_STAGE_NOT_PRESENT;
  if ((rights & RIGHT.WRITE) !== 0) return FAULT.SM_WRITE_DENIED;
  if ((rights & RIGHT.EXECUTE) !== 0) return FAULT.EXECUTE_DENIED;
  return (rights & RIGHT.USER) !== 0 ? FAULT.USER_DENIED : FAULT.SM_READ_DENIED;
}

/** Whatever does not say that it is privileged is a user's. */
function rightsOf(perm: number): number {
  const has = (bit: number, right: number): number => ((perm & bit) !== 0 ? right : 0);
  return (
    has(IOMMU_FAULT_PERM.READ, RIGHT.READ) |
    has(IOMMU_FAULT_PERM.WRITE, RIGHT.WRITE) |
    has(IOMMU_FAULT_PERM.EXEC, RIGHT.EXECUTE) |
    ((perm & IOMMU_FAULT_PERM.PRIV) === 0 ? RIGHT.USER : 0)
  );
}

const pageOf = (address: bigint): number => Number(address >> 12n);

const bytesOf = (words: Int32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

/** The caller's bytes may lie anywhere. */
function wordsOfBytes(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(bytes.length / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}
