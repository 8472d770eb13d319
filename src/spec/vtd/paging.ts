/**
 * VT-d's second-stage paging entry: 8 bytes, 512 to a table, 3 to 5 levels, after VT-d 4.1, 9.8. (The first
 * stage is the x86-64 format.) There is no present bit: an entry counts as present when one of R, W and X is
 * set. Bits 51 and below, down to the host address width, are reserved; those above are ignored but for TM,
 * which is reserved since revision 3.2.
 */
import { address, ignored, layout } from '../layout.js';

const SOURCE = 'VT-d 4.1, 9.8';

const COMMON = {
  R: [0, 'reads allowed'],
  W: [1, 'writes allowed'],
  X: [2, 'execution allowed; ignored unless the PASID entry enables execute requests'],
  IGN_61_52: ignored(61, 52),
  IGN_63: ignored(63, 63),
} as const;

const LEAF = {
  ...COMMON,
  EMT: [5, 3, 'extended memory type'],
  IPAT: [6, 'ignore PAT'],
  A: [8, 'accessed; set by hardware when the PASID entry has SSADE, ignored otherwise'],
  D: [9, 'dirty; set by hardware when the PASID entry has SSADE, ignored otherwise'],
  IGN_10: ignored(10, 10),
  SNP: [11, 'snoop; reserved unless ECAP.SC'],
  TM: [62, 'transient mapping with ECAP.DT before revision 3.2, reserved since'],
} as const;

/** Any entry of any level. In one that is no leaf, EMT, IPAT and D are ignored, and SNP and TM are reserved. */
export const SECOND_STAGE_ENTRY = layout('Second-stage paging entry', 8, SOURCE, {
  ...LEAF,
  PS: [7, 'page size: a leaf at level 2 or 3; ignored at level 1, reserved at levels 4 and 5'],
  ADDR: address(51, 12, 'next table or page; bits at and above the host address width are reserved'),
});

/** A leaf of level 2: its bits 20:12 are reserved. */
export const SECOND_STAGE_LEAF_2M = layout('Second-stage paging entry, 2 MiB page', 8, SOURCE, {
  ...LEAF,
  PS: [7, 'page size: 1'],
  ADDR: address(51, 21, 'page'),
});

/** A leaf of level 3: its bits 29:12 are reserved. */
export const SECOND_STAGE_LEAF_1G = layout('Second-stage paging entry, 1 GiB page', 8, SOURCE, {
  ...LEAF,
  PS: [7, 'page size: 1'],
  ADDR: address(51, 30, 'page'),
});
