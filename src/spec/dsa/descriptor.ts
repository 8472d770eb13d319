/**
 * Intel DSA's descriptors (64 bytes) and completion records (32 bytes), one layout for each operation type whose
 * fields differ (Intel DSA Architecture Specification, 341204, revision 3.0, 8.1 to 8.3). What an operation has
 * no field for is reserved in its layout.
 */
import { layout } from '../layout.js';
import { DSA_OPCODE_NAMES, DSA_STATUS_NAMES } from './codes.js';

const SOURCE = 'Intel DSA 3.0, 8.3';

const HEAD = {
  PASID: [19, 0, 'PASID of the submitter; a dedicated WQ ignores it'],
  PRIV: [31, 'privilege of the submitter; a dedicated WQ ignores it'],
  FLAGS: [55, 32, 'flags'],
  OPCODE: [63, 56, 'operation', DSA_OPCODE_NAMES],
  RECORD: [127, 64, 'completion record address'],
  HANDLE: [303, 288, 'completion interrupt handle'],
} as const;

const SIZE = { XFER_SIZE: [287, 256, 'transfer size in bytes'] } as const;
const SRC = { SRC: [191, 128, 'source address'] } as const;
const DST = { DST: [255, 192, 'destination address'] } as const;
const EXPECTED = { EXPECTED: [327, 320, 'expected result'] } as const;

/** Also what every descriptor has. */
export const DSA_NOOP = layout('DSA no-op descriptor', 64, SOURCE, HEAD);
export const DSA_BATCH = layout('DSA batch descriptor', 64, SOURCE, {
  ...HEAD,
  LIST: [191, 128, 'descriptor list address'],
  COUNT: [287, 256, 'descriptor count'],
});
export const DSA_DRAIN = layout('DSA drain descriptor', 64, SOURCE, {
  ...HEAD,
  READBACK1: [191, 128, 'readback address 1'],
  READBACK2: [255, 192, 'readback address 2'],
});
export const DSA_MEMMOVE = layout('DSA memory move descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  ...DST,
});
export const DSA_MEMFILL = layout('DSA fill descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...DST,
  PATTERN: [191, 128, 'pattern'],
  PATTERN_UPPER: [383, 320, 'second half of a pattern of 16 bytes'],
});
export const DSA_COMPARE = layout('DSA compare descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  SRC1: [191, 128, 'source 1 address'],
  SRC2: [255, 192, 'source 2 address'],
  ...EXPECTED,
});
export const DSA_COMPVAL = layout('DSA compare pattern descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  PATTERN: [255, 192, 'pattern'],
  ...EXPECTED,
});
export const DSA_CREATE_DELTA = layout('DSA create delta record descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  SRC1: [191, 128, 'source 1 address'],
  SRC2: [255, 192, 'source 2 address'],
  DELTA: [383, 320, 'delta record address'],
  MAX_DELTA_SIZE: [415, 384, 'maximum delta record size'],
  EXPECTED_MASK: [455, 448, 'expected result mask'],
});
export const DSA_APPLY_DELTA = layout('DSA apply delta record descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  DELTA: [191, 128, 'delta record address'],
  ...DST,
  DELTA_SIZE: [351, 320, 'delta record size'],
});
export const DSA_DUALCAST = layout('DSA memory copy with dualcast descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  DST1: [255, 192, 'destination 1 address'],
  DST2: [383, 320, 'destination 2 address'],
});
export const DSA_CRC = layout('DSA CRC generation or copy with CRC descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  ...DST,
  SEED: [351, 320, 'CRC seed'],
  SEED_ADDR: [447, 384, 'CRC seed address'],
});
export const DSA_DIF_CHECK = layout('DSA DIF check or strip descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  ...DST,
  SRC_FLAGS: [327, 320, 'source DIF flags'],
  FLAGS_DIF: [343, 336, 'DIF flags'],
  REF_TAG: [415, 384, 'reference tag seed'],
  APP_MASK: [431, 416, 'application tag mask'],
  APP_TAG: [447, 432, 'application tag seed'],
});
export const DSA_DIF_INSERT = layout('DSA DIF insert descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  ...DST,
  DST_FLAGS: [335, 328, 'destination DIF flags'],
  FLAGS_DIF: [343, 336, 'DIF flags'],
  REF_TAG: [479, 448, 'reference tag seed'],
  APP_MASK: [495, 480, 'application tag mask'],
  APP_TAG: [511, 496, 'application tag seed'],
});
export const DSA_DIF_UPDATE = layout('DSA DIF update descriptor', 64, SOURCE, {
  ...HEAD,
  ...SIZE,
  ...SRC,
  ...DST,
  SRC_FLAGS: [327, 320, 'source DIF flags'],
  DST_FLAGS: [335, 328, 'destination DIF flags'],
  FLAGS_DIF: [343, 336, 'DIF flags'],
  SRC_REF_TAG: [415, 384, 'source reference tag seed'],
  SRC_APP_MASK: [431, 416, 'source application tag mask'],
  SRC_APP_TAG: [447, 432, 'source application tag seed'],
  DST_REF_TAG: [479, 448, 'destination reference tag seed'],
  DST_APP_MASK: [495, 480, 'destination application tag mask'],
  DST_APP_TAG: [511, 496, 'destination application tag seed'],
});
export const DSA_CFLUSH = layout('DSA cache flush descriptor', 64, SOURCE, { ...HEAD, ...SIZE, ...DST });

const RECORD_HEAD = {
  STATUS: [5, 0, 'status', DSA_STATUS_NAMES],
  WRITE: [7, 'the access that faulted was a write'],
  RESULT: [15, 8, 'result'],
  MASKED: [16, 'the fault address is not available'],
  OPERAND: [
    19,
    17,
    'the operand that faulted',
    { 1: 'source', 2: 'source 2', 3: 'destination', 4: 'destination 2', 5: 'completion record' },
  ],
  COMPLETED: [63, 32, 'bytes completed; of a compare, where the first difference is'],
  FAULT: [127, 64, 'fault address'],
} as const;

/** What most operations report. */
export const DSA_RECORD = layout('DSA completion record', 32, 'Intel DSA 3.0, 8.2', {
  ...RECORD_HEAD,
  INVALID_FLAGS: [151, 128, 'the flags that are invalid'],
});
export const DSA_DELTA_RECORD = layout('DSA create delta completion record', 32, SOURCE, {
  ...RECORD_HEAD,
  DELTA_SIZE: [159, 128, 'delta record size'],
});
export const DSA_CRC_RECORD = layout('DSA CRC completion record', 32, SOURCE, {
  ...RECORD_HEAD,
  CRC: [191, 128, 'CRC value'],
});
export const DSA_DIF_RECORD = layout('DSA DIF completion record', 32, SOURCE, {
  ...RECORD_HEAD,
  SRC_REF_TAG: [159, 128, 'source reference tag; reserved for insert'],
  SRC_APP_MASK: [175, 160, 'source application tag mask; reserved for insert'],
  SRC_APP_TAG: [191, 176, 'source application tag; reserved for insert'],
  DST_REF_TAG: [223, 192, 'destination reference tag; for insert and update'],
  DST_APP_MASK: [239, 224, 'destination application tag mask; for insert and update'],
  DST_APP_TAG: [255, 240, 'destination application tag; for insert and update'],
});
