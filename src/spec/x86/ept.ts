/**
 * Extended page tables, which map a virtual machine's physical addresses: the entry, 8 bytes, 512 to a table, and
 * the pointer in the VMCS that leads to the first table (Intel SDM volume 3, 29.3.2 and 25.6.11). VT-d's second
 * stage looks much the same and is another format: it has a snoop bit where EPT ignores, and no memory types to
 * get wrong. As there, no bit says present: an entry is when one of R, W and X is set.
 */
import { address, ignored, layout } from '../layout.js';

/** Any entry of any level. In one that leads to a table, bits 6:3 are reserved (at level 4 and 5, bit 7 too). */
export const EPT_ENTRY = layout('EPT paging-structure entry', 8, 'Intel SDM volume 3, 29.3.2', {
  R: [0, 'reads allowed'],
  W: [1, 'writes allowed; without R a misconfiguration'],
  X: [2, 'execution allowed; in supervisor mode, where execution is told apart by mode'],
  EMT: [5, 3, 'memory type of a leaf: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB; others are misconfigurations'],
  IPAT: [6, 'ignore PAT, in a leaf'],
  PS: [7, 'page size: a leaf at level 2 or 3; ignored at level 1, reserved at levels 4 and 5'],
  A: [8, 'accessed, where the EPT pointer has AD'],
  D: [9, 'dirty, in a leaf, where the EPT pointer has AD'],
  XU: [10, 'execution allowed in user mode, where execution is told apart by mode; ignored otherwise'],
  IGN_11: ignored(11, 11),
  ADDR: address(51, 12, 'next table or page; bits at and above the physical address width are reserved'),
  IGN_56_52: ignored(56, 52),
  VGP: [57, 'verify guest paging, in a leaf, where that control is set; ignored otherwise'],
  PW: [58, 'paging-write access, in a leaf, where that control is set; ignored otherwise'],
  IGN_59: ignored(59, 59),
  SSS: [60, 'supervisor shadow stack, in a leaf, where the EPT pointer has SSS; ignored otherwise'],
  SPP: [61, 'sub-page write permissions, in a 4 KiB leaf, where that control is set; ignored otherwise'],
  IGN_62: ignored(62, 62),
  SVE: [63, 'suppress #VE, where that control is set; ignored otherwise'],
});

/** Memory types of an EPT leaf and of the tables themselves. */
export const EPT_MEMORY_TYPE = { UC: 0, WC: 1, WT: 4, WP: 5, WB: 6 } as const;

export const EPT_POINTER = layout('EPT pointer', 8, 'Intel SDM volume 3, 25.6.11', {
  MT: [2, 0, 'memory type of the tables: 0 UC or 6 WB'],
  LEVELS: [5, 3, 'levels of the walk, less one: 3 or 4'],
  AD: [6, 'the CPU sets accessed and dirty bits'],
  SSS: [7, 'access rights of supervisor shadow-stack pages are enforced'],
  ADDR: address(51, 12, 'table of the highest level'),
});
