/**
 * A VT-d unit: registers that software programs, and the port that the root complex sends requests to. After
 * VT-d 4.1. What CAP and ECAP do not offer is refused.
 *
 * Global commands and register-based invalidations are done by the time the write returns. Left out: interrupt
 * remapping, the fault log in memory, protected memory ranges, performance monitoring, memory types.
 */
import type { Chooser, Restorable } from '../../base/index.js';
import { ADDRESS_TYPE, FAULT_TYPE, wordsOf } from '../../spec/index.js';
import type { Engine } from '../engine.js';
import type { FrameReader, Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import {
  COMPLETION,
  type Iommu,
  type IommuDownstream,
  type MemoryRequest,
  type MmioRegion,
  type PageRequest,
  type TranslationCompletion,
} from '../pci/ports.js';
import type { BeforeMark } from './accessed-dirty.js';
import { completionStatus, isDenial } from './completion-status.js';
import { SiliconEnd } from './end.js';
import type { FaultRecording } from './fault-recording.js';
import { type UnitFormat, unitFormat } from './format.js';
import { UnitFront } from './front.js';
import { offeredCap, offeredEcap } from './offered.js';
import { Translator } from './translator.js';
import type { CacheSizes } from './unit-caches.js';
import type { VirtualCommandPort } from './virtual-commands.js';

/** What a unit is, and what it is connected to. */
export interface VtdUnitOptions {
  /** Names it in choices and events: `dmar0`. */
  readonly name: string;
  readonly cap: bigint;
  readonly ecap: bigint;
  /** Bits of a host physical address; the guest address width (CAP.MGAW) if left out. */
  readonly hostAddressWidth?: number;
  readonly memory: Memory;
  readonly downstream: IommuDownstream;
  readonly chooser: Chooser;
  readonly caches?: CacheSizes;
  /** What the unit sees of memory where it does not snoop (ECAP.C, ECAP.SMPWCS); all of it, if left out. */
  readonly writtenBack?: FrameReader;
  /** Takes virtual commands; without it, ECAP.VCS is not offered. */
  readonly virtualCommands?: VirtualCommandPort;
  /**
   * Called between the reading of a paging entry and the locked write that marks it: others may store to memory
   * there. They may not use the unit.
   */
  readonly beforeMark?: BeforeMark;
}

/** What to leave out of a translation request that was denied, in turn. */
const LESS = [RIGHT.WRITE, RIGHT.READ, RIGHT.EXECUTE, RIGHT.WRITE | RIGHT.EXECUTE];

export class VtdUnit implements Iommu, MmioRegion, Restorable {
  readonly name: string;
  readonly bytes: number;
  readonly format: UnitFormat;
  /** What goes on by itself: the invalidation queue. */
  readonly engines: readonly Engine[];
  /** The caches: for tests, rules and `inspect`. */
  readonly translator: Translator;
  readonly #front: UnitFront;
  readonly #attempt: MemoryRequest;

  constructor(options: VtdUnitOptions) {
    const { name, memory, downstream, chooser, virtualCommands, ...rest } = options;
    const cap = offeredCap(options.cap);
    const ecap = offeredEcap(options.ecap, virtualCommands !== undefined);
    this.name = name;
    this.format = unitFormat({ cap: wordsOf(cap), ecap: wordsOf(ecap), ...widthOf(options) });
    this.translator = new Translator({ ...rest, name, format: this.format, memory, chooser });
    const end = new SiliconEnd(this.translator, downstream);
    this.#front = new UnitFront({
      ...{ name, cap, ecap, format: this.format, memory, end, queueEnd: end, virtualCommands },
      gate: this.translator,
      isSilenced: () => this.translator.silenced,
      respond: (response) => downstream.pageGroupResponse(response),
      interrupt: (address, data) => downstream.interrupt(address, data),
    });
    this.bytes = this.#front.bytes;
    this.engines = [this.#front.queue];
    this.#attempt = { rid: 0, pasid: 0, page: 0, rights: 0, isTranslated: false, offset: 0, length: 0 };
  }

  /** Where faults are recorded: to be watched. */
  get faults(): FaultRecording {
    return this.#front.faults;
  }

  /** Has `handler` called when the invalidation queue has come to what software polls for. */
  onProgress(handler: () => void): void {
    this.#front.queue.onProgress = handler;
  }

  remap(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (request.isTranslated) return this.#remapTranslated(request, out);
    if (this.translator.remap(request, out)) return true;
    this.#recordRequest(request, ADDRESS_TYPE.UNTRANSLATED);
    return false;
  }

  translate(request: MemoryRequest, out: TranslationCompletion): void {
    const { translator } = this;
    out.status = COMPLETION.UNSUPPORTED_REQUEST;
    out.frame = 0;
    out.pages = 1;
    out.rights = 0;
    out.isGlobal = false;
    if (!translator.isEnabled || !this.format.deviceTlb) return;
    if (translator.mayTranslate(request) && this.#grant(request, out)) return;
    out.status = completionStatus(translator.fault);
    if (out.status !== COMPLETION.SUCCESS) this.#recordRequest(request, ADDRESS_TYPE.TRANSLATION_REQUEST);
  }

  requestPage(request: PageRequest): void {
    if (this.format.pageRequests) this.#front.pageRequests.request(request);
  }

  invalidationDone(rid: number, itag: number): void {
    this.#front.queue.done(rid, itag);
  }

  invalidationTimedOut(rid: number): void {
    this.#front.queue.timedOut(rid);
  }

  read32(offset: number): number {
    return this.#front.read32(offset);
  }

  read64(offset: number, out: Int32Array): void {
    this.#front.read64(offset, out);
  }

  write32(offset: number, value: number): void {
    this.#front.write32(offset, value);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.#front.write64(offset, lo, hi);
  }

  write512(): void {
    this.#front.write512();
  }

  enqueue(): boolean {
    return this.#front.enqueue();
  }

  mark(): void {
    this.#front.mark();
    this.translator.mark();
  }

  restore(): void {
    this.#front.restore();
    this.translator.restore();
  }

  /** A request with an address that ATS has translated: where device TLBs are allowed, it goes there. */
  #remapTranslated(request: MemoryRequest, out: TranslationCompletion): boolean {
    const { translator } = this;
    if (!translator.isEnabled || !this.format.deviceTlb) return false;
    if (!translator.mayTranslate(request)) {
      this.#recordRequest(request, ADDRESS_TYPE.TRANSLATED);
      return false;
    }
    out.frame = request.page;
    out.pages = 1;
    out.rights = request.rights;
    out.isGlobal = false;
    return true;
  }

  /** Grants what it can of a translation request's rights; false if that is nothing. */
  #grant(request: MemoryRequest, out: TranslationCompletion): boolean {
    const attempt = this.#attempt;
    attempt.rid = request.rid;
    attempt.pasid = request.pasid;
    attempt.page = request.page;
    attempt.rights = request.rights;
    for (let i = 0; ; i++) {
      if (this.translator.remap(attempt, out)) break;
      const less = LESS[i];
      if (less === undefined || !isDenial(this.translator.fault)) return false;
      attempt.rights = request.rights & ~less;
      if ((attempt.rights & ~RIGHT.USER) === 0) return false;
    }
    out.status = COMPLETION.SUCCESS;
    out.rights = attempt.rights;
    return true;
  }

  #recordRequest(request: MemoryRequest, addressType: number): void {
    const type = (request.rights & RIGHT.WRITE) === 0 ? FAULT_TYPE.READ : FAULT_TYPE.WRITE;
    this.#front.record({ reason: this.translator.fault, addressType, type }, request);
  }
}

function widthOf({ hostAddressWidth }: VtdUnitOptions): { hostAddressWidth?: number } {
  return hostAddressWidth === undefined ? {} : { hostAddressWidth };
}
