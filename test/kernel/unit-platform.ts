/** A fake machine with a real VT-d unit in it, whose queue goes on at each access to its registers. */
import { firstChooser } from '../../src/base/index.js';
import { type DeviceTlbInvalidation, type IommuDownstream, VtdUnit } from '../../src/hardware/index.js';
import type { Mmio } from '../../src/kernel/index.js';
import { CAP_REG, ECAP_REG, encode } from '../../src/spec/index.js';
import { FakePlatform } from './fake-platform.js';

export const UNIT_AT = 0xfed9_0000;

export class UnitPlatform {
  readonly platform: FakePlatform;
  readonly unit: VtdUnit;
  /** What was sent to functions' device TLBs; nobody answers. */
  readonly invalidations: DeviceTlbInvalidation[] = [];
  /** Whether the time for an answer is over as soon as one is asked for. */
  timesOut = false;

  constructor() {
    this.platform = new FakePlatform({ mmio: this.#mmio() });
    const downstream: IommuDownstream = {
      invalidateDeviceTlb: (invalidation) => {
        this.invalidations.push({ ...invalidation });
        if (this.timesOut) this.unit.invalidationTimedOut(invalidation.rid);
      },
      pageGroupResponse() {},
      interrupt() {},
    };
    const cap = encode(CAP_REG, { SAGAW: 6, MGAW: 47, FRO: 0x22, PSI: 1, MAMV: 18 });
    const ecap = encode(ECAP_REG, {
      ...{ C: 1, QI: 1, DT: 1, IRO: 0x10, PRS: 1, PSS: 19, PASID: 1, SMTS: 1, FSTS: 1, SMPWCS: 1 },
    });
    const [capValue, ecapValue] = [cap, ecap].map((words) => new BigUint64Array(words.buffer)[0] ?? 0n);
    this.unit = new VtdUnit({
      name: 'dmar0',
      cap: capValue ?? 0n,
      ecap: ecapValue ?? 0n,
      ...{ memory: this.platform.ram, downstream, chooser: firstChooser },
    });
    this.platform.keep(this.unit);
  }

  /** The unit goes on as far as it can. */
  run(): void {
    for (const engine of this.unit.engines) while (engine.isReady) engine.step();
  }

  #mmio(): Mmio {
    const at = (address: number): number => {
      this.run();
      return address - UNIT_AT;
    };
    return {
      read32: (address) => this.unit.read32(at(address)),
      write32: (address, value) => this.unit.write32(at(address), value),
      read64: (address, out) => this.unit.read64(at(address), out),
      write64: (address, lo, hi) => this.unit.write64(at(address), lo, hi),
    };
  }
}
