/**
 * Arguments of VFIO's calls: read once from what the caller gave, then judged as the kernel's ioctls judge them. A
 * structure that is too short, of another version, with flags that nobody has defined or with padding that is not
 * zero is `EINVAL`; bytes that the caller did not give are `EFAULT`. What comes after the last field that is known
 * here is left alone, as an older kernel does with a newer caller.
 */
import { isRefusal, type Refusal, refuse } from '../../base/index.js';
import {
  type Field,
  getU64,
  hasReservedBits,
  IOMMU_CACHE_INVALIDATE,
  IOMMU_CACHE_INVALIDATE_SCOPE_WORD,
  IOMMU_CACHE_INVALIDATE_VERSION,
  IOMMU_GPASID_BIND,
  IOMMU_GPASID_BIND_VERSION,
  IOMMU_INV_ADDR,
  IOMMU_INV_GRANULARITY,
  IOMMU_INV_PASID,
  IOMMU_PAGE_RESPONSE,
  IOMMU_PAGE_RESPONSE_CODE,
  IOMMU_PAGE_RESPONSE_VERSION,
  IOMMU_PASID_FORMAT_INTEL_VTD,
  type LayoutInfo,
  VFIO_DMA_MAP,
  VFIO_DMA_UNMAP,
  VFIO_PASID_REQUEST,
} from '../../spec/index.js';
import { GuestPasid, PAGE_BYTES, Pasid } from '../ids.js';
import type { PageRange, PageResponse } from '../iommu/driver.js';
import type { GuestBindRequest, GuestInvalidation, GuestUnbindRequest } from '../iommu/guest/requests.js';

type Bad = Refusal<'EFAULT' | 'EINVAL'>;

const wrong = (what: string): Refusal<'EINVAL'> => refuse('EINVAL', what);

/** The longest structure that is read. */
const MAX_BYTES = 128;
/** What was read last, word by word: it is judged, and done with, before anything else is read. */
const bytesRead = new Uint8Array(MAX_BYTES);
const wordsRead = new Int32Array(bytesRead.buffer);

/** How much of a structure is read: what has to be there, and what comes along if it is, both in bytes. */
interface Extent {
  readonly least: number;
  readonly most: number;
}

/**
 * Reads a structure that begins with `argsz`, into words that the next one is read into; its end may be left out, or
 * more may stand behind it.
 */
function read(argument: Uint8Array, of: LayoutInfo, extent?: Extent): Int32Array | Bad {
  const least = extent?.least ?? of.bytes;
  const bytes = extent?.most ?? of.bytes;
  if (argument.length < 4) return refuse('EFAULT', `${of.name} of ${argument.length} bytes`);
  copy(argument, 0, 4);
  const argsz = (wordsRead[0] ?? 0) >>> 0;
  if (argsz < least) return wrong(`${of.name} of ${argsz} bytes`);
  const wanted = Math.min(argsz, bytes);
  if (argument.length < wanted) return refuse('EFAULT', `${of.name} ends after ${argument.length} bytes`);
  copy(argument, 4, wanted);
  bytesRead.fill(0, wanted, bytes);
  if (hasReservedBits(of, wordsRead, 0)) return wrong(`${of.name} with unknown flags or padding`);
  return wordsRead;
}

function copy(argument: Uint8Array, from: number, end: number): void {
  for (let i = from; i < end; i++) bytesRead[i] = argument[i] ?? 0;
}

function versionOf(of: LayoutInfo & { readonly VERSION: Field }, words: Int32Array): number {
  return of.VERSION.get(words, 0);
}

export interface DmaMapRequest extends PageRange {
  /** The process's first page. */
  readonly page: number;
  readonly read: boolean;
  readonly write: boolean;
}

