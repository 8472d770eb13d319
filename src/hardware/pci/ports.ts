/**
 * Where PCIe functions, the root complex, IOMMUs and the CPU meet: what goes over the wires, and nothing else.
 * A request carries what the TLP carries; no model is handed an object of another. After PCIe 6.0, 2.2 (TLPs),
 * 6.20 (PASID) and 10 (ATS, PRI).
 *
 * Records are owned by the caller and reused: whoever keeps one copies it.
 */
import type { Request } from '../vtd/request.js';

/** Completion status of a non-posted request (PCIe 2.2.9.1). */
export const COMPLETION = { SUCCESS: 0, UNSUPPORTED_REQUEST: 1, COMPLETER_ABORT: 4 } as const;
export type CompletionStatus = (typeof COMPLETION)[keyof typeof COMPLETION];

/** A memory request within one 4 KiB page. */
export interface MemoryRequest extends Request {
  rid: number;
  /** A PASID, or `NO_PASID`. */
  pasid: number;
  /** The page; where `isTranslated`, a frame. */
  page: number;
  /** What is asked: a set of RIGHT; without USER, it is a privileged request. */
  rights: number;
  /** AT = 10b: the address was translated by ATS. */
  isTranslated: boolean;
  /** First byte in the page, and how many; together at most 4096. */
  offset: number;
  length: number;
}

/** The answer to a translation request (ATS): nothing granted (`rights` 0) is a success too. */
export interface TranslationCompletion {
  status: CompletionStatus;
  /** The 4 KiB frame that the page leads to, and how many pages around it (a power of two) lead on likewise. */
  frame: number;
  pages: number;
  rights: number;
  /** Holds for every PASID of the function. */
  isGlobal: boolean;
}

/** A page request message (PRI). A stop marker asks for nothing (`rights` 0) and is last of its group. */
export interface PageRequest {
  rid: number;
  pasid: number;
  page: number;
  /** READ, WRITE, EXECUTE, USER. */
  rights: number;
  /** Page request group index, 9 bits. */
  group: number;
  isLast: boolean;
}

/** Response codes of a page request group (PCIe 10.4.2). */
export const PAGE_RESPONSE = { SUCCESS: 0x0, INVALID_REQUEST: 0x1, FAILURE: 0xf } as const;

/** The response to a page request group. */
export interface PageGroupResponse {
  rid: number;
  pasid: number;
  group: number;
  /** One of {@link PAGE_RESPONSE}. */
  code: number;
}

/** An invalidate request message (ATS): what it names, the function's device TLB may no longer hold. */
export interface DeviceTlbInvalidation {
  rid: number;
  pasid: number;
  /** First page, and how many (a power of two, aligned); 2^52 for all. */
  page: number;
  pages: number;
  /** All PASIDs. */
  isGlobal: boolean;
  /** Tags the completion. */
  itag: number;
}

/** What a function sends upstream. */
export interface Upstream {
  /**
   * A memory read.
   *
   * @param into takes `request.length` bytes from `at` on; unchanged unless SUCCESS
   */
  read(request: MemoryRequest, into: Uint8Array, at: number): CompletionStatus;
  /**
   * A memory write of `request.length` bytes of `from`, from `at` on. Posted: a blocked one is lost, and told as a
   * status to models alone.
   */
  write(request: MemoryRequest, from: Uint8Array, at: number): CompletionStatus;
  /** A translation request. */
  translate(request: MemoryRequest, out: TranslationCompletion): void;
  /** A page request message. */
  requestPage(request: PageRequest): void;
  /** An invalidate completion message. */
  invalidationDone(rid: number, itag: number): void;
  /** An interrupt message: a write of `data` to `address` in the interrupt range. */
  interrupt(rid: number, address: number, data: number): void;
}

/** What a function is sent. */
export interface PciFunction {
  readonly rid: number;
  /** Reads a configuration register: 1, 2 or 4 bytes, naturally aligned; all ones where there is none. */
  readConfig(offset: number, bytes: number): number;
  writeConfig(offset: number, bytes: number, value: number): void;
  /** Its memory regions, by BAR; each BAR has 64 bits: the first is at 0x10, the second at 0x18, and so on. */
  readonly bars: readonly MmioRegion[];
  /** Answered by {@link Upstream.invalidationDone} once no request on its way uses what is named. */
  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void;
  pageGroupResponse(response: PageGroupResponse): void;
}

/** A region of memory-mapped registers. Offsets are in bytes; accesses are naturally aligned. */
export interface MmioRegion {
  readonly name: string;
  readonly bytes: number;
  /** Reads 4 bytes, as a signed word. */
  read32(offset: number): number;
  write32(offset: number, value: number): void;
  /** Reads 8 bytes at once into `out[0]` (low) and `out[1]`. */
  read64(offset: number, out: Int32Array): void;
  write64(offset: number, lo: number, hi: number): void;
  /** A posted write of 64 bytes (MOVDIR64B): 16 words of `data`. */
  write512(offset: number, data: Int32Array): void;
  /** A deferrable memory write of 64 bytes (ENQCMD): whether it was accepted; false is "retry". */
  enqueue(offset: number, data: Int32Array): boolean;
}

/** What an IOMMU does for the root complex. */
export interface Iommu {
  /**
   * A memory request, untranslated or translated.
   *
   * @returns whether it may go on to frame `out.frame`; a fault is recorded by the unit if not
   */
  remap(request: MemoryRequest, out: TranslationCompletion): boolean;
  /** A translation request. */
  translate(request: MemoryRequest, out: TranslationCompletion): void;
  requestPage(request: PageRequest): void;
  invalidationDone(rid: number, itag: number): void;
  /** No invalidation sent to a function so far will be answered any more: it is gone, or has hung. */
  invalidationTimedOut(rid: number): void;
}

/** What an IOMMU sends towards functions and the CPU, and the memory that it reads and writes. */
export interface IommuDownstream {
  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void;
  pageGroupResponse(response: PageGroupResponse): void;
  interrupt(address: number, data: number): void;
}

/** Told of each memory request that was carried out, for the ledger of what moved. Never changes anything. */
export type DmaAudit = (request: MemoryRequest, frame: number) => void;
