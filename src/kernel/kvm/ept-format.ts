/**
 * Entries of the EPT that KVM keeps (Intel SDM volume 3, 29.3.2): a guest's memory is write-back and may be executed;
 * what is no RAM is a device's, uncacheable and not to be executed. Left out: accessed and dirty bits, sub-page
 * permissions, execution by mode.
 */
import { EPT_ENTRY, EPT_MEMORY_TYPE } from '../../spec/index.js';
import type { IoEntryFormat } from '../iommu/io-entries.js';

const { R, W, X, EMT, PS, ADDR } = EPT_ENTRY;

/** @param isRam whether a frame is memory */
export const eptFormat = (isRam: (frame: number) => boolean): IoEntryFormat => ({
  isPresent: (entry) => R.get(entry, 0) + W.get(entry, 0) + X.get(entry, 0) > 0,
  isLarge: (entry) => PS.get(entry, 0) === 1,
  frameOf: (entry) => ADDR.get(entry, 0),
  rightsOf: (entry) => ({ read: R.get(entry, 0) === 1, write: W.get(entry, 0) === 1 }),
  // What may be written and not read is misconfigured.
  has: ({ read }) => read,
  toTable(frame, entry) {
    entry.fill(0);
    R.set(entry, 0, 1);
    W.set(entry, 0, 1);
    X.set(entry, 0, 1);
    ADDR.set(entry, 0, frame);
  },
  toLeaf({ frame, write }, { level }, entry) {
    const ram = isRam(frame);
    entry.fill(0);
    R.set(entry, 0, 1);
    W.set(entry, 0, write ? 1 : 0);
    X.set(entry, 0, ram ? 1 : 0);
    EMT.set(entry, 0, ram ? EPT_MEMORY_TYPE.WB : EPT_MEMORY_TYPE.UC);
    PS.set(entry, 0, level > 1 ? 1 : 0);
    ADDR.set(entry, 0, frame);
  },
  toPart(frame, level, entry) {
    PS.set(entry, 0, level > 1 ? 1 : 0);
    ADDR.set(entry, 0, frame);
  },
  // Its bits are not enabled (EPTP.AD).
  isDirty: () => false,
  clearDirty() {},
});
