/**
 * Faults are told whatever else goes on: hardware interrupts only when its fault status turns from nothing to something
 * (VT-d 4.1, 7.3), so what the kernel leaves set keeps it from ever hearing of a fault again.
 */
import { describe, expect, it } from 'vitest';
import type { Task } from '../../src/base/index.js';
import { FSTS_REG, VTD_REGISTER } from '../../src/spec/index.js';
import { FIRST_RID, Lab, must, NO_PASID } from './lab.js';

const NOWHERE = [{ pasid: 0, page: 0x77 }];

/** A device with one page, and what the unit's fault status is. */
function started(seed: number, ats = false) {
  const lab = new Lab({ seed, ats });
  const { dma, device } = lab.plug();
  const { domain } = lab.domain(device, [0x10, 0x11, 0x12, 0x13]);
  must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
  const [unit] = lab.bench.units;
  if (unit === undefined) throw new Error('no unit');
  const status = (): number => unit.read32(VTD_REGISTER.FSTS.offset);
  const told = (kind: string): number => lab.bench.events.filter((each) => each.kind === kind).length;
  return { lab, dma, device, domain, unit, status, told };
}

describe('a fault is told', () => {
  it('after an answer to an invalidation that nobody waited for', () => {
    const { lab, dma, unit, status, told } = started(1);
    unit.invalidationDone(FIRST_RID, 9);
    expect(FSTS_REG.ICE.get(Int32Array.of(status()), 0)).toBe(1);
    lab.bench.runAll();
    for (const times of [1, 2]) {
      lab.access(dma, NOWHERE, 1);
      expect(told('iommu:fault')).toBe(times);
    }
    expect(told('iommu:unexpected-completion')).toBe(1);
    expect(status() & ~FRI).toBe(0);
  });

  it('that came while the queue stood', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { lab, dma, device, domain, status, told } = started(seed, true);
      const other = lab.plug(FIRST_RID + 8);
      must(lab.run(lab.iommu.attach(other.device, NO_PASID, lab.domain(other.device, [0x10]).domain)));
      lab.access(
        dma,
        [0x10, 0x11, 0x12, 0x13].map((page) => ({ pasid: 0, page })),
      );
      dma.deaf = 4;
      const unmap = function* (): Task {
        for (const page of [0x10, 0x11, 0x12, 0x13]) yield* domain.unmap([{ first: page, last: page }]);
      };
      lab.bench.tasks.spawn('unmap', unmap());
      other.dma.go(12, [{ pasid: 3, page: 0x77 }]);
      lab.bench.runAll();
      expect(device.ats).toBe(true);
      expect(status() & ~FRI, `seed ${seed}`).toBe(0);
      const before = told('iommu:fault');
      lab.access(other.dma, [{ pasid: 3, page: 0x77 }], 1);
      expect(told('iommu:fault'), `seed ${seed}`).toBe(before + 1);
    }
  });

  it('that came into a record which was read before', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { lab, dma, status } = started(seed);
      lab.access(dma, NOWHERE, 200);
      expect(status() & ~FRI, `seed ${seed}`).toBe(0);
    }
  });
});

/** The place of the first fault means nothing where there is none. */
const FRI = 0xff00;
