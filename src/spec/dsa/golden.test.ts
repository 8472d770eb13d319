/**
 * Intel DSA's registers and tables against the bit-fields of Linux (`drivers/dma/idxd/registers.h`) and, where
 * Linux names no such bit, the tables of the specification's chapter 9.
 */
import { describe } from 'vitest';
import { type Golden, testGolden } from '../../../test/golden.js';
import * as configuration from './configuration.js';
import * as registers from './register-layouts.js';

const ALL = 0xffffffffffffffffn;

const CAPABILITIES: readonly Golden[] = [
  {
    layout: registers.DSA_VERSION_REG,
    masks: { MINOR: [0, 0xffn], MAJOR: [0, 0xff00n] },
    examples: [{ quads: [0x200n], fields: { MAJOR: 2 } }],
  },
  {
    layout: registers.DSA_GENCAP_REG,
    masks: {
      ...{ BLOCK_ON_FAULT: [0, 0x1n], OVERLAP_COPY: [0, 0x2n], CACHE_CONTROL: [0, 0x4n] },
      ...{ CACHE_CONTROL_FLUSH: [0, 0x8n], CMD_CAP: [0, 0x10n], DURABLE_WRITE: [0, 0x20n] },
      ...{ INTER_DOMAIN: [0, 0x40n], FETCH_STRIDE: [0, 0x80n], DEST_READBACK: [0, 0x100n] },
      ...{ DRAIN_READBACK: [0, 0x200n], FILL16: [0, 0x400n], CRC64: [0, 0x800n], FAULT_INFO: [0, 0x1000n] },
      ...{ EVL_SUPPORT: [0, 0x6000n], BATCH_CONTINUATION: [0, 0x8000n], MAX_XFER_SHIFT: [0, 0x1f0000n] },
      ...{ MAX_BATCH_SHIFT: [0, 0x1e00000n], IMS_SIZE: [0, 0x7e000000n], CONFIG: [0, 0x80000000n] },
      ...{ EVL_OVERFLOW: [0, 0x100000000n], BATCH1: [0, 0x10000000000000n] },
      ...{ STORD_MEMORY: [0, 0x20000000000000n], STORD_PEER: [0, 0x40000000000000n] },
    },
  },
  {
    layout: registers.DSA_WQCAP_REG,
    masks: {
      ...{ TOTAL_SIZE: [0, 0xffffn], WQS: [0, 0xff0000n], WQCFG_SIZE: [0, 0xf000000n] },
      ...{ SHARED: [0, 1n << 48n], DEDICATED: [0, 1n << 49n], ATS: [0, 1n << 50n], PRIORITY: [0, 1n << 51n] },
      ...{ OCCUPANCY: [0, 1n << 52n], OCCUPANCY_INT: [0, 1n << 53n], OP_CONFIG: [0, 1n << 54n] },
      PRS: [0, 1n << 55n],
    },
    examples: [
      {
        quads: [0x3f000001080080n],
        fields: {
          ...{ TOTAL_SIZE: 128, WQS: 8, WQCFG_SIZE: 1, SHARED: 1, DEDICATED: 1, ATS: 1, PRIORITY: 1 },
          ...{ OCCUPANCY: 1, OCCUPANCY_INT: 1 },
        },
      },
    ],
  },
  {
    layout: registers.DSA_GRPCAP_REG,
    masks: {
      ...{ GROUPS: [0, 0xffn], READ_BUFFERS: [0, 0xff00n], RDBUF_CTRL: [0, 0x10000n] },
      ...{ RDBUF_LIMIT: [0, 0x20000n], PROGRESS_LIMIT: [0, 0x40000n], BANDWIDTH_LIMIT: [0, 0x80000n] },
    },
    examples: [{ quads: [0x36004n], fields: { GROUPS: 4, READ_BUFFERS: 96, RDBUF_CTRL: 1, RDBUF_LIMIT: 1 } }],
  },
  { layout: registers.DSA_ENGCAP_REG, masks: { ENGINES: [0, 0xffn] } },
  {
    layout: registers.DSA_OFFSETS_REG,
    masks: {
      ...{ GRPCFG: [0, 0xffffn], WQCFG: [0, 0xffff0000n], MSIX_PERM: [0, 0xffff00000000n] },
      ...{ IMS: [0, 0xffff000000000000n], PERFMON: [1, 0xffffn] },
    },
  },
  {
    layout: registers.DSA_OPCAP_REG,
    masks: { OPS0: [0, ALL], OPS1: [1, ALL], OPS2: [2, ALL], OPS3: [3, ALL] },
  },
  { layout: registers.DSA_CMDCAP_REG, masks: { CMDS: [0, ALL] } },
];

