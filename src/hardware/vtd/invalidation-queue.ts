/**
 * The invalidation queue of a VT-d unit, after VT-d 4.1, 6.5.2: an engine that takes one descriptor a step.
 *
 * Caches of the unit are invalidated at once. Invalidations of device TLBs are outstanding until the function
 * has answered; a wait descriptor holds the queue until none is. A descriptor that is wrong stops the queue at
 * its place until software clears IQE; so does a time-out (ITE), which drops the wait descriptor that it held
 * up; one that comes later is done as usual, so software has to look at ITE before it believes its status. Drains
 * need nothing here: requests are carried out whole, before the next descriptor. The queue's fences are implied by
 * that order, too.
 *
 * What the end has not done by the time that it returns holds the queue at its descriptor until
 * {@link InvalidationQueue.finish}.
 */
import { numberOf, type Restorable, Words } from '../../base/index.js';
import {
  CONTEXT_CACHE_INVALIDATION,
  CONTEXT_GRANULARITY,
  DEVICE_TLB_INVALIDATION,
  type Field,
  FSTS_REG,
  GSTS_REG,
  hasReservedBits,
  INVALIDATION,
  INVALIDATION_DESCRIPTORS,
  INVALIDATION_WAIT,
  IOTLB_GRANULARITY,
  IOTLB_INVALIDATION,
  IQA_REG,
  IQEI,
  IQH_REG,
  IQT_REG,
  invalidationType,
  PAGE_GROUP_RESPONSE,
  PASID_CACHE_GRANULARITY,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_GRANULARITY,
  PASID_IOTLB_INVALIDATION,
  type RegisterFile,
  VTD_REGISTER,
} from '../../spec/index.js';
import { type Engine, Readiness } from '../engine.js';
import { ABSENT, FRAME_BYTES, FRAME_WORDS, type FrameMemory } from '../memory.js';
import type { DeviceTlbInvalidation, PageGroupResponse } from '../pci/ports.js';
import type { UnitEnd } from './end.js';
import type { FaultRecording } from './fault-recording.js';
import type { UnitFormat } from './format.js';
import { NO_PASID } from './request.js';

const { GSTS, FSTS, IQA, IQH, IQT } = VTD_REGISTER;
const { QIES } = GSTS_REG;
const { IQE, ITE } = FSTS_REG;
const { QH } = IQH_REG;
const { QT } = IQT_REG;
const contextCache = CONTEXT_CACHE_INVALIDATION;
const iotlb = IOTLB_INVALIDATION;
const deviceTlb = DEVICE_TLB_INVALIDATION;
const wait = INVALIDATION_WAIT;
const pasidIotlb = PASID_IOTLB_INVALIDATION;
const pasidCache = PASID_CACHE_INVALIDATION;
const pasidDeviceTlb = PASID_DEVICE_TLB_INVALIDATION;
const groupResponse = PAGE_GROUP_RESPONSE;

/** What the queue acts on. */
export interface InvalidationQueueOptions {
  readonly name: string;
  readonly file: RegisterFile;
  readonly memory: FrameMemory;
  readonly format: UnitFormat;
  /** CAP.MAMV: the largest address mask. */
  readonly largestMask: number;
  /** ECAP.PDS: page-request drain. */
  readonly drainsPageRequests: boolean;
  readonly end: UnitEnd;
  readonly faults: FaultRecording;
  /** A wait descriptor with IF is complete. */
  readonly waitDone: () => void;
}

/** A unit has so many device-TLB invalidations outstanding at most: their tags have 5 bits. */
const ITAGS = 32;
const OUTSTANDING = 0;
/** By tag: the RID that it went to, plus 1. */
const RIDS = 1;
/** Whether the descriptor at the head is in progress. */
const PENDING = RIDS + ITAGS;
const STATE_WORDS = PENDING + 1;
const SLOT_WORDS = 8;
const ALL_PAGES = 2 ** 52;
const TWO_32 = 2 ** 32;
const NO_ERROR = -1;
const IN_PROGRESS = -2;

/** What a descriptor has come to, by whether its end has done it. */
const progress = (isDone: boolean): number => (isDone ? NO_ERROR : IN_PROGRESS);

/** The function number's bits that FM leaves out: none, bit 2, bits 2:1, bits 2:0. */
const FUNCTION_MASK = [0, 4, 6, 7];