/** `VFIO_IOMMU_MAP_DMA`. */
export function parseDmaMap(argument: Uint8Array): DmaMapRequest | Bad {
  const f = VFIO_DMA_MAP;
  const words = read(argument, f);
  if (isRefusal(words)) return words;
  const [canRead, canWrite] = [f.READ.get(words, 0) === 1, f.WRITE.get(words, 0) === 1];
  if (!canRead && !canWrite) return wrong('a mapping that may be neither read nor written');
  const pages = pagesOf(getU64(f.IOVA, words), getU64(f.SIZE, words));
  const from = pagesOf(getU64(f.VADDR, words), getU64(f.SIZE, words));
  if (pages === undefined || from === undefined) return wrong('a mapping that is not of whole pages');
  return { ...pages, page: from.first, read: canRead, write: canWrite };
}

/** `VFIO_IOMMU_UNMAP_DMA`, without its flags. */
export function parseDmaUnmap(argument: Uint8Array): PageRange | Bad {
  const f = VFIO_DMA_UNMAP;
  const words = read(argument, f);
  if (isRefusal(words)) return words;
  if (f.GET_DIRTY_BITMAP.get(words, 0) === 1) return wrong('what was written is not kept');
  return (
    pagesOf(getU64(f.IOVA, words), getU64(f.SIZE, words)) ?? wrong('an unmapping that is not of whole pages')
  );
}

/** Tells how many bytes were unmapped, where the caller said how many. */
export function answerDmaUnmap(argument: Uint8Array, bytes: number): void {
  const at = VFIO_DMA_UNMAP.SIZE.low / 8;
  const view = new DataView(argument.buffer, argument.byteOffset);
  view.setUint32(at, bytes % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(bytes / 2 ** 32), true);
}

export interface PasidRange {
  readonly kind: 'alloc' | 'free';
  readonly min: number;
  readonly max: number;
}

/** `VFIO_IOMMU_PASID_REQUEST`. */
export function parsePasidRequest(argument: Uint8Array): PasidRange | Bad {
  const f = VFIO_PASID_REQUEST;
  const words = read(argument, f);
  if (isRefusal(words)) return words;
  const isAlloc = f.ALLOC.get(words, 0) === 1;
  if (isAlloc === (f.FREE.get(words, 0) === 1)) return wrong('a PASID request that is not one of the two');
  const [min, max] = [f.MIN.get(words, 0), f.MAX.get(words, 0)];
  if (min > max || max > 2 ** 31) return wrong(`no PASIDs from ${min} to ${max}`);
  return { kind: isAlloc ? 'alloc' : 'free', min, max };
}

const MEMORY_TYPES: readonly Field[] = [
  IOMMU_GPASID_BIND.PCD,
  IOMMU_GPASID_BIND.PWT,
  IOMMU_GPASID_BIND.EMTE,
  IOMMU_GPASID_BIND.CD,
];

/** A `struct iommu_gpasid_bind_data`. Without a guest's PASID it has the host's number. */
export function parseBind(argument: Uint8Array): GuestBindRequest | Bad {
  const f = IOMMU_GPASID_BIND;
  const words = read(argument, f);
  if (isRefusal(words)) return words;
  const pasids = boundPasids(words);
  if (isRefusal(pasids)) return pasids;
  if (f.FPD.get(words, 0) === 1) return wrong('a first stage whose faults are not recorded');
  // Memory types are not offered: the nesting information says so.
  for (const field of MEMORY_TYPES) {
    if (field.get(words, 0) === 1) return wrong(`a first stage with ${field.name}`);
  }
  const width = f.ADDR_WIDTH.get(words, 0);
  if (width !== 48 && width !== 57) return wrong(`a first stage of ${width} bits`);
  const root = getU64(f.GPGD, words);
  if (root === undefined || root % PAGE_BYTES !== 0) return wrong('a root that is no page');
  return {
    hostPasid: pasids.hostPasid,
    guestPasid: pasids.guestPasid,
    stage: {
      root: root / PAGE_BYTES,
      levels: width === 48 ? 4 : 5,
      supervisor: f.SRE.get(words, 0) === 1,
      writeProtect: f.WPE.get(words, 0) === 1,
      extendedAccessed: f.EAFE.get(words, 0) === 1,
    },
  };
}