const CONTROL: readonly Golden[] = [
  {
    layout: registers.DSA_GENCFG_REG,
    masks: { RDBUF_LIMIT: [0, 0xffn], USER_INT: [0, 0x1000n], EVL_EN: [0, 0x2000n] },
  },
  {
    layout: registers.DSA_GENCTRL_REG,
    masks: { SWERR_INT: [0, 0x1n], HALT_INT: [0, 0x2n], EVL_INT: [0, 0x4n] },
  },
  { layout: registers.DSA_GENSTS_REG, masks: { STATE: [0, 0x3n], RESET_TYPE: [0, 0xcn] } },
  {
    layout: registers.DSA_INTCAUSE_REG,
    masks: {
      ...{ SWERR: [0, 0x1n], CMD: [0, 0x2n], OCCUPANCY: [0, 0x4n], PERFMON: [0, 0x8n], HALT: [0, 0x10n] },
      ...{ EVL: [0, 0x20n], REVOKED: [0, 0x80000000n] },
    },
  },
  {
    layout: registers.DSA_CMD_REG,
    masks: { OPERAND: [0, 0xfffffn], CMD: [0, 0x1f00000n], INT: [0, 0x80000000n] },
    examples: [{ quads: [0x80b0002an], fields: { OPERAND: 42, CMD: 11, INT: 1 } }],
  },
  {
    layout: registers.DSA_CMDSTS_REG,
    masks: { ERR: [0, 0xffn], RESULT: [0, 0xffff00n], ACTIVE: [0, 0x80000000n] },
  },
  {
    layout: registers.DSA_SWERROR_REG,
    masks: {
      ...{ VALID: [0, 0x1n], OVERFLOW: [0, 0x2n], DESC_VALID: [0, 0x4n], WQ_VALID: [0, 0x8n] },
      ...{ BATCH: [0, 0x10n], RW: [0, 0x20n], PRIV: [0, 0x40n], INFO_VALID: [0, 0x80n] },
      ...{ ERROR: [0, 0xff00n], WQ: [0, 0xff0000n], OPERATION: [0, 0xff00000000n] },
      ...{ PASID: [0, 0xfffff0000000000n], BATCH_INDEX: [1, 0xffffn], INFO: [1, 0xffffffff00000000n] },
      ADDR: [2, ALL],
    },
    examples: [
      {
        quads: [0x2a0300021a2dn, 0n, 0x7f0000001000n, 0n],
        fields: {
          ...{ VALID: 1, DESC_VALID: 1, WQ_VALID: 1, RW: 1, ERROR: 0x1a, WQ: 2, OPERATION: 3, PASID: 42 },
          ADDR: 0x7f0000001000n,
        },
      },
    ],
  },
  {
    layout: registers.DSA_EVLCFG_REG,
    masks: {
      ...{ PASID_EN: [0, 0x1n], PRIV: [0, 0x2n], BASE: [0, 0xfffffffffffff000n] },
      ...{ SIZE: [1, 0xffffn], PASID: [1, 0xfffff0000n] },
    },
  },
  {
    layout: registers.DSA_EVLSTATUS_REG,
    masks: { HEAD: [0, 0xffffn], TAIL: [0, 0xffff00000000n], INT_PENDING: [0, 0x4000000000000000n] },
  },
  {
    layout: registers.DSA_EVENT,
    masks: {
      ...{ DESC_VALID: [0, 4n], WQ_VALID: [0, 8n], BATCH: [0, 0x10n], RW: [0, 0x20n], PRIV: [0, 0x40n] },
      ...{ INFO_VALID: [0, 0x80n], ERROR: [0, 0xff00n], WQ: [0, 0xff0000n], BATCH_ID: [0, 0xff000000n] },
      ...{ OPERATION: [0, 0xff00000000n], PASID: [0, 0xfffff0000000000n], BATCH_INDEX: [1, 0xffffn] },
      ...{ INFO: [1, 0xffffffff00000000n], ADDR: [2, ALL] },
      ...{ RECORD0: [4, ALL], RECORD1: [5, ALL], RECORD2: [6, ALL], RECORD3: [7, ALL] },
    },
  },
];