export class InvalidationQueue implements Engine, Restorable {
  readonly name: string;
  readonly readiness = new Readiness();
  /** Called when what software polls for has come: the status of a wait, an error, or an end of all that goes on. */
  onProgress: (() => void) | undefined;
  readonly #options: InvalidationQueueOptions;
  readonly #state = new Words(STATE_WORDS, 4);
  /** The descriptor at hand, in the slot's full width. */
  readonly #slot = new Int32Array(SLOT_WORDS);
  readonly #invalidation: DeviceTlbInvalidation = {
    rid: 0,
    pasid: NO_PASID,
    page: 0,
    pages: 1,
    isGlobal: false,
    itag: 0,
  };
  /** The pages that the descriptor at hand names, and of whom. Fractions at first, so that none is boxed anew. */
  readonly #run = { page: 0.5, pages: 0.5, leafOnly: false };
  readonly #of = { domain: 0, pasid: 0 };
  readonly #response: PageGroupResponse = { rid: 0, pasid: NO_PASID, group: 0, code: 0 };

  constructor(options: InvalidationQueueOptions) {
    this.name = `${options.name} invalidation queue`;
    this.#options = options;
  }

  /** How many invalidations of device TLBs have not been answered. */
  get outstanding(): number {
    return this.#state.words[OUTSTANDING] ?? 0;
  }

  get isReady(): boolean {
    // Asked before every step of anybody, and mostly empty: that first, and no detour.
    const { words } = this.#options.file;
    if (QH.get(words, IQH.at) === QT.get(words, IQT.at)) return false;
    if (QIES.get(words, GSTS.at) === 0 || this.isPending) return false;
    if (IQE.get(words, FSTS.at) === 1 || ITE.get(words, FSTS.at) === 1) return false;
    if (this.outstanding === 0 || !this.#fetch()) return true;
    const type = invalidationType(this.#slot, 0);
    if (type === INVALIDATION.WAIT) return false;
    const isDeviceTlb = type === INVALIDATION.DEVICE_TLB || type === INVALIDATION.PASID_DEVICE_TLB;
    return !isDeviceTlb || this.outstanding < ITAGS;
  }

  /** Whether the end has not done the descriptor at the head yet. */
  get isPending(): boolean {
    return this.#state.words[PENDING] === 1;
  }

  step(): void {
    this.readiness.stir();
    let error = this.#tailError();
    if (error === NO_ERROR) error = this.#fetch() ? this.#process() : IQEI.FETCH_FAILED;
    if (error === NO_ERROR) this.#advance();
    else if (error === IN_PROGRESS) this.#state.set(PENDING, 1);
    else this.#stop(error);
  }

  /**
   * The end is through with the descriptor in progress; nothing happens if that was dropped.
   *
   * @param error one of IQEI, if it could not be done: the queue stops there
   */
  finish(error?: number): void {
    if (!this.isPending) return;
    this.readiness.stir();
    this.#state.set(PENDING, 0);
    if (error === undefined) this.#advance();
    else this.#stop(error);
  }

  /** The queue was switched on or off: its head is at its start then. */
  switched(): void {
    this.#state.set(PENDING, 0);
    this.#options.file.set(IQH, IQH_REG.QH, 0);
    this.onProgress?.();
  }

  /** As after power-on: nothing is outstanding. */
  reset(): void {
    for (let i = 0; i < STATE_WORDS; i++) this.#state.set(i, 0);
    this.onProgress?.();
  }

  /** Software has moved the tail. */
  tailWritten(): void {
    const error = this.#tailError();
    if (error !== NO_ERROR) this.#stop(error);
  }

  /** A function has answered an invalidation. */
  done(rid: number, itag: number): void {
    if (this.#state.words[RIDS + itag] !== rid + 1) {
      this.#options.faults.unexpectedCompletion(rid);
      return;
    }
    this.#state.set(RIDS + itag, 0);
    this.#state.set(OUTSTANDING, this.outstanding - 1);
    this.readiness.stir();
  }

  /** A function will answer no invalidation sent to it so far. */
  timedOut(rid: number): void {
    let count = 0;
    for (let itag = 0; itag < ITAGS; itag++) {
      if (this.#state.words[RIDS + itag] !== rid + 1) continue;
      this.#state.set(RIDS + itag, 0);
      count++;
    }
    if (count === 0) return;
    const isWaiting = this.#isWaitAtHead();
    this.#state.set(OUTSTANDING, this.outstanding - count);
    this.readiness.stir();
    if (isWaiting) this.#advance();
    this.#options.faults.timeOut(rid);
    this.onProgress?.();
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
    this.readiness.stir();
  }

  #stop(error: number): void {
    this.#options.faults.queueError(error);
    this.onProgress?.();
  }

  get #isWide(): boolean {
    return this.#options.file.get(IQA, IQA_REG.DW) === 1;
  }

  /** The queue's size in units of 16 bytes, those of head and tail. */
  get #units(): number {
    return (FRAME_BYTES / 16) << this.#options.file.get(IQA, IQA_REG.QS);
  }

  /** What is wrong with the tail, or with a head that can't come to it. */
  #tailError(): number {
    const { file } = this.#options;
    const tail = file.get(IQT, QT);
    if (this.#isWide && (tail | file.get(IQH, QH)) % 2 !== 0) return IQEI.TAIL_MISALIGNED;
    return tail >= this.#units ? IQEI.TAIL_BEYOND_QUEUE : NO_ERROR;
  }

  #isWaitAtHead(): boolean {
    const { file } = this.#options;
    if (file.get(GSTS, QIES) === 0) return false;
    // A queue that stands has not come to what is at its head.
    if (file.get(FSTS, FSTS_REG.IQE) === 1 || file.get(FSTS, FSTS_REG.ITE) === 1) return false;
    if (file.get(IQH, QH) === file.get(IQT, QT)) return false;
    return this.#fetch() && invalidationType(this.#slot, 0) === INVALIDATION.WAIT;
  }

  /** Reads the descriptor at the head; whether it is there. */
  #fetch(): boolean {
    const { file, memory } = this.#options;
    const word = file.get(IQH, QH) * 4;
    const frame = file.get(IQA, IQA_REG.IQA) + Math.floor(word / FRAME_WORDS);
    const at = memory.at(frame, word % FRAME_WORDS);
    if (at === ABSENT) return false;
    const { words } = memory;
    const count = this.#isWide ? SLOT_WORDS : SLOT_WORDS / 2;
    for (let i = 0; i < SLOT_WORDS; i++) this.#slot[i] = i < count ? (words[at + i] ?? 0) : 0;
    return true;
  }

  #advance(): void {
    const { file } = this.#options;
    const next = file.get(IQH, QH) + (this.#isWide ? 2 : 1);
    file.set(IQH, IQH_REG.QH, next % this.#units);
  }

  /** Does what the descriptor at hand says; the error, if it is wrong. */
  #process(): number {
    const slot = this.#slot;
    const type = invalidationType(slot, 0);
    const layout = INVALIDATION_DESCRIPTORS[type];
    if (layout === undefined || !this.#isOffered(type)) return IQEI.DESCRIPTOR_TYPE;
    if (layout.bytes === SLOT_WORDS * 4) {
      if (!this.#isWide) return IQEI.DESCRIPTOR_WIDTH;
      if (!this.#options.end.isScalable) return IQEI.TABLE_MODE;
    }
    const isShort = layout.bytes < SLOT_WORDS * 4;
    if (hasReservedBits(layout, slot, 0)) return IQEI.RESERVED_BITS;
    for (let word = layout.bytes / 4; isShort && word < SLOT_WORDS; word++) {
      if (slot[word] !== 0) return IQEI.RESERVED_BITS;
    }
    switch (type) {
      case INVALIDATION.CONTEXT_CACHE:
        return this.#contextCache();
      case INVALIDATION.IOTLB:
        return this.#iotlb();
      case INVALIDATION.DEVICE_TLB:
        return this.#deviceTlb();
      case INVALIDATION.WAIT:
        return this.#wait();
      case INVALIDATION.PASID_IOTLB:
        return this.#pasidIotlb();
      case INVALIDATION.PASID_CACHE:
        return this.#pasidCache();
      case INVALIDATION.PASID_DEVICE_TLB:
        return this.#pasidDeviceTlb();
      default:
        return this.#pageGroupResponse();
    }
  }

  #isOffered(type: number): boolean {
    const { format } = this.#options;
    switch (type) {
      case INVALIDATION.INTERRUPT_ENTRY_CACHE:
        return false;
      case INVALIDATION.DEVICE_TLB:
        return format.deviceTlb;
      case INVALIDATION.PASID_DEVICE_TLB:
        return format.deviceTlb && format.scalable;
      case INVALIDATION.PASID_IOTLB:
      case INVALIDATION.PASID_CACHE:
        return format.scalable;
      case INVALIDATION.PAGE_GROUP_RESPONSE:
        return format.pageRequests;
      default:
        return true;
    }
  }

  #contextCache(): number {
    const slot = this.#slot;
    const { end } = this.#options;
    switch (contextCache.G.get(slot, 0)) {
      case CONTEXT_GRANULARITY.GLOBAL:
        return progress(end.invalidateContexts({}));
      case CONTEXT_GRANULARITY.DOMAIN:
        return progress(end.invalidateContexts({ domain: this.#domain(contextCache.DID) }));
      case CONTEXT_GRANULARITY.DEVICE:
        return progress(
          end.invalidateContexts({
            rid: contextCache.SID.get(slot, 0),
            ridMask: functionMask(contextCache.FM.get(slot, 0)),
          }),
        );
      default:
        return IQEI.RESERVED_BITS;
    }
  }

  #iotlb(): number {
    const slot = this.#slot;
    const { end } = this.#options;
    const domain = this.#domain(iotlb.DID);
    switch (iotlb.G.get(slot, 0)) {
      case IOTLB_GRANULARITY.GLOBAL:
        return progress(end.invalidateDomain());
      case IOTLB_GRANULARITY.DOMAIN:
        return progress(end.invalidateDomain(domain));
      case IOTLB_GRANULARITY.PAGE: {
        const mask = iotlb.AM.get(slot, 0);
        if (mask > this.#options.largestMask) return IQEI.RESERVED_BITS;
        const run = this.#run;
        this.#setRun(iotlb.ADDR.getLow(slot, 0), iotlb.ADDR.getHigh(slot, 0), mask);
        run.leafOnly = iotlb.IH.get(slot, 0) === 1;
        return progress(end.invalidatePages(domain, run));
      }
      default:
        return IQEI.RESERVED_BITS;
    }
  }

  #pasidIotlb(): number {
    const slot = this.#slot;
    const { end } = this.#options;
    const domain = this.#domain(pasidIotlb.DID);
    const pasid = pasidIotlb.PASID.get(slot, 0);
    switch (pasidIotlb.G.get(slot, 0)) {
      case PASID_IOTLB_GRANULARITY.PASID:
        return progress(end.invalidatePasid(domain, pasid));
      case PASID_IOTLB_GRANULARITY.PAGE: {
        const mask = pasidIotlb.AM.get(slot, 0);
        if (mask > this.#options.largestMask) return IQEI.RESERVED_BITS;
        const run = this.#run;
        this.#setRun(pasidIotlb.ADDR.getLow(slot, 0), pasidIotlb.ADDR.getHigh(slot, 0), mask);
        run.leafOnly = pasidIotlb.IH.get(slot, 0) === 1;
        this.#of.domain = domain;
        this.#of.pasid = pasid;
        return progress(end.invalidatePasidPages(this.#of, run));
      }
      default:
        return IQEI.RESERVED_BITS;
    }
  }

  /** Fills the record of pages: 2^mask of them, around one given in halves. A large number handed on is allocated. */
  #setRun(low: number, high: number, mask: number): void {
    const pages = 2 ** mask;
    const page = high * TWO_32 + (low >>> 0);
    this.#run.pages = pages;
    this.#run.page = page - (page % pages);
  }

  #pasidCache(): number {
    const slot = this.#slot;
    const { end } = this.#options;
    const domain = this.#domain(pasidCache.DID);
    switch (pasidCache.G.get(slot, 0)) {
      case PASID_CACHE_GRANULARITY.DOMAIN:
        return progress(end.invalidatePasids({ domain }));
      case PASID_CACHE_GRANULARITY.PASID:
        return progress(end.invalidatePasids({ domain, pasid: pasidCache.PASID.get(slot, 0) }));
      case PASID_CACHE_GRANULARITY.GLOBAL:
        return progress(end.invalidatePasids({}));
      default:
        return IQEI.RESERVED_BITS;
    }
  }

  #deviceTlb(): number {
    const slot = this.#slot;
    if (this.#hasStrayFunction(deviceTlb)) return IQEI.RESERVED_BITS;
    this.#setRange(deviceTlb.ADDR.getLow(slot, 0), deviceTlb.ADDR.getHigh(slot, 0), deviceTlb.S.get(slot, 0));
    // Without a PASID, an invalidation holds for the requests without one.
    this.#invalidation.pasid = NO_PASID;
    this.#invalidation.isGlobal = false;
    return this.#sendInvalidation(deviceTlb.SID.get(slot, 0));
  }

  #pasidDeviceTlb(): number {
    const slot = this.#slot;
    if (this.#hasStrayFunction(pasidDeviceTlb)) return IQEI.RESERVED_BITS;
    const { ADDR, S } = pasidDeviceTlb;
    this.#setRange(ADDR.getLow(slot, 0), ADDR.getHigh(slot, 0), S.get(slot, 0));
    this.#invalidation.pasid = pasidDeviceTlb.PASID.get(slot, 0);
    this.#invalidation.isGlobal = pasidDeviceTlb.G.get(slot, 0) === 1;
    return this.#sendInvalidation(pasidDeviceTlb.SID.get(slot, 0));
  }

  /** Whether a physical function is named that the unit does not ask for: its field is reserved then. */
  #hasStrayFunction({ PFSID_LOW, PFSID_HIGH }: typeof deviceTlb | typeof pasidDeviceTlb): boolean {
    if (this.#options.format.deviceTlbThrottle) return false;
    return PFSID_LOW.get(this.#slot, 0) !== 0 || PFSID_HIGH.get(this.#slot, 0) !== 0;
  }

  /** The range of an ATS invalidation: with S, the lowest zero bit n of the page number gives 2^(n + 1) pages. */
  #setRange(low: number, high: number, s: number): void {
    const ones = low === -1 ? 32 + trailingOnes(high) : trailingOnes(low);
    const pages = s === 0 ? 1 : Math.min(2 ** (ones + 1), ALL_PAGES);
    this.#invalidation.page = alignDown(high * TWO_32 + (low >>> 0), pages);
    this.#invalidation.pages = pages;
  }

  #sendInvalidation(rid: number): number {
    let itag = 0;
    while (this.#state.words[RIDS + itag] !== 0) itag++;
    this.#state.set(RIDS + itag, rid + 1);
    this.#state.set(OUTSTANDING, this.outstanding + 1);
    this.#invalidation.rid = rid;
    this.#invalidation.itag = itag;
    return progress(this.#options.end.invalidateDeviceTlb(this.#invalidation));
  }

  #wait(): number {
    const slot = this.#slot;
    const { memory, waitDone, drainsPageRequests } = this.#options;
    if (wait.PD.get(slot, 0) === 1 && !drainsPageRequests) return IQEI.RESERVED_BITS;
    if (wait.SW.get(slot, 0) === 1) {
      // Bits 1:0 of the address are reserved, so its words are those of the descriptor.
      const address = numberOf(slot[2] ?? 0, (slot[3] ?? 0) & 0xf_ffff);
      const at = memory.writable(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
      if (at !== ABSENT) memory.words[at] = slot[1] ?? 0;
    }
    if (wait.IF.get(slot, 0) === 1) waitDone();
    this.onProgress?.();
    return NO_ERROR;
  }

  /** The domain that the descriptor at hand names: without the bits that the unit has not. */
  #domain(did: Field): number {
    return did.get(this.#slot, 0) & this.#options.format.largestDomain;
  }

  #pageGroupResponse(): number {
    const slot = this.#slot;
    const response = this.#response;
    response.rid = groupResponse.RID.get(slot, 0);
    response.pasid = groupResponse.PP.get(slot, 0) === 1 ? groupResponse.PASID.get(slot, 0) : NO_PASID;
    response.group = groupResponse.PRGI.get(slot, 0);
    response.code = groupResponse.RC.get(slot, 0);
    return progress(this.#options.end.respond(response));
  }
}

/** How many of a word's lowest bits are ones. */
const trailingOnes = (word: number): number => (word === -1 ? 32 : 31 - Math.clz32(~word & (word + 1)));

const alignDown = (page: number, pages: number): number => page - (page % pages);

/** The bits of a source ID that a function mask leaves out. */
export const functionMask = (fm: number): number => FUNCTION_MASK[fm] ?? 0;
