/**
 * PCI's configuration structures. The masks are those of Linux's `pci_regs.h`, as 64-bit values; the examples
 * are worked out by hand from PCIe 6.0.
 */
import { describe } from 'vitest';
import { type Golden, testGolden } from '../../../test/golden.js';
import * as configuration from './configuration.js';

/** A mask of a register at byte `offset` of its structure: the 64-bit value it lies in, and its bits there. */
const at = (offset: number, mask: number | bigint): readonly [number, bigint] => [
  offset >> 3,
  BigInt(mask) << BigInt((offset % 8) * 8),
];

const EXTENDED = { ID: at(0, 0xffff), VERSION: at(0, 0xf0000), NEXT: at(0, 0xfff00000) };

const HEADER: Golden = {
  layout: configuration.TYPE_0_HEADER,
  masks: {
    VENDOR: at(0x00, 0xffff),
    DEVICE: at(0x02, 0xffff),
    IO: at(0x04, 0x1),
    MEMORY: at(0x04, 0x2),
    BUS_MASTER: at(0x04, 0x4),
    PARITY: at(0x04, 0x40),
    SERR: at(0x04, 0x100),
    INTX_DISABLE: at(0x04, 0x400),
    INTX_STATUS: at(0x06, 0x8),
    CAP_LIST: at(0x06, 0x10),
    MASTER_PARITY: at(0x06, 0x100),
    SIGNALED_TARGET_ABORT: at(0x06, 0x800),
    RECEIVED_TARGET_ABORT: at(0x06, 0x1000),
    RECEIVED_MASTER_ABORT: at(0x06, 0x2000),
    SIGNALED_ERROR: at(0x06, 0x4000),
    PARITY_ERROR: at(0x06, 0x8000),
    REVISION: at(0x08, 0xff),
    CLASS: at(0x08, 0xffffff00),
    CACHE_LINE: at(0x0c, 0xff),
    TYPE: at(0x0e, 0x7f),
    MULTI_FUNCTION: at(0x0e, 0x80),
    BAR0: at(0x10, 0xffffffff),
    BAR1: at(0x14, 0xffffffff),
    BAR2: at(0x18, 0xffffffff),
    BAR3: at(0x1c, 0xffffffff),
    BAR4: at(0x20, 0xffffffff),
    BAR5: at(0x24, 0xffffffff),
    SUBSYSTEM_VENDOR: at(0x2c, 0xffff),
    SUBSYSTEM: at(0x2e, 0xffff),
    CAP_PTR: at(0x34, 0xff),
    INT_LINE: at(0x3c, 0xff),
    INT_PIN: at(0x3d, 0xff),
  },
  examples: [
    {
      // Intel DSA: 8086:0b25, class 08.80.00, decoding and mastering, capabilities from 0x40.
      quads: [0x00100006_0b258086n, 0x08800000n, 0xfe00000cn, 0n, 0n, 0n, 0x40n << 32n, 0n],
      fields: {
        VENDOR: 0x8086,
        DEVICE: 0x0b25,
        MEMORY: 1,
        BUS_MASTER: 1,
        CAP_LIST: 1,
        CLASS: 0x088000,
        BAR0: 0xfe00000c,
        CAP_PTR: 0x40,
      },
    },
  ],
};

