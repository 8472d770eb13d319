/**
 * Intel DSA's descriptors and completion records against the packed structures of Linux
 * (`include/uapi/linux/idxd.h`): each field's byte offset and size there, as a mask.
 */
import { describe, expect, test } from 'vitest';
import { type Golden, testGolden } from '../../../test/golden.js';
import { DSA_OPCODE, DSA_STATUS } from './codes.js';
import * as descriptors from './descriptor.js';

/** `bytes` bytes at byte `offset`. */
function at(offset: number, bytes: number): readonly [number, bigint] {
  return [offset >> 3, ((1n << BigInt(bytes * 8)) - 1n) << BigInt((offset % 8) * 8)];
}

const HEAD = {
  PASID: [0, 0xfffffn],
  PRIV: [0, 0x80000000n],
  FLAGS: at(4, 3),
  OPCODE: at(7, 1),
  RECORD: at(8, 8),
  HANDLE: at(36, 2),
} as const;
const SIZED = { ...HEAD, XFER_SIZE: at(32, 4) } as const;
const SRC = { SRC: at(16, 8) } as const;
const DST = { DST: at(24, 8) } as const;
const SRC_TAGS = { SRC_REF_TAG: at(48, 4), SRC_APP_MASK: at(52, 2), SRC_APP_TAG: at(54, 2) } as const;
const DST_TAGS = { DST_REF_TAG: at(56, 4), DST_APP_MASK: at(60, 2), DST_APP_TAG: at(62, 2) } as const;
const RECORD = {
  STATUS: [0, 0x3fn],
  WRITE: [0, 0x80n],
  RESULT: at(1, 1),
  MASKED: [0, 0x10000n],
  OPERAND: [0, 0xe0000n],
  COMPLETED: at(4, 4),
  FAULT: at(8, 8),
} as const;

const DESCRIPTORS: readonly Golden[] = [
  {
    layout: descriptors.DSA_NOOP,
    masks: HEAD,
    examples: [
      {
        quads: [0x0000000c0000002an, 0x1000n, 0n, 0n, 0n, 0n, 0n, 0n],
        fields: { PASID: 42, FLAGS: 12, RECORD: 4096 },
      },
    ],
  },
  { layout: descriptors.DSA_BATCH, masks: { ...HEAD, LIST: at(16, 8), COUNT: at(32, 4) } },
  { layout: descriptors.DSA_DRAIN, masks: { ...HEAD, READBACK1: at(16, 8), READBACK2: at(24, 8) } },
  {
    layout: descriptors.DSA_MEMMOVE,
    masks: { ...SIZED, ...SRC, ...DST },
    examples: [
      {
        quads: [0x0300000e0000002an, 0x3000n, 0x1000n, 0x2000n, 0x0000000700000040n, 0n, 0n, 0n],
        fields: {
          PASID: 42,
          FLAGS: 14,
          OPCODE: 3,
          RECORD: 0x3000,
          SRC: 0x1000,
          DST: 0x2000,
          XFER_SIZE: 64,
          HANDLE: 7,
        },
      },
    ],
  },
  {
    layout: descriptors.DSA_MEMFILL,
    masks: { ...SIZED, ...DST, PATTERN: at(16, 8), PATTERN_UPPER: at(40, 8) },
  },
  {
    layout: descriptors.DSA_COMPARE,
    masks: { ...SIZED, SRC1: at(16, 8), SRC2: at(24, 8), EXPECTED: at(40, 1) },
  },
  { layout: descriptors.DSA_COMPVAL, masks: { ...SIZED, ...SRC, PATTERN: at(24, 8), EXPECTED: at(40, 1) } },
  {
    layout: descriptors.DSA_CREATE_DELTA,
    masks: {
      ...SIZED,
      ...{ SRC1: at(16, 8), SRC2: at(24, 8), DELTA: at(40, 8), MAX_DELTA_SIZE: at(48, 4) },
      EXPECTED_MASK: at(56, 1),
    },
  },
  {
    layout: descriptors.DSA_APPLY_DELTA,
    masks: { ...SIZED, ...DST, DELTA: at(16, 8), DELTA_SIZE: at(40, 4) },
  },
  { layout: descriptors.DSA_DUALCAST, masks: { ...SIZED, ...SRC, DST1: at(24, 8), DST2: at(40, 8) } },
  { layout: descriptors.DSA_CRC, masks: { ...SIZED, ...SRC, ...DST, SEED: at(40, 4), SEED_ADDR: at(48, 8) } },
  {
    layout: descriptors.DSA_DIF_CHECK,
    masks: {
      ...{ ...SIZED, ...SRC, ...DST, SRC_FLAGS: at(40, 1), FLAGS_DIF: at(42, 1) },
      ...{ REF_TAG: at(48, 4), APP_MASK: at(52, 2), APP_TAG: at(54, 2) },
    },
  },
  {
    layout: descriptors.DSA_DIF_INSERT,
    masks: {
      ...{ ...SIZED, ...SRC, ...DST, DST_FLAGS: at(41, 1), FLAGS_DIF: at(42, 1) },
      ...{ REF_TAG: at(56, 4), APP_MASK: at(60, 2), APP_TAG: at(62, 2) },
    },
  },
  {
    layout: descriptors.DSA_DIF_UPDATE,
    masks: {
      ...{ ...SIZED, ...SRC, ...DST, SRC_FLAGS: at(40, 1), DST_FLAGS: at(41, 1), FLAGS_DIF: at(42, 1) },
      ...{ ...SRC_TAGS, ...DST_TAGS },
    },
  },
  { layout: descriptors.DSA_CFLUSH, masks: { ...SIZED, ...DST } },
];

