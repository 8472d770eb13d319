/**
 * One rig for many runs, each of which begins by putting it back, and pages of buffers whose frames lie in another
 * order, with one missing or none.
 */
import { ALL_RIGHTS } from '../../src/hardware/index.js';
import { PASID, Rig } from './rig.js';

/** The buffers lie in 8 pages from here on, which are mapped to frames in another order. */
export const FIRST_PAGE = 0x7f000;
export const PAGES = 8;
export const BYTES = PAGES * 4096;
export const BASE = FIRST_PAGE * 4096;
export const frameOf = (index: number): number => 0x200 + ((index * 5) % PAGES) * 3;

/** One rig for all runs: each begins by putting it back. */
export const rig = new Rig();
rig.start();
rig.mark();

/** The rig with all pages but the missing one, filled by the seed; and what they hold. */
export function prepare(missing: number | undefined, seed: number): Uint8Array {
  rig.restore();
  const model = new Uint8Array(BYTES);
  for (let i = 0; i < BYTES; i++) model[i] = (Math.imul(i + 1, seed | 1) >>> 13) & 3;
  for (let i = 0; i < PAGES; i++) {
    rig.memory.write(frameOf(i) * 4096, model.subarray(i * 4096, (i + 1) * 4096));
    if (i !== missing) rig.iommu.map(PASID, FIRST_PAGE + i, { frame: frameOf(i), rights: ALL_RIGHTS });
  }
  return model;
}

/** What they hold. */
export function memory(): Uint8Array {
  const all = new Uint8Array(BYTES);
  for (let i = 0; i < PAGES; i++) all.set(rig.bytes(frameOf(i) * 4096, 4096), i * 4096);
  return all;
}

/** Whether bytes of the missing page are touched. */
export function touches(missing: number | undefined, start: number, size: number): boolean {
  return missing !== undefined && start < (missing + 1) * 4096 && start + size > missing * 4096;
}