/** Of a `struct iommu_gpasid_bind_data`, what undoes the bind: what comes after the PASIDs may be left out. */
export function parseUnbind(argument: Uint8Array): GuestUnbindRequest | Bad {
  const words = read(argument, IOMMU_GPASID_BIND, { least: BIND_HEAD_BYTES, most: BIND_HEAD_BYTES });
  if (isRefusal(words)) return words;
  const pasids = boundPasids(words);
  if (isRefusal(pasids)) return pasids;
  const { hostPasid, guestPasid } = pasids;
  return { hostPasid, guestPasid, mute: IOMMU_GPASID_BIND.FPD.get(words, 0) === 1 };
}

type BoundPasids = Pick<GuestBindRequest, 'hostPasid' | 'guestPasid'>;

/** Where the part of a bind begins that is of one kind of unit. */
const BIND_HEAD_BYTES = IOMMU_GPASID_BIND.SRE.low / 8;

function boundPasids(words: Int32Array): BoundPasids | Refusal<'EINVAL'> {
  const f = IOMMU_GPASID_BIND;
  if (versionOf(f, words) !== IOMMU_GPASID_BIND_VERSION) return wrong(`${f.name} of an unknown version`);
  if (f.FORMAT.get(words, 0) !== IOMMU_PASID_FORMAT_INTEL_VTD) {
    return wrong(`a first stage of format ${f.FORMAT.get(words, 0)}`);
  }
  const hostPasid = getU64(f.HPASID, words) ?? -1;
  const guestPasid = f.GPASID_VALID.get(words, 0) === 1 ? (getU64(f.GPASID, words) ?? -1) : hostPasid;
  if (!Pasid.is(hostPasid) || !GuestPasid.is(guestPasid)) return wrong('a PASID of more than 20 bits');
  return { hostPasid, guestPasid };
}

/** A `struct iommu_cache_invalidate_info`; the PASIDs in it are the guest's, and its domain ids mean nothing here. */
export function parseInvalidation(argument: Uint8Array): GuestInvalidation | Bad {
  const f = IOMMU_CACHE_INVALIDATE;
  const at = IOMMU_CACHE_INVALIDATE_SCOPE_WORD;
  const words = read(argument, f, { least: f.bytes, most: f.bytes + IOMMU_INV_ADDR.bytes });
  if (isRefusal(words)) return words;
  if (versionOf(f, words) !== IOMMU_CACHE_INVALIDATE_VERSION) return wrong(`${f.name} of an unknown version`);
  const iotlb = f.IOTLB.get(words, 0) === 1;
  const deviceTlb = f.DEV_IOTLB.get(words, 0) === 1;
  const pasidCache = f.PASID_CACHE.get(words, 0) === 1;
  if (!iotlb && !deviceTlb && !pasidCache) return wrong('an invalidation of no cache');
  const argsz = f.ARGSZ.get(words, 0);
  switch (f.GRANULARITY.get(words, 0)) {
    case IOMMU_INV_GRANULARITY.DOMAIN:
      if (deviceTlb) return wrong('a device TLB has no domains');
      return { guestPasid: undefined, range: undefined, iotlb, deviceTlb, pasidCache };
    case IOMMU_INV_GRANULARITY.PASID: {
      if (argsz < f.bytes + IOMMU_INV_PASID.bytes) return wrong(`${f.name} of ${argsz} bytes, for a PASID`);
      const guestPasid = scopeOf(IOMMU_INV_PASID, words, at);
      if (isRefusal(guestPasid)) return guestPasid;
      if (guestPasid === 'neither') return wrong('an invalidation by PASID that names none');
      return { guestPasid, range: undefined, iotlb, deviceTlb, pasidCache };
    }
    case IOMMU_INV_GRANULARITY.ADDRESS: {
      if (argsz < f.bytes + IOMMU_INV_ADDR.bytes) return wrong(`${f.name} of ${argsz} bytes, for addresses`);
      if (pasidCache) return wrong('the PASID cache has no addresses');
      const named = scopeOf(IOMMU_INV_ADDR, words, at);
      if (isRefusal(named)) return named;
      const guestPasid = named === 'neither' ? undefined : named;
      const range = addressesOf(words, at);
      if (range === undefined) return wrong('an invalidation of no pages');
      return { guestPasid, range, iotlb, deviceTlb, pasidCache };
    }
    default:
      return wrong(`an invalidation of granularity ${f.GRANULARITY.get(words, 0)}`);
  }
}

