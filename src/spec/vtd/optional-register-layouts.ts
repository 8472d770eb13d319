/**
 * The fields of VT-d's registers that most machines do without: memory type ranges, performance monitoring,
 * enhanced and virtual commands. After VT-d 4.1, chapter 11; the virtual commands also as they were before
 * revision 3.3, which Linux 5.8 to 5.14 speaks.
 */
import { address, layout } from '../layout.js';

const SOURCE = 'VT-d 4.1, chapter 11';

export const MTRRCAP_REG = layout('MTRR capability register', 8, SOURCE, {
  VCNT: [7, 0, 'variable ranges'],
  FIX: [8, 'fixed ranges'],
  WC: [10, 'write combining'],
});

export const MTRRDEF_REG = layout('MTRR default type register', 8, SOURCE, {
  TYPE: [7, 0, 'default memory type'],
  FE: [10, 'fixed ranges enable'],
  E: [11, 'enable'],
});

export const MTRR_FIX_REG = layout('Fixed-range MTRR', 8, SOURCE, {
  TYPES: [63, 0, 'eight types of 8 bits'],
});

export const MTRR_PHYSBASE_REG = layout('Variable-range MTRR base', 8, SOURCE, {
  TYPE: [7, 0, 'memory type'],
  BASE: address(51, 12, 'base'),
});

export const MTRR_PHYSMASK_REG = layout('Variable-range MTRR mask', 8, SOURCE, {
  V: [11, 'valid'],
  MASK: address(51, 12, 'mask'),
});

export const PERFCAP_REG = layout('Performance capability register', 8, SOURCE, {
  NC: [15, 0, 'counters'],
  CW: [22, 16, 'bits of a counter'],
  NEG: [28, 24, 'event groups'],
  FILTERS: [36, 32, 'filters'],
  IOS: [50, 'interrupt on overflow'],
  STRIDE: [54, 52, 'a counter has 2^(STRIDE + 10) bytes'],
});

/** PERFCFGOFF, PERFFRZOFF, PERFOVFOFF and PERFCNTROFF. */
export const PERF_OFFSET_REG = layout('Performance block offset register', 4, SOURCE, {
  OFFSET: [31, 0, 'offset'],
});

export const PERFINTRSTS_REG = layout('Performance interrupt status register', 4, SOURCE, {
  PIS: [0, 'a counter has overflowed'],
});

export const PERFEVNTCAP_REG = layout('Performance event capability register', 8, SOURCE, {
  ES: [27, 0, 'events of the group'],
});

export const ECMD_REG = layout('Enhanced command register', 8, SOURCE, {
  CMD: [7, 0, 'command'],
  OA: [63, 16, 'operand A'],
});

export const ECEO_REG = layout('Enhanced command extended operand register', 8, SOURCE, {
  OB: [63, 0, 'operand B'],
});

export const ECRSP_REG = layout('Enhanced command response register', 8, SOURCE, {
  IP: [0, 'in progress'],
  SC: [7, 1, 'status'],
  RES: [63, 16, 'result'],
});

/** ECCAP0 to ECCAP3. */
export const ECCAP_REG = layout('Enhanced command capability register', 8, SOURCE, {
  COMMANDS: [63, 0, 'a bit for each command'],
});

/** CMD of a virtual command. */
export const VIRTUAL_COMMAND = { NULL: 0, ALLOCATE_PASID: 1, FREE_PASID: 2 } as const;

/** SC of a virtual command's response. */
export const VIRTUAL_COMMAND_STATUS = { SUCCESS: 0, NO_PASID: 16, INVALID_PASID: 16 } as const;

/** SC of a virtual command's response before revision 3.3. */
export const VIRTUAL_COMMAND_STATUS_3_2 = { SUCCESS: 0, NO_PASID: 2, INVALID_PASID: 2 } as const;

export const VCCAP_REG = layout('Virtual command capability register', 8, SOURCE, {
  PAS: [0, 'PASID allocation'],
});

export const VCMD_REG = layout('Virtual command register', 8, SOURCE, {
  CMD: [7, 0, 'command', { 1: 'allocate PASID', 2: 'free PASID' }],
  OP: [63, 16, 'operand: for a PASID to be freed, that'],
});

export const VCMD_EO_REG = layout('Virtual command extended operand register', 8, SOURCE, {
  OB: [63, 0, 'operand B'],
});

export const VCRSP_REG = layout('Virtual command response register', 8, SOURCE, {
  IP: [0, 'in progress'],
  SC: [7, 1, 'status', { 0: 'success', 16: 'no PASID, or an invalid one' }],
  RSLT: [63, 16, 'result: the PASID allocated'],
});

export const VCMD_REG_3_2 = layout('Virtual command register, before 3.3', 8, 'VT-d 3.2, chapter 10', {
  CMD: [7, 0, 'command', { 1: 'allocate PASID', 2: 'free PASID' }],
  OP: [63, 8, 'operand: for a PASID to be freed, that'],
});

export const VCRSP_REG_3_2 = layout(
  'Virtual command response register, before 3.3',
  8,
  'VT-d 3.2, chapter 10',
  {
    IP: [0, 'in progress'],
    SC: [2, 1, 'status', { 0: 'success', 2: 'no PASID, or an invalid one' }],
    RSLT: [63, 8, 'result: the PASID allocated'],
  },
);
