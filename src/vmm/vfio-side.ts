/**
 * The host's side of the virtual IOMMU, over VFIO: what is asked for becomes the structures that its ioctls take
 * (`spec/uapi`), and what the host reports of a device's faults is told to the virtual unit. Devices are known by
 * virtual RID here, and by VFIO's own name there.
 */
import { KeptMap, type Refusal, refuse, type Task, type UndoLog } from '../base/index.js';
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

  *bind(rid: number, binding: GuestBinding): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return yield* this.#container.bindGpasid(device, bindData(binding, binding));
  }

  *unbind(rid: number, pair: PasidPair): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return yield* this.#container.unbindGpasid(device, bindData(pair));
  }

  *invalidate(rid: number, what: HostInvalidation): Task<Refusal | undefined> {
    const device = this.#devices.get(rid);
    if (device === undefined) return noDevice(rid);
    return yield* this.#container.invalidate(device, invalidation(what));
  }

  *respond(rid: number, { guestPasid, group, code }: HostPageResponse): Task<Refusal | undefined> {
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
    return yield* this.#container.pageResponse(device, bytesOf(words));
  }
}

const noDevice = (rid: number): Refusal<'ENODEV'> => refuse('ENODEV', `no virtual device at RID ${rid}`);

function pasidRequest(of: {
  readonly ALLOC?: 1;
  readonly FREE?: 1;
  readonly MIN: number;
  readonly MAX: number;
}): Uint8Array {
  return bytesOf(encode(VFIO_PASID_REQUEST, { ARGSZ: VFIO_PASID_REQUEST.bytes, ...of }));
}

/** What binds, with a first stage, or unbinds. */
function bindData({ guestPasid, hostPasid }: PasidPair, stage?: GuestBinding): Uint8Array {
  const flag = (isSet: boolean | undefined): number => (isSet === true ? 1 : 0);
  return bytesOf(
    encode(IOMMU_GPASID_BIND, {
      ARGSZ: IOMMU_GPASID_BIND.bytes,
      VERSION: IOMMU_GPASID_BIND_VERSION,
      FORMAT: IOMMU_PASID_FORMAT_INTEL_VTD,
      ADDR_WIDTH: WIDTHS[stage?.levels ?? 4] ?? 0,
      GPASID_VALID: 1,
      GPGD: BigInt(stage?.root ?? 0) * BigInt(PAGE),
      HPASID: hostPasid,
      GPASID: guestPasid,
      SRE: flag(stage?.supervisorRequests),
      EAFE: flag(stage?.extendedAccessed),
      WPE: flag(stage?.writeProtect),
    }),
  );
}

function invalidation({ cache, guestPasid, pages, leafOnly }: HostInvalidation): Uint8Array {
  const { ADDRESS, PASID } = IOMMU_INV_GRANULARITY;
  const head = encode(IOMMU_CACHE_INVALIDATE, {
    ARGSZ:
      IOMMU_CACHE_INVALIDATE.bytes + (pages === undefined ? IOMMU_INV_PASID.bytes : IOMMU_INV_ADDR.bytes),
    VERSION: IOMMU_CACHE_INVALIDATE_VERSION,
    IOTLB: cache !== 'device-tlb' ? 1 : 0,
    DEV_IOTLB: cache !== 'iotlb' ? 1 : 0,
    GRANULARITY: pages === undefined ? PASID : ADDRESS,
  });
  const scope =
    pages === undefined
      ? encode(IOMMU_INV_PASID, { PASID_VALID: 1, PASID: guestPasid })
      : encode(IOMMU_INV_ADDR, {
          PASID_VALID: 1,
          LEAF: leafOnly ? 1 : 0,
          PASID: guestPasid,
          ADDR: BigInt(pages.page) * BigInt(PAGE),
          GRANULE_SIZE: PAGE,
          NB_GRANULES: pages.pages,
        });
  const words = new Int32Array(IOMMU_CACHE_INVALIDATE_SCOPE_WORD + scope.length);
  words.set(head);
  words.set(scope, IOMMU_CACHE_INVALIDATE_SCOPE_WORD);
  return bytesOf(words);
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
