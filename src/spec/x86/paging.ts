/**
 * The x86-64 paging entry: 8 bytes, 512 to a table, 4 or 5 levels. One format serves the CPU, VT-d's first
 * stage and AMD's version 2 tables; what they differ in (who looks at EA, protection keys, which bits above
 * the address are reserved) stands with each of them. After the Intel SDM, volume 3, 5.5, and VT-d 4.1, 9.7.
 *
 * Bit 7 is PS in an entry above the last level and PAT in a 4 KiB leaf. A large leaf has its PAT at bit 12,
 * inside {@link FIRST_STAGE_ENTRY}'s ADDR, with reserved bits between it and the page's frame: the layouts of
 * the three leaves say so, for those who check or print; a walk reads the common entry.
 */
import { address, ignored, layout } from '../layout.js';

const SOURCE = 'Intel SDM volume 3, 5.5; VT-d 4.1, 9.7';

const COMMON = {
  P: [0, 'present'],
  RW: [1, 'writes allowed'],
  US: [2, 'user accesses allowed'],
  PWT: [3, 'page write-through: bit 0 of the PAT index'],
  PCD: [4, 'page cache disable: bit 1 of the PAT index'],
  A: [5, 'accessed; set by hardware'],
  EA: [10, 'extended accessed; set by hardware when the PASID entry has EAFE, ignored otherwise'],
  IGN_9: ignored(9, 9),
  IGN_11: ignored(11, 11),
  IGN_62_52: ignored(62, 52, 'ignored; for the CPU 62:59 is the protection key of a leaf'),
  XD: [63, 'execute disable'],
} as const;

const LEAF = {
  ...COMMON,
  D: [6, 'dirty; set by hardware'],
  G: [8, 'global: the translation holds for every PASID of the domain'],
} as const;

/** Any entry of any level. */
export const FIRST_STAGE_ENTRY = layout('First-stage paging entry', 8, SOURCE, {
  ...LEAF,
  D: [6, 'dirty; set by hardware in a leaf, ignored elsewhere'],
  PS: [7, 'page size: a leaf at level 2 or 3; in a 4 KiB leaf PAT; reserved at levels 4 and 5'],
  G: [8, 'global, in a leaf'],
  ADDR: address(51, 12, 'next table or page; bits at and above the host address width are reserved'),
});

/** A leaf of level 1. */
export const FIRST_STAGE_LEAF_4K = layout('First-stage paging entry, 4 KiB page', 8, SOURCE, {
  ...LEAF,
  PAT: [7, 'bit 2 of the PAT index'],
  ADDR: address(51, 12, 'page'),
});

/** A leaf of level 2: its bits 20:13 are reserved. */
export const FIRST_STAGE_LEAF_2M = layout('First-stage paging entry, 2 MiB page', 8, SOURCE, {
  ...LEAF,
  PS: [7, 'page size: 1'],
  PAT: [12, 'bit 2 of the PAT index'],
  ADDR: address(51, 21, 'page'),
});

/** A leaf of level 3: its bits 29:13 are reserved. */
export const FIRST_STAGE_LEAF_1G = layout('First-stage paging entry, 1 GiB page', 8, SOURCE, {
  ...LEAF,
  PS: [7, 'page size: 1'],
  PAT: [12, 'bit 2 of the PAT index'],
  ADDR: address(51, 30, 'page'),
});
