/**
 * Entries of the tables that the kernel keeps for devices: x86-64 paging as a first stage, and VT-d's second stage
 * (VT-d 4.1, 9.7 and 9.8). Both have 512 entries of 8 bytes to a table.
 */
import { FIRST_STAGE_ENTRY, SECOND_STAGE_ENTRY } from '../../spec/index.js';

/** What a mapping allows. Execution no mapping does. */
export interface IoRights {
  readonly read: boolean;
  readonly write: boolean;
}

/** What a leaf says, beside where it stands. */
export interface IoLeaf extends IoRights {
  readonly frame: number;
}

/** Where a leaf stands, and what DMA through it has to do. */
export interface LeafPlace {
  readonly level: number;
  /** It snoops the CPUs' caches, whatever the request says. */
  readonly snoops: boolean;
}

/** One format of entries; they stand in two words. */
export interface IoEntryFormat {
  /** Whether there is an entry at all. */
  isPresent(entry: Int32Array): boolean;
  /** Whether a present entry above level 1 is a leaf. */
  isLarge(entry: Int32Array): boolean;
  frameOf(entry: Int32Array): number;
  rightsOf(entry: Int32Array): IoRights;
  /** Whether leaves can have these rights. */
  has(rights: IoRights): boolean;
  toTable(frame: number, entry: Int32Array): void;
  toLeaf(leaf: IoLeaf, place: LeafPlace, entry: Int32Array): void;
  /** Makes a large leaf one of the next level, of a part of it: all else that it says stays. */
  toPart(frame: number, level: number, entry: Int32Array): void;
  /** Whether DMA has written there since the bit was cleared. */
  isDirty(entry: Int32Array): boolean;
  clearDirty(entry: Int32Array): void;
}

const first = FIRST_STAGE_ENTRY;
const second = SECOND_STAGE_ENTRY;

export const FIRST_STAGE_FORMAT: IoEntryFormat = {
  isPresent: (entry) => first.P.get(entry, 0) === 1,
  isLarge: (entry) => first.PS.get(entry, 0) === 1,
  frameOf: (entry) => first.ADDR.get(entry, 0),
  rightsOf: (entry) => ({ read: true, write: first.RW.get(entry, 0) === 1 }),
  // What is present can be read.
  has: ({ read }) => read,
  toTable(frame, entry) {
    entry.fill(0);
    first.P.set(entry, 0, 1);
    first.RW.set(entry, 0, 1);
    first.US.set(entry, 0, 1);
    first.ADDR.set(entry, 0, frame);
  },
  // Snooping is the PASID table entry's to say.
  toLeaf({ frame, write }, { level }, entry) {
    entry.fill(0);
    first.P.set(entry, 0, 1);
    first.RW.set(entry, 0, write ? 1 : 0);
    first.US.set(entry, 0, 1);
    first.XD.set(entry, 0, 1);
    first.PS.set(entry, 0, level > 1 ? 1 : 0);
    first.ADDR.set(entry, 0, frame);
  },
  toPart(frame, level, entry) {
    first.PS.set(entry, 0, level > 1 ? 1 : 0);
    first.ADDR.set(entry, 0, frame);
  },
  isDirty: (entry) => first.D.get(entry, 0) === 1,
  clearDirty: (entry) => first.D.set(entry, 0, 0),
};

export const SECOND_STAGE_FORMAT: IoEntryFormat = {
  isPresent: (entry) => second.R.get(entry, 0) + second.W.get(entry, 0) > 0,
  isLarge: (entry) => second.PS.get(entry, 0) === 1,
  frameOf: (entry) => second.ADDR.get(entry, 0),
  rightsOf: (entry) => ({ read: second.R.get(entry, 0) === 1, write: second.W.get(entry, 0) === 1 }),
  // An entry without rights is none.
  has: ({ read, write }) => read || write,
  toTable(frame, entry) {
    entry.fill(0);
    second.R.set(entry, 0, 1);
    second.W.set(entry, 0, 1);
    second.ADDR.set(entry, 0, frame);
  },
  toLeaf({ frame, read, write }, { level, snoops }, entry) {
    entry.fill(0);
    second.R.set(entry, 0, read ? 1 : 0);
    second.W.set(entry, 0, write ? 1 : 0);
    second.PS.set(entry, 0, level > 1 ? 1 : 0);
    second.SNP.set(entry, 0, snoops ? 1 : 0);
    second.ADDR.set(entry, 0, frame);
  },
  toPart(frame, level, entry) {
    second.PS.set(entry, 0, level > 1 ? 1 : 0);
    second.ADDR.set(entry, 0, frame);
  },
  isDirty: (entry) => second.D.get(entry, 0) === 1,
  clearDirty: (entry) => second.D.set(entry, 0, 0),
};
