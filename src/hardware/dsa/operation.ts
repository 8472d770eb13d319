/**
 * What each operation of the model is made of: its buffers, its flags, what must be zero (Intel DSA Architecture
 * Specification, 341204, revision 3.0, 5.4, 8.3 and tables 5-3 to 5-5).
 */
import {
  DSA_APPLY_DELTA,
  DSA_BATCH,
  DSA_CFLUSH,
  DSA_COMPARE,
  DSA_COMPVAL,
  DSA_CRC,
  DSA_CREATE_DELTA,
  DSA_DIF_CHECK,
  DSA_DIF_INSERT,
  DSA_DIF_UPDATE,
  DSA_DRAIN,
  DSA_DUALCAST,
  DSA_MEMFILL,
  DSA_MEMMOVE,
  DSA_NOOP,
  type Field,
  DSA_FLAG as FLAG,
  type LayoutInfo,
  maskOf,
  DSA_OPCODE as OP,
} from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';

/** OPERAND of a completion record (8.2.3). */
export const OPERAND = { SOURCE: 1, SOURCE2: 2, DESTINATION: 3, DESTINATION2: 4, RECORD: 5 } as const;

/** A buffer that an operation reads or writes. */
export interface OperandKind {
  /** The descriptor's word that its address begins at. */
  readonly word: number;
  /** READ or WRITE. */
  readonly right: number;
  /** One of {@link OPERAND}. */
  readonly id: number;
}

/** An operation type. */
export interface Operation {
  readonly opcode: number;
  readonly operands: readonly OperandKind[];
  /** Flags that it allows beside {@link COMMON_FLAGS}. */
  readonly flags: number;
  /** Flags that must be set; for a drain, one of them. */
  readonly required: number;
  readonly hasSize: boolean;
  /** The bits that must be zero in a descriptor of a dedicated WQ; a shared one's first word is checked too. */
  readonly reserved: Int32Array;
  readonly headReserved: number;
}

/** What every operation allows; FENCE is for those of a batch alone. */
export const COMMON_FLAGS = FLAG.CRAV | FLAG.RCR | FLAG.RCI | FLAG.CR_TCS;
const WRITES = FLAG.BOF | FLAG.CC1 | FLAG.STORD;
const WITH_RESULT = FLAG.CRAV | FLAG.RCR;
/** A drain reports somewhere. */
export const ANY_REPORT = FLAG.RCR | FLAG.RCI;

const source = (word: number): OperandKind => ({ word, right: RIGHT.READ, id: OPERAND.SOURCE });
const source2 = (word: number): OperandKind => ({ word, right: RIGHT.READ, id: OPERAND.SOURCE2 });
const target = (word: number): OperandKind => ({ word, right: RIGHT.WRITE, id: OPERAND.DESTINATION });
const target2 = (word: number): OperandKind => ({ word, right: RIGHT.WRITE, id: OPERAND.DESTINATION2 });

function operation(
  opcode: number,
  layout: LayoutInfo,
  rest: { operands?: readonly OperandKind[]; flags?: number; required?: number; unused?: readonly Field[] },
): Operation {
  const { operands = [], flags = 0, required = 0, unused = [] } = rest;
  const unusedBits = maskOf(layout, ...unused);
  const reserved = layout.reserved.map((bits, i) => bits | (unusedBits[i] ?? 0));
  const headReserved = reserved[0] ?? 0;
  reserved[0] = 0;
  return { opcode, operands, flags, required, hasSize: operands.length > 0, reserved, headReserved };
}

/** A cache flush reads and writes nothing; it needs a page that can be read. */
const flushed = (word: number): OperandKind => ({ word, right: RIGHT.READ, id: OPERAND.DESTINATION });

