/**
 * The commands that software gives by register: GCMD with its status, and the invalidations of CCMD and IOTLB,
 * after VT-d 4.1, 6.5.1 and 11.4.4. Each is done by the time the write returns. Where a queue is enabled, the
 * specification leaves those invalidations open: they are done all the same.
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
import type { UnitFormat } from './format.js';
import { functionMask, type InvalidationQueue } from './invalidation-queue.js';
import type { Translator } from './translator.js';

const R = VTD_REGISTER;

/** What the commands act on. */
export interface CommandOptions {
  readonly file: RegisterFile;
  readonly table: VtdRegisterTable;
  readonly translator: Translator;
  readonly format: UnitFormat;
  readonly queue: InvalidationQueue;
  /** ECAP.QI. */
  readonly hasQueue: boolean;
  /** CAP.ESRTPS: a new root table pointer invalidates all caches. */
  readonly srtpInvalidates: boolean;
}

export class Commands {
  readonly #options: CommandOptions;
  readonly #translator: Translator;

  constructor(options: CommandOptions) {
    this.#options = options;
    this.#translator = options.translator;
  }

  /** GCMD. */
  global(): void {
    const { file } = this.#options;
    if (file.get(R.GCMD, GCMD_REG.SRTP) === 1) this.#setRootTable();
    const translates = file.get(R.GCMD, GCMD_REG.TE);
    this.#translator.isEnabled = translates === 1;
    file.set(R.GSTS, GSTS_REG.TES, translates);
    if (!this.#options.hasQueue) return;
    const isQueued = file.get(R.GCMD, GCMD_REG.QIE);
    if (isQueued !== file.get(R.GSTS, GSTS_REG.QIES)) this.#options.queue.switched();
    file.set(R.GSTS, GSTS_REG.QIES, isQueued);
  }

  #setRootTable(): void {
    const { file } = this.#options;
    file.set(R.GCMD, GCMD_REG.SRTP, 0);
    this.#translator.latchRoot(file.get(R.RTADDR, RTADDR_REG.RTA), file.get(R.RTADDR, RTADDR_REG.TTM));
    file.set(R.GSTS, GSTS_REG.RTPS, 1);
    if (!this.#options.srtpInvalidates) return;
    this.#translator.caches.invalidateAll();
  }

  /** CCMD. */
  context(): void {
    const { file } = this.#options;
    if (file.get(R.CCMD, CCMD_REG.ICC) === 0) return;
    const granularity = file.get(R.CCMD, CCMD_REG.CIRG);
    if (granularity === CONTEXT_GRANULARITY.GLOBAL) this.#translator.invalidateContexts();
    else if (granularity === CONTEXT_GRANULARITY.DOMAIN) {
      this.#translator.invalidateContexts({ domain: this.#domain(file.get(R.CCMD, CCMD_REG.DID)) });
    } else if (granularity === CONTEXT_GRANULARITY.DEVICE) {
      this.#translator.invalidateContexts({
        rid: file.get(R.CCMD, CCMD_REG.SID),
        ridMask: functionMask(file.get(R.CCMD, CCMD_REG.FM)),
      });
    }
    file.set(R.CCMD, CCMD_REG.CAIG, granularity);
    file.set(R.CCMD, CCMD_REG.ICC, 0);
  }

  /** IOTLB. */
  iotlb(): void {
    const { file } = this.#options;
    const { IOTLB, IVA } = this.#options.table;
    if (file.get(IOTLB, IOTLB_REG.IVT) === 0) return;
    const granularity = file.get(IOTLB, IOTLB_REG.IIRG);
    const domain = this.#domain(file.get(IOTLB, IOTLB_REG.DID));
    const { caches } = this.#translator;
    if (granularity === IOTLB_GRANULARITY.GLOBAL) caches.invalidateDomain();
    else if (granularity === IOTLB_GRANULARITY.DOMAIN) caches.invalidateDomain(domain);
    else if (granularity === IOTLB_GRANULARITY.PAGE) {
      const pages = 2 ** Math.min(file.get(IVA, IVA_REG.AM), 51);
      const page = file.get(IVA, IVA_REG.ADDR);
      const leafOnly = file.get(IVA, IVA_REG.IH) === 1;
      caches.invalidatePages(domain, { page: page - (page % pages), pages, leafOnly });
    }
    file.set(IOTLB, IOTLB_REG.IAIG, granularity);
    file.set(IOTLB, IOTLB_REG.IVT, 0);
  }

  /** A domain's number as the unit takes it: without the bits that it has not. */
  #domain(did: number): number {
    return did & this.#options.format.largestDomain;
  }
}
