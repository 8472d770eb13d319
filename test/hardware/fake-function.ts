/** A PCI function that does nothing by itself: it keeps what it is sent, and answers invalidations or not. */

import type { MmioRegion, PciFunction, RootComplex } from '../../src/hardware/index.js';
import { ConfigSpace, type DeviceTlbInvalidation, type PageGroupResponse } from '../../src/hardware/index.js';

export class FakeFunction implements PciFunction {
  readonly rid: number;
  readonly bars: readonly MmioRegion[] = [];
  readonly config = new ConfigSpace({ vendor: 0x8086, device: 1, classCode: 0x088000 });
  /** Whether invalidations are answered at once. */
  answers = true;
  readonly invalidations: DeviceTlbInvalidation[] = [];
  readonly responses: PageGroupResponse[] = [];
  readonly #rootComplex: RootComplex;

  constructor(rid: number, rootComplex: RootComplex) {
    this.rid = rid;
    this.#rootComplex = rootComplex;
  }

  readConfig(offset: number, bytes: number): number {
    return this.config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.config.write(offset, bytes, value);
  }

  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void {
    this.invalidations.push({ ...invalidation });
    if (this.answers) this.#rootComplex.invalidationDone(this.rid, invalidation.itag);
  }

  pageGroupResponse(response: PageGroupResponse): void {
    this.responses.push({ ...response });
  }
}