type ScopeLayout = typeof IOMMU_INV_PASID | typeof IOMMU_INV_ADDR;

/** The guest's PASID; undefined where a domain alone is named. */
function scopeOf(
  f: ScopeLayout,
  words: Int32Array,
  at: number,
): GuestPasid | undefined | 'neither' | Refusal<'EINVAL'> {
  if (hasReservedBits(f, words, at)) return wrong(`${f.name} with unknown flags`);
  if (f.PASID_VALID.get(words, at) === 0) return f.ARCHID_VALID.get(words, at) === 1 ? undefined : 'neither';
  const pasid = getU64(f.PASID, words, at) ?? -1;
  return GuestPasid.is(pasid) ? pasid : wrong('a PASID of more than 20 bits');
}

function addressesOf(words: Int32Array, at: number): PageRange | undefined {
  const f = IOMMU_INV_ADDR;
  const granule = getU64(f.GRANULE_SIZE, words, at) ?? 0;
  const count = getU64(f.NB_GRANULES, words, at) ?? 0;
  const address = lowPage(words, at + f.ADDR.low / 32);
  if (granule < PAGE_BYTES || !Number.isInteger(Math.log2(granule)) || count < 1) return undefined;
  const last = address + (granule / PAGE_BYTES) * count - 1;
  return last < 2 ** 52 ? { first: address, last } : undefined;
}

/** The page of an address of 64 bits at `words[low]`. */
function lowPage(words: Int32Array, low: number): number {
  const upper = ((words[low + 1] ?? 0) >>> 0) * (2 ** 32 / PAGE_BYTES);
  return upper + Math.floor(((words[low] ?? 0) >>> 0) / PAGE_BYTES);
}

export interface GuestResponse {
  readonly guestPasid: GuestPasid;
  readonly group: number;
  readonly response: PageResponse;
}

/** A `struct iommu_page_response`, with the guest's PASID. */
export function parseResponse(argument: Uint8Array): GuestResponse | Bad {
  const f = IOMMU_PAGE_RESPONSE;
  const words = read(argument, f);
  if (isRefusal(words)) return words;
  if (versionOf(f, words) !== IOMMU_PAGE_RESPONSE_VERSION) return wrong(`${f.name} of an unknown version`);
  const pasid = f.PASID.get(words, 0);
  if (f.PASID_VALID.get(words, 0) === 0 || !GuestPasid.is(pasid)) return wrong('an answer without a PASID');
  const response = RESPONSES[f.CODE.get(words, 0)];
  if (response === undefined) return wrong(`an answer of code ${f.CODE.get(words, 0)}`);
  return { guestPasid: pasid, group: f.GRPID.get(words, 0), response };
}

const RESPONSES: Readonly<Record<number, PageResponse>> = {
  [IOMMU_PAGE_RESPONSE_CODE.SUCCESS]: 'success',
  [IOMMU_PAGE_RESPONSE_CODE.INVALID]: 'invalid request',
  [IOMMU_PAGE_RESPONSE_CODE.FAILURE]: 'failure',
};

/** The pages of a run of bytes; undefined if it is not of whole pages, or none. */
function pagesOf(address: number | undefined, bytes: number | undefined): PageRange | undefined {
  if (address === undefined || bytes === undefined || bytes === 0) return undefined;
  if (address % PAGE_BYTES !== 0 || bytes % PAGE_BYTES !== 0) return undefined;
  const first = address / PAGE_BYTES;
  return { first, last: first + bytes / PAGE_BYTES - 1 };
}