const CRC = FLAG.ADDR3_TCS | FLAG.CRC_READ_SEED | FLAG.CRC_BYPASS_INVERSION | FLAG.CRC_BYPASS_DATA_REFLECTION;
const TCS12 = FLAG.ADDR1_TCS | FLAG.ADDR2_TCS;
const OPERATIONS: readonly Operation[] = [
  operation(OP.NOOP, DSA_NOOP, {}),
  operation(OP.BATCH, DSA_BATCH, { flags: FLAG.ADDR1_TCS }),
  operation(OP.DRAIN, DSA_DRAIN, {
    required: ANY_REPORT,
    unused: [DSA_DRAIN.READBACK1, DSA_DRAIN.READBACK2],
  }),
  operation(OP.MEMMOVE, DSA_MEMMOVE, { operands: [source(4), target(6)], flags: WRITES | TCS12 }),
  operation(OP.MEMFILL, DSA_MEMFILL, {
    operands: [target(6)],
    flags: WRITES | FLAG.ADDR2_TCS,
    unused: [DSA_MEMFILL.PATTERN_UPPER],
  }),
  operation(OP.COMPARE, DSA_COMPARE, {
    operands: [source(4), source2(6)],
    flags: FLAG.BOF | FLAG.CHECK_RESULT | TCS12,
    required: WITH_RESULT,
  }),
  operation(OP.COMPVAL, DSA_COMPVAL, {
    operands: [source(4)],
    flags: FLAG.BOF | FLAG.CHECK_RESULT | FLAG.ADDR1_TCS,
    required: WITH_RESULT,
  }),
  operation(OP.DUALCAST, DSA_DUALCAST, {
    operands: [source(4), target(6), target2(10)],
    flags: WRITES | TCS12 | FLAG.ADDR3_TCS,
  }),
  operation(OP.CREATE_DELTA, DSA_CREATE_DELTA, {
    operands: [source(4), source2(6), target(10)],
    flags: WRITES | FLAG.CHECK_RESULT | TCS12 | FLAG.ADDR3_TCS,
    required: WITH_RESULT,
  }),
  operation(OP.APPLY_DELTA, DSA_APPLY_DELTA, {
    operands: [source(4), target(6)],
    flags: WRITES | TCS12,
  }),
  operation(OP.CRCGEN, DSA_CRC, {
    operands: [source(4), source2(12)],
    flags: FLAG.BOF | FLAG.ADDR1_TCS | CRC,
    required: WITH_RESULT,
    unused: [DSA_CRC.DST],
  }),
  operation(OP.COPY_CRC, DSA_CRC, {
    operands: [source(4), source2(12), target(6)],
    flags: WRITES | TCS12 | CRC,
    required: WITH_RESULT,
  }),
  operation(OP.DIF_CHECK, DSA_DIF_CHECK, {
    operands: [source(4)],
    flags: FLAG.BOF | FLAG.ADDR1_TCS,
    unused: [DSA_DIF_CHECK.DST],
  }),
  operation(OP.DIF_INSERT, DSA_DIF_INSERT, { operands: [source(4), target(6)], flags: WRITES | TCS12 }),
  operation(OP.DIF_STRIP, DSA_DIF_CHECK, { operands: [source(4), target(6)], flags: WRITES | TCS12 }),
  operation(OP.DIF_UPDATE, DSA_DIF_UPDATE, { operands: [source(4), target(6)], flags: WRITES | TCS12 }),
  operation(OP.CFLUSH, DSA_CFLUSH, { operands: [flushed(6)], flags: WRITES | FLAG.ADDR2_TCS }),
];

/** The operations of the model, a bit each, as OPCAP has them. */
export const DSA_OPERATIONS = OPERATIONS.reduce((bits, { opcode }) => bits | (1n << BigInt(opcode)), 0n);

const BY_OPCODE: readonly (Operation | undefined)[] = Array.from({ length: 256 }, (_, opcode) =>
  OPERATIONS.find((each) => each.opcode === opcode),
);

/** The operation of this type; undefined if the model has none. */
export const operationOf = (opcode: number): Operation | undefined => BY_OPCODE[opcode];