const CAPABILITIES: readonly Golden[] = [
  {
    layout: configuration.BASE_ADDRESS_REG,
    masks: { IO: at(0, 0x1), TYPE: at(0, 0x6), PREFETCHABLE: at(0, 0x8), BASE: at(0, 0xfffffff0) },
    examples: [{ quads: [0xfe00000cn], fields: { TYPE: 2, PREFETCHABLE: 1, BASE: 0xfe00000 } }],
  },
  {
    layout: configuration.MSI_X_CAPABILITY,
    masks: {
      ID: at(0, 0xff),
      NEXT: at(1, 0xff),
      TABLE_SIZE: at(2, 0x7ff),
      MASK_ALL: at(2, 0x4000),
      ENABLE: at(2, 0x8000),
      TABLE_BIR: at(4, 0x7),
      TABLE: at(4, 0xfffffff8),
      PBA_BIR: at(8, 0x7),
      PBA: at(8, 0xfffffff8),
    },
    examples: [
      {
        quads: [0x00002000_80080011n, 0x3000n],
        fields: { ID: 0x11, TABLE_SIZE: 8, ENABLE: 1, TABLE: 0x400, PBA: 0x600 },
      },
    ],
  },
  {
    layout: configuration.EXPRESS_CAPABILITY,
    masks: {
      ID: at(0, 0xff),
      NEXT: at(1, 0xff),
      VERSION: at(2, 0xf),
      TYPE: at(2, 0xf0),
      FLR: at(4, 0x10000000),
      INITIATE_FLR: at(8, 0x8000),
      PENDING: at(10, 0x20),
    },
    examples: [
      {
        // An integrated endpoint that can be reset, while it is.
        quads: [0x10000000_00920010n, 0x8000n],
        fields: { ID: 0x10, VERSION: 2, TYPE: 9, FLR: 1, INITIATE_FLR: 1 },
      },
    ],
  },
  {
    layout: configuration.MSI_X_TABLE_ENTRY,
    masks: {
      ADDRESS: at(0, 0xfffffffc),
      UPPER: at(4, 0xffffffff),
      DATA: at(8, 0xffffffff),
      MASK: at(12, 0x1),
    },
    examples: [{ quads: [0xfee01000n, 0x1_00000041n], fields: { ADDRESS: 0x3fb80400, DATA: 0x41, MASK: 1 } }],
  },
  { layout: configuration.EXTENDED_CAPABILITY_HEADER, masks: EXTENDED },
  {
    layout: configuration.ATS_CAPABILITY,
    masks: {
      ...EXTENDED,
      QUEUE_DEPTH: at(4, 0x1f),
      PAGE_ALIGNED: at(4, 0x20),
      GLOBAL_INVALIDATE: at(4, 0x40),
      RELAXED_ORDERING: at(4, 0x80),
      STU: at(6, 0x1f),
      ENABLE: at(6, 0x8000),
    },
    examples: [
      {
        quads: [0x80010068_2201000fn],
        fields: {
          ID: 0x0f,
          VERSION: 1,
          NEXT: 0x220,
          QUEUE_DEPTH: 8,
          PAGE_ALIGNED: 1,
          GLOBAL_INVALIDATE: 1,
          STU: 1,
          ENABLE: 1,
        },
      },
    ],
  },
  {
    layout: configuration.PRI_CAPABILITY,
    masks: {
      ...EXTENDED,
      ENABLE: at(4, 0x1),
      RESET: at(4, 0x2),
      RESPONSE_FAILURE: at(6, 0x1),
      UNEXPECTED_GROUP: at(6, 0x2),
      STOPPED: at(6, 0x100),
      PASID_REQUIRED: at(6, 0x8000),
      CAPACITY: at(8, 0xffffffff),
      ALLOCATION: at(12, 0xffffffff),
    },
    examples: [
      {
        quads: [0x81000001_00010013n, 0x20_00000200n],
        fields: {
          ID: 0x13,
          VERSION: 1,
          ENABLE: 1,
          STOPPED: 1,
          PASID_REQUIRED: 1,
          CAPACITY: 512,
          ALLOCATION: 32,
        },
      },
    ],
  },
  {
    layout: configuration.PASID_CAPABILITY,
    masks: {
      ...EXTENDED,
      EXECUTE_SUPPORTED: at(4, 0x2),
      PRIVILEGED_SUPPORTED: at(4, 0x4),
      WIDTH: at(4, 0x1f00),
      ENABLE: at(6, 0x1),
      EXECUTE_ENABLE: at(6, 0x2),
      PRIVILEGED_ENABLE: at(6, 0x4),
    },
    examples: [
      {
        quads: [0x00051404_2401001bn],
        fields: {
          ID: 0x1b,
          VERSION: 1,
          NEXT: 0x240,
          PRIVILEGED_SUPPORTED: 1,
          WIDTH: 20,
          ENABLE: 1,
          PRIVILEGED_ENABLE: 1,
        },
      },
    ],
  },
  {
    layout: configuration.ACS_CAPABILITY,
    masks: {
      ...EXTENDED,
      VALIDATION_SUPPORTED: at(4, 0x1),
      BLOCKING_SUPPORTED: at(4, 0x2),
      REQUEST_REDIRECT_SUPPORTED: at(4, 0x4),
      COMPLETION_REDIRECT_SUPPORTED: at(4, 0x8),
      FORWARDING_SUPPORTED: at(4, 0x10),
      EGRESS_SUPPORTED: at(4, 0x20),
      DIRECT_SUPPORTED: at(4, 0x40),
      EGRESS_SIZE: at(5, 0xff),
      VALIDATION: at(6, 0x1),
      BLOCKING: at(6, 0x2),
      REQUEST_REDIRECT: at(6, 0x4),
      COMPLETION_REDIRECT: at(6, 0x8),
      FORWARDING: at(6, 0x10),
      EGRESS: at(6, 0x20),
      DIRECT: at(6, 0x40),
    },
  },
];

describe('configuration structures', () => {
  testGolden(configuration, [HEADER, ...CAPABILITIES]);
});