const RECORDS: readonly Golden[] = [
  {
    layout: descriptors.DSA_RECORD,
    masks: { ...RECORD, INVALID_FLAGS: at(16, 3) },
    examples: [
      {
        quads: [0x0000100000060083n, 0x7f0000001000n, 0n, 0n],
        fields: { STATUS: 3, WRITE: 1, OPERAND: 3, COMPLETED: 4096, FAULT: 0x7f0000001000n },
      },
    ],
  },
  { layout: descriptors.DSA_DELTA_RECORD, masks: { ...RECORD, DELTA_SIZE: at(16, 4) } },
  { layout: descriptors.DSA_CRC_RECORD, masks: { ...RECORD, CRC: at(16, 8) } },
  {
    layout: descriptors.DSA_DIF_RECORD,
    masks: {
      ...RECORD,
      ...{ SRC_REF_TAG: at(16, 4), SRC_APP_MASK: at(20, 2), SRC_APP_TAG: at(22, 2) },
      ...{ DST_REF_TAG: at(24, 4), DST_APP_MASK: at(28, 2), DST_APP_TAG: at(30, 2) },
    },
  },
];

describe('Intel DSA descriptors and completion records', () => {
  testGolden(descriptors, [...DESCRIPTORS, ...RECORDS]);

  test('operations and statuses have the numbers of Linux', () => {
    const { NOOP, MEMMOVE, COMPVAL, DUALCAST, CRCGEN, DIF_UPDATE, CFLUSH } = DSA_OPCODE;
    expect([NOOP, MEMMOVE, COMPVAL, DUALCAST, CRCGEN, DIF_UPDATE, CFLUSH]).toEqual([0, 3, 6, 9, 16, 21, 32]);
    const { SUCCESS, DIF_ERROR, BAD_OPCODE, OVERLAP, RECORD_FAULT, TRANSLATION_ERROR } = DSA_STATUS;
    expect([SUCCESS, DIF_ERROR, BAD_OPCODE, OVERLAP, RECORD_FAULT, TRANSLATION_ERROR]).toEqual([
      1, 9, 16, 22, 26, 34,
    ]);
  });
});