const CONFIGURATION: readonly Golden[] = [
  {
    layout: configuration.DSA_WQCFG,
    masks: {
      ...{ SIZE: [0, 0xffffn], THRESHOLD: [0, 0xffff00000000n], MODE: [1, 0x1n], BOF: [1, 0x2n] },
      ...{ ATS_DISABLE: [1, 0x4n], PRS_DISABLE: [1, 0x8n], PRIORITY: [1, 0xf0n], PASID: [1, 0xfffff00n] },
      ...{ PASID_EN: [1, 0x10000000n], PRIV: [1, 0x20000000n], MAX_XFER_SHIFT: [1, 0x1f00000000n] },
      ...{ MAX_BATCH_SHIFT: [1, 0x1e000000000n], MAX_SGL_SHIFT: [1, 0x1e0000000000n] },
      ...{ OCC_INT_HANDLE: [2, 0xffffn], OCC_INT_TABLE: [2, 0x10000n] },
      ...{ OCC_LIMIT: [2, 0xffff00000000n], OCC_INT_EN: [2, 0x1000000000000n] },
      ...{ OCCUPANCY: [3, 0xffffn], OCC_INT: [3, 0x10000n], MODE_SUPPORT: [3, 0x20000000n] },
      ...{ STATE: [3, 0xc0000000n], OPS0: [4, ALL], OPS1: [5, ALL], OPS2: [6, ALL], OPS3: [7, ALL] },
    },
  },
  {
    layout: configuration.DSA_GRPCFG,
    masks: {
      ...{ ENGINES: [4, ALL], TC_A: [5, 0x7n], TC_B: [5, 0x38n], USE_RDBUF_LIMIT: [5, 0x80n] },
      ...{ RDBUFS_RESERVED: [5, 0xff00n], RDBUFS_ALLOWED: [5, 0xff00000n] },
      ...{ DESC_PROGRESS: [5, 0x300000000n], BATCH_PROGRESS: [5, 0x3000000000n] },
      ...{ READ_BANDWIDTH: [5, 0xf0000000000n], WRITE_BANDWIDTH: [5, 0xf00000000000n] },
      ...{ WQS0: [0, ALL], WQS1: [1, ALL], WQS2: [2, ALL], WQS3: [3, ALL] },
    },
  },
  {
    layout: configuration.DSA_MSIXPERM,
    masks: { IGNORE: [0, 0x4n], PASID_EN: [0, 0x8n], PASID: [0, 0xfffff000n] },
  },
  {
    layout: configuration.DSA_IMS,
    masks: {
      ...{ ADDRESS: [0, 0xfffffffcn], UPPER: [0, 0xffffffff00000000n], DATA: [1, 0xffffffffn] },
      ...{ MASK: [1, 1n << 32n], PENDING: [1, 1n << 33n], IGNORE: [1, 1n << 34n], PASID_EN: [1, 1n << 35n] },
      ...{ PASID: [1, 0xfffffn << 44n] },
    },
  },
];

describe('Intel DSA registers', () => {
  testGolden(registers, [...CAPABILITIES, ...CONTROL]);
});
describe('Intel DSA configuration tables', () => {
  testGolden(configuration, CONFIGURATION);
});
