/**
 * The root complex: what functions send goes through the IOMMU that covers them, then to memory or, for writes
 * to the interrupt range, to the CPUs; what IOMMUs send goes to the function that it names. After PCIe 6.0, 1.3
 * and 2.2, and VT-d 4.1, 3.14.
 *
 * A function that was taken away takes no messages, its requests end with Unsupported Request, and invalidations
 * that it has not answered time out. Requests of functions to registers of others (peer-to-peer) are left out:
 * they end with Unsupported Request.
 */
import { assert, type Restorable, Words } from '../../base/index.js';
import { BASE_ADDRESS_REG, TYPE_0_HEADER } from '../../spec/index.js';
import { ABSENT, FRAME_BYTES, type Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import { INTERRUPT_FRAMES, NO_PASID } from '../vtd/request.js';
import { Mover } from './bytes.js';
import {
  COMPLETION,
  type CompletionStatus,
  type DeviceTlbInvalidation,
  type DmaAudit,
  type Iommu,
  type IommuDownstream,
  type MemoryRequest,
  type MmioRegion,
  type PageGroupResponse,
  type PageRequest,
  type PciFunction,
  type TranslationCompletion,
  type Upstream,
} from './ports.js';

/** Takes interrupt messages. */
export type InterruptSink = (address: number, data: number) => void;

/** A region and where it answers. */
export interface MappedRegion {
  readonly region: MmioRegion;
  /** Its first address. */
  readonly base: number;
}

/** What a root complex is connected to. */
export interface RootComplexOptions {
  readonly memory: Memory;
  readonly interrupt: InterruptSink;
}

/** What reads of configuration registers of no function give. */
const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffff_ffff];
const BAR_OFFSET = 0x10;
const RIDS = 0x1_0000;
const { SUCCESS, UNSUPPORTED_REQUEST } = COMPLETION;

