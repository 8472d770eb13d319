/**
 * The commands that software gives by register: GCMD with its status, and the invalidations of CCMD and IOTLB,
 * after VT-d 4.1, 6.5.1 and 11.4.4. What their end has done by the time that it returns is over when the write is;
 * for the rest software sees them in progress until {@link Commands}' `…Done` is called. Where a queue is enabled,
 * the specification leaves the invalidations open: they are done all the same.
 */
import {
  CCMD_REG,
  CONTEXT_GRANULARITY,
  GCMD_REG,
  GSTS_REG,
  IOTLB_GRANULARITY,
  IOTLB_REG,
  IVA_REG,
  type RegisterFile,
  RTADDR_REG,
  VTD_REGISTER,
  type VtdRegisterTable,
} from '../../spec/index.js';
import type { ContextScope, UnitEnd } from './end.js';
import type { UnitFormat } from './format.js';
import { functionMask, type InvalidationQueue } from './invalidation-queue.js';

const R = VTD_REGISTER;

/** What the commands act on. */
export interface CommandOptions {
  readonly file: RegisterFile;
  readonly table: VtdRegisterTable;
  readonly end: UnitEnd;
  readonly format: UnitFormat;
  readonly queue: InvalidationQueue;
  /** ECAP.QI. */
  readonly hasQueue: boolean;
  /** CAP.ESRTPS: a new root table pointer invalidates all caches. */
  readonly srtpInvalidates: boolean;
}

export class Commands {
  readonly #options: CommandOptions;
  readonly #end: UnitEnd;

  constructor(options: CommandOptions) {
    this.#options = options;
    this.#end = options.end;
  }

  /** GCMD. */
  global(): void {
    const { file } = this.#options;
    if (file.get(R.GCMD, GCMD_REG.SRTP) === 1) this.#setRootTable();
    const translates = file.get(R.GCMD, GCMD_REG.TE);
    const isOn = translates === 1;
    if (translates !== file.get(R.GSTS, GSTS_REG.TES) && this.#end.setTranslation(isOn)) {
      this.translationDone(isOn);
    }
    if (!this.#options.hasQueue) return;
    const isQueued = file.get(R.GCMD, GCMD_REG.QIE);
    if (isQueued !== file.get(R.GSTS, GSTS_REG.QIES)) this.#options.queue.switched();
    file.set(R.GSTS, GSTS_REG.QIES, isQueued);
  }

  /** The root table has been taken. */
  rootDone(): void {
    this.#options.file.set(R.GSTS, GSTS_REG.RTPS, 1);
  }

  /** Translation is on, or off. */
  translationDone(isOn: boolean): void {
    this.#options.file.set(R.GSTS, GSTS_REG.TES, isOn ? 1 : 0);
  }

  #setRootTable(): void {
    const { file, srtpInvalidates } = this.#options;
    file.set(R.GCMD, GCMD_REG.SRTP, 0);
    file.set(R.GSTS, GSTS_REG.RTPS, 0);
    const frame = file.get(R.RTADDR, RTADDR_REG.RTA);
    const mode = file.get(R.RTADDR, RTADDR_REG.TTM);
    if (this.#end.latchRoot({ frame, mode, invalidates: srtpInvalidates })) this.rootDone();
  }

  /** CCMD. */
  context(): void {
    const { file } = this.#options;
    if (file.get(R.CCMD, CCMD_REG.ICC) === 0) return;
    const scope = this.#contextScope(file.get(R.CCMD, CCMD_REG.CIRG));
    if (scope === undefined || this.#end.invalidateContexts(scope)) this.contextDone();
  }

  /** The context-cache invalidation is over; it was not done, if it failed, and CAIG says so by a zero. */
  contextDone(hasFailed = false): void {
    const { file } = this.#options;
    file.set(R.CCMD, CCMD_REG.CAIG, hasFailed ? 0 : file.get(R.CCMD, CCMD_REG.CIRG));
    file.set(R.CCMD, CCMD_REG.ICC, 0);
  }

  #contextScope(granularity: number): ContextScope | undefined {
    const { file } = this.#options;
    switch (granularity) {
      case CONTEXT_GRANULARITY.GLOBAL:
        return {};
      case CONTEXT_GRANULARITY.DOMAIN:
        return { domain: this.#domain(file.get(R.CCMD, CCMD_REG.DID)) };
      case CONTEXT_GRANULARITY.DEVICE:
        return {
          rid: file.get(R.CCMD, CCMD_REG.SID),
          ridMask: functionMask(file.get(R.CCMD, CCMD_REG.FM)),
        };
      default:
        return undefined;
    }
  }

  /** IOTLB. */
  iotlb(): void {
    const { file } = this.#options;
    const { IOTLB } = this.#options.table;
    if (file.get(IOTLB, IOTLB_REG.IVT) === 0) return;
    if (this.#invalidateIotlb(file.get(IOTLB, IOTLB_REG.IIRG))) this.iotlbDone();
  }

  /** The IOTLB invalidation is over; it was not done, if it failed, and IAIG says so by a zero. */
  iotlbDone(hasFailed = false): void {
    const { file } = this.#options;
    const { IOTLB } = this.#options.table;
    file.set(IOTLB, IOTLB_REG.IAIG, hasFailed ? 0 : file.get(IOTLB, IOTLB_REG.IIRG));
    file.set(IOTLB, IOTLB_REG.IVT, 0);
  }

  #invalidateIotlb(granularity: number): boolean {
    const { file } = this.#options;
    const { IOTLB, IVA } = this.#options.table;
    const domain = this.#domain(file.get(IOTLB, IOTLB_REG.DID));
    switch (granularity) {
      case IOTLB_GRANULARITY.GLOBAL:
        return this.#end.invalidateDomain();
      case IOTLB_GRANULARITY.DOMAIN:
        return this.#end.invalidateDomain(domain);
      case IOTLB_GRANULARITY.PAGE: {
        const pages = 2 ** Math.min(file.get(IVA, IVA_REG.AM), 51);
        const page = file.get(IVA, IVA_REG.ADDR);
        const leafOnly = file.get(IVA, IVA_REG.IH) === 1;
        return this.#end.invalidatePages(domain, { page: page - (page % pages), pages, leafOnly });
      }
      default:
        return true;
    }
  }

  /** A domain's number as the unit takes it: without the bits that it has not. */
  #domain(did: number): number {
    return did & this.#options.format.largestDomain;
  }
}
