/**
 * A PCI function that reads and writes memory, now and then, where it was told to: with a PASID or without, through a
 * device TLB if it has ATS. What it was told of a page it may still use one step later; it answers an invalidation
 * only when nothing on its way uses what is invalidated. It can also fail to answer.
 */
import type { Chooser } from '../../src/base/index.js';
import {
  COMPLETION,
  ConfigSpace,
  DeviceTlb,
  type DeviceTlbInvalidation,
  type Engine,
  emptyCompletion,
  type MemoryRequest,
  type MmioRegion,
  NO_PASID,
  NONE,
  type PageGroupResponse,
  type PciFunction,
  RIGHT,
  type RootComplex,
} from '../../src/hardware/index.js';

export interface Target {
  /** 0 for a request without one. */
  readonly pasid: number;
  readonly page: number;
}

/** One access, as it went. */
export interface Access extends Target {
  readonly isWrite: boolean;
  readonly passed: boolean;
  /** What was read: the first word of the page. */
  readonly value: number;
  /** {@link DmaFunction.era} when it was carried out. */
  readonly era: number;
}

export interface DmaOptions {
  readonly rid: number;
  readonly root: RootComplex;
  readonly chooser: Chooser;
  readonly ats?: boolean;
  /** It says that it asks for pages; what it asks for the test says, to its unit. */
  readonly pri?: boolean;
  readonly pasidWidth?: number;
  /** An invalidation of this function will not be answered. */
  readonly timedOut?: () => void;
}

/** Where writes go in a page: the first word says whose it is. */
export const WRITE_OFFSET = 8;

export class DmaFunction implements PciFunction, Engine {
  readonly name: string;
  readonly rid: number;
  readonly bars: readonly MmioRegion[] = [];
  readonly accesses: Access[] = [];
  readonly invalidations: DeviceTlbInvalidation[] = [];
  readonly responses: PageGroupResponse[] = [];
  /** Moved on by a test, to say what has happened before an access. */
  era = 0;
  /** How many invalidations it will not answer. */
  deaf = 0;
  /** It was pulled out: nobody answers in its place. */
  isOut = false;
  readonly tlb: DeviceTlb;
  readonly #config: ConfigSpace;
  readonly #options: DmaOptions;
  readonly #waiting: DeviceTlbInvalidation[] = [];
  #targets: readonly Target[] = [];
  #left = 0;
  /** What goes out in the next step, translated before. */
  #latched: { readonly target: Target; readonly frame: number } | undefined;
  readonly #bytes = new Uint8Array(4);
  readonly #completion = emptyCompletion();

  constructor(options: DmaOptions) {
    const { rid, chooser, ats, pri, pasidWidth } = options;
    this.name = `dma ${rid.toString(16)}`;
    this.rid = rid;
    this.#options = options;
    this.tlb = new DeviceTlb({ name: `${this.name} TLB`, entries: 8, chooser });
    this.#config = new ConfigSpace({
      ...{ vendor: 0x8086, device: 1, classCode: 0x088000 },
      ...(ats === true && { ats: { queueDepth: 32 } }),
      ...(pri === true && { pri: { capacity: 32 } }),
      ...(pasidWidth !== undefined && { pasid: { width: pasidWidth } }),
    });
  }

  /** Makes so many accesses, each to one of the targets. */
  go(count: number, targets: readonly Target[]): void {
    this.#left = count;
    this.#targets = targets;
  }

  get isReady(): boolean {
    return this.#left > 0 || this.#latched !== undefined;
  }

  step(): void {
    const latched = this.#latched;
    if (latched !== undefined) {
      this.#latched = undefined;
      this.#access(latched.target, latched.frame);
      for (let each = this.#waiting.shift(); each !== undefined; each = this.#waiting.shift())
        this.#done(each);
      return;
    }
    const target = this.#targets[this.#options.chooser.choose(this.#targets.length, this.name)];
    if (target === undefined) return;
    if (this.#options.ats === true) this.#lookUp(target);
    else {
      this.#left--;
      this.#access(target, undefined);
    }
  }

  readConfig(offset: number, bytes: number): number {
    return this.isOut ? 2 ** (8 * bytes) - 1 : this.#config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.#config.write(offset, bytes, value);
  }

  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void {
    const own = { ...invalidation };
    this.invalidations.push(own);
    this.tlb.invalidate(own);
    if (this.deaf > 0 || this.isOut) {
      this.deaf--;
      this.#options.timedOut?.();
    } else if (this.#latched === undefined) this.#done(own);
    else this.#waiting.push(own);
  }

  pageGroupResponse(response: PageGroupResponse): void {
    this.responses.push({ ...response });
  }

  #done({ itag }: DeviceTlbInvalidation): void {
    this.#options.root.invalidationDone(this.rid, itag);
  }

  #lookUp(target: Target): void {
    this.#left--;
    const request = this.#request(target, RIGHT.READ | RIGHT.WRITE);
    const frame = this.tlb.frameOf(request);
    if (frame !== NONE) {
      this.#latched = { target, frame };
      return;
    }
    this.#options.root.translate(request, this.#completion);
    const { status, rights } = this.#completion;
    if (status === COMPLETION.SUCCESS && rights !== 0) this.tlb.fill(request, this.#completion);
    else this.accesses.push({ ...target, isWrite: false, passed: false, value: 0, era: this.era });
  }

  #access(target: Target, frame: number | undefined): void {
    const { root, chooser } = this.#options;
    const isWrite = chooser.choose(2, `${this.name} writes`) === 1;
    const request = this.#request(target, isWrite ? RIGHT.WRITE : RIGHT.READ);
    if (frame !== undefined) {
      request.isTranslated = true;
      request.page = frame;
    }
    request.offset = isWrite ? WRITE_OFFSET : 0;
    this.#bytes.fill(isWrite ? 0xff : 0);
    const status = isWrite ? root.write(request, this.#bytes, 0) : root.read(request, this.#bytes, 0);
    const value = new DataView(this.#bytes.buffer).getUint32(0, true);
    this.accesses.push({ ...target, isWrite, passed: status === COMPLETION.SUCCESS, value, era: this.era });
  }

  #request({ pasid, page }: Target, rights: number): MemoryRequest {
    return {
      ...{ rid: this.rid, pasid: pasid === 0 ? NO_PASID : pasid, page, rights: rights | RIGHT.USER },
      ...{ isTranslated: false, offset: 0, length: 4 },
    };
  }
}