export class RootComplex implements Upstream, Restorable {
  /** Is told of each memory request that was carried out. */
  audit: DmaAudit | undefined;
  /** What IOMMUs send. */
  readonly downstream: IommuDownstream = {
    invalidateDeviceTlb: (invalidation) => this.#invalidateDeviceTlb(invalidation),
    pageGroupResponse: (response) => this.#pageGroupResponse(response),
    interrupt: (address, data) => this.#sink(address, data),
  };
  readonly #mover: Mover;
  readonly #sink: InterruptSink;
  /** Every function that was ever attached. */
  readonly #functions: PciFunction[] = [];
  /** By RID: the index of the function there, plus 1. */
  readonly #present = new Words(RIDS);
  readonly #iommus: Iommu[] = [];
  /** By RID: the index of the IOMMU that covers it, plus 1; 0 for the default one. */
  readonly #coverage = new Uint8Array(RIDS);
  #default: Iommu | undefined;
  #mapped: readonly MappedRegion[] | undefined;
  readonly #target = emptyCompletion();
  readonly #message: MemoryRequest = {
    rid: 0,
    pasid: NO_PASID,
    page: 0,
    rights: RIGHT.WRITE | RIGHT.USER,
    isTranslated: false,
    offset: 0,
    length: 4,
  };
  readonly #data = new Int32Array(1);
  readonly #dataBytes = new Uint8Array(this.#data.buffer);

  constructor({ memory, interrupt }: RootComplexOptions) {
    this.#mover = new Mover(memory);
    this.#sink = interrupt;
  }

  /** Adds an IOMMU for the functions named, or for all that no other one names. */
  addIommu(iommu: Iommu, rids?: Iterable<number>): void {
    this.#iommus.push(iommu);
    if (rids === undefined) {
      assert(this.#default === undefined, 'two IOMMUs for all other functions');
      this.#default = iommu;
    } else {
      for (const rid of rids) this.#coverage[rid] = this.#iommus.length;
    }
  }

  /** Plugs a function in; there may be none at its RID. */
  attach(added: PciFunction): void {
    assert(this.functionAt(added.rid) === undefined, `two functions at RID 0x${added.rid.toString(16)}`);
    let index = this.#functions.indexOf(added);
    if (index < 0) index = this.#functions.push(added) - 1;
    this.#present.set(added.rid, index + 1);
    this.#mapped = undefined;
  }

  /** Takes a function away, ready or not. */
  detach(rid: number): void {
    this.#present.set(rid, 0);
    this.#mapped = undefined;
    this.#iommuOf(rid)?.invalidationTimedOut(rid);
  }

  functionAt(rid: number): PciFunction | undefined {
    const index = this.#present.words[rid] ?? 0;
    return index === 0 ? undefined : this.#functions[index - 1];
  }

  /** Reads a configuration register: 1, 2 or 4 bytes, naturally aligned; an unsigned number. */
  readConfig(rid: number, offset: number, bytes: number): number {
    return this.functionAt(rid)?.readConfig(offset, bytes) ?? ALL_ONES[bytes] ?? 0;
  }

  writeConfig(rid: number, offset: number, bytes: number, value: number): void {
    this.functionAt(rid)?.writeConfig(offset, bytes, value);
    this.#mapped = undefined;
  }

  /** The BARs that answer now, where software has put them. */
  get mapped(): readonly MappedRegion[] {
    this.#mapped ??= this.#functions.flatMap((each) => (this.#isPresent(each) ? mappedBars(each) : []));
    return this.#mapped;
  }

  read(request: MemoryRequest, into: Uint8Array, at: number): CompletionStatus {
    const frame = this.#frameOf(request);
    if (frame === ABSENT) return UNSUPPORTED_REQUEST;
    if (!this.#mover.load(frame, request, into, at)) return UNSUPPORTED_REQUEST;
    this.audit?.(request, frame);
    return SUCCESS;
  }

  write(request: MemoryRequest, from: Uint8Array, at: number): CompletionStatus {
    if (isInterruptRequest(request)) return this.#interruptWrite(request, from, at);
    const frame = this.#frameOf(request);
    if (frame === ABSENT) return UNSUPPORTED_REQUEST;
    if (!this.#mover.store(frame, request, from, at)) return UNSUPPORTED_REQUEST;
    this.audit?.(request, frame);
    return SUCCESS;
  }

  translate(request: MemoryRequest, out: TranslationCompletion): void {
    const iommu = this.#present.words[request.rid] === 0 ? undefined : this.#iommuOf(request.rid);
    if (iommu !== undefined) {
      iommu.translate(request, out);
      return;
    }
    out.status = UNSUPPORTED_REQUEST;
    out.rights = 0;
  }

  requestPage(request: PageRequest): void {
    if (this.#present.words[request.rid] !== 0) this.#iommuOf(request.rid)?.requestPage(request);
  }

  invalidationDone(rid: number, itag: number): void {
    if (this.#present.words[rid] !== 0) this.#iommuOf(rid)?.invalidationDone(rid, itag);
  }

  interrupt(rid: number, address: number, data: number): void {
    const request = this.#message;
    request.rid = rid;
    request.page = Math.floor(address / FRAME_BYTES);
    request.offset = address % FRAME_BYTES;
    this.#data[0] = data;
    this.write(request, this.#dataBytes, 0);
  }

  mark(): void {
    this.#present.mark();
  }

  restore(): void {
    this.#present.restore();
    this.#mapped = undefined;
  }

  /** The frame that a request goes to, or {@link ABSENT} if it is blocked. */
  #frameOf(request: MemoryRequest): number {
    if (this.#present.words[request.rid] === 0) return ABSENT;
    const iommu = this.#iommuOf(request.rid);
    if (iommu === undefined) return request.page;
    return iommu.remap(request, this.#target) ? this.#target.frame : ABSENT;
  }

  #iommuOf(rid: number): Iommu | undefined {
    const covered = this.#coverage[rid] ?? 0;
    return covered === 0 ? this.#default : this.#iommus[covered - 1];
  }

  #isPresent(each: PciFunction): boolean {
    return this.functionAt(each.rid) === each;
  }

  /** Only a doubleword is a message; there is no interrupt remapping. */
  #interruptWrite(request: MemoryRequest, from: Uint8Array, at: number): CompletionStatus {
    if (request.length !== 4 || this.#present.words[request.rid] === 0) return UNSUPPORTED_REQUEST;
    let data = 0;
    for (let i = 3; i >= 0; i--) data = (data << 8) | (from[at + i] ?? 0);
    this.#sink(request.page * FRAME_BYTES + request.offset, data);
    return SUCCESS;
  }

  #invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void {
    const named = this.functionAt(invalidation.rid);
    if (named !== undefined) named.invalidateDeviceTlb(invalidation);
    else this.#iommuOf(invalidation.rid)?.invalidationTimedOut(invalidation.rid);
  }

  #pageGroupResponse(response: PageGroupResponse): void {
    this.functionAt(response.rid)?.pageGroupResponse(response);
  }
}

/** A completion to be filled. */
export const emptyCompletion = (): TranslationCompletion => ({
  status: SUCCESS,
  frame: 0,
  pages: 1,
  rights: 0,
  isGlobal: false,
});

function isInterruptRequest({ page, pasid, isTranslated }: MemoryRequest): boolean {
  return (
    page >= INTERRUPT_FRAMES.first && page <= INTERRUPT_FRAMES.last && pasid === NO_PASID && !isTranslated
  );
}

/** The regions of a function with memory decoding on: its BARs in the order of their registers. */
export function mappedBars(of: Pick<PciFunction, 'readConfig' | 'bars'>): readonly MappedRegion[] {
  const command = Int32Array.of(0, of.readConfig(4, 4));
  if (TYPE_0_HEADER.MEMORY.get(command, 0) === 0) return [];
  return of.bars.map((region, i) => {
    const low = Int32Array.of(of.readConfig(BAR_OFFSET + i * 8, 4));
    const upper = of.readConfig(BAR_OFFSET + i * 8 + 4, 4);
    return { region, base: upper * 2 ** 32 + BASE_ADDRESS_REG.BASE.get(low, 0) * 16 };
  });
}
