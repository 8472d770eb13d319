/**
 * What each operation of the model is made of, and the checks that a descriptor passes before it is worked on
 * (Intel DSA Architecture Specification, 341204, revision 3.0, 5.4, 5.5 and tables 5-3 to 5-5). The specification
 * leaves the order of the checks open; it is the order of the code here.
 */
import {
  DSA_COMPARE,
  DSA_COMPVAL,
  DSA_DRAIN,
  DSA_DUALCAST,
  DSA_MEMFILL,
  DSA_MEMMOVE,
  DSA_NOOP,
  type Field,
  DSA_FLAG as FLAG,
  hasBits,
  type LayoutInfo,
  maskOf,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
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

const COMMON_FLAGS = FLAG.CRAV | FLAG.RCR | FLAG.RCI | FLAG.CR_TCS;
const WITHOUT_RECORD = FLAG.RCR | FLAG.CR_TCS;
const WRITES = FLAG.BOF | FLAG.CC1 | FLAG.STORD;
const WITH_RESULT = FLAG.CRAV | FLAG.RCR;
const ANY_REPORT = FLAG.RCR | FLAG.RCI;

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

const TCS12 = FLAG.ADDR1_TCS | FLAG.ADDR2_TCS;
const OPERATIONS: readonly Operation[] = [
  operation(OP.NOOP, DSA_NOOP, {}),
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
];

const BY_OPCODE: readonly (Operation | undefined)[] = Array.from({ length: 32 }, (_, opcode) =>
  OPERATIONS.find((each) => each.opcode === opcode),
);

/** The operation of this type; undefined if the model has none. */
export const operationOf = (opcode: number): Operation | undefined => BY_OPCODE[opcode];

const { FLAGS, OPCODE, XFER_SIZE } = DSA_MEMMOVE;
const SRC_WORD = 4;
const DST_WORD = 6;
const DST2_WORD = 10;
const RECORD_WORD = 2;
const HANDLE = DSA_NOOP.HANDLE;
const PAGE_MASK = 0xfff;

/** What a work queue and the device allow a descriptor. */
export interface Allowed {
  readonly isDedicated: boolean;
  /** Operation types, a bit each. */
  readonly operations: number;
  readonly blockOnFault: boolean;
  readonly interrupts: boolean;
  readonly privileged: boolean;
  readonly maxTransfer: number;
  readonly overlappingCopy: boolean;
}

/** What was found. */
export interface Verdict {
  status: number;
  /** The flags that are invalid or missing, where that is the status. */
  invalidFlags: number;
}

/**
 * Checks a descriptor, all but its interrupt handle. A verdict of status NONE lets it pass.
 *
 * @param words the descriptor
 * @param allowed what its queue allows
 * @param out takes the verdict
 */
export function checkDescriptor(words: Int32Array, allowed: Allowed, out: Verdict): void {
  out.invalidFlags = 0;
  const flags = FLAGS.get(words, 0);
  const record = words[RECORD_WORD] ?? 0;
  if ((flags & FLAG.CRAV) !== 0 && (record & 31) !== 0) {
    out.status = STATUS.RECORD_ALIGNMENT;
    return;
  }
  const opcode = OPCODE.get(words, 0);
  const operation =
    opcode < 32 && ((allowed.operations >>> opcode) & 1) !== 0 ? operationOf(opcode) : undefined;
  if (operation === undefined) {
    out.status = STATUS.BAD_OPCODE;
    return;
  }
  out.invalidFlags = invalidFlags(flags, operation, allowed);
  if (out.invalidFlags !== 0) out.status = STATUS.INVALID_FLAGS;
  else if (hasReserved(words, flags, { operation, allowed })) out.status = STATUS.RESERVED_FIELD;
  else if (!allowed.isDedicated && (words[0] ?? 0) < 0 && !allowed.privileged) out.status = STATUS.PRIVILEGE;
  else out.status = operation.hasSize ? bufferStatus(words, operation, allowed) : STATUS.NONE;
}

function invalidFlags(flags: number, operation: Operation, allowed: Allowed): number {
  let permitted = COMMON_FLAGS | operation.flags;
  if ((flags & FLAG.CRAV) === 0) permitted &= ~WITHOUT_RECORD;
  if (!allowed.blockOnFault) permitted &= ~FLAG.BOF;
  if (!allowed.interrupts) permitted &= ~FLAG.RCI;
  const missing = operation.required & ~flags;
  const isMissing = operation.opcode === OP.DRAIN ? missing === ANY_REPORT : missing !== 0;
  return (flags & ~permitted) | (isMissing ? missing : 0);
}

function hasReserved(
  words: Int32Array,
  flags: number,
  { operation, allowed }: { operation: Operation; allowed: Allowed },
): boolean {
  if (hasBits(operation.reserved, words, 0)) return true;
  if (!allowed.isDedicated && ((words[0] ?? 0) & operation.headReserved) !== 0) return true;
  const isRecordSet = ((words[RECORD_WORD] ?? 0) | (words[RECORD_WORD + 1] ?? 0)) !== 0;
  if ((flags & FLAG.CRAV) === 0 && isRecordSet) return true;
  return (flags & FLAG.RCI) === 0 && HANDLE.get(words, 0) !== 0;
}

function bufferStatus(words: Int32Array, operation: Operation, allowed: Allowed): number {
  const size = XFER_SIZE.get(words, 0);
  if (size === 0 || size > allowed.maxTransfer) return STATUS.TRANSFER_SIZE;
  if (operation.opcode === OP.MEMMOVE && !allowed.overlappingCopy) {
    return overlap(words, SRC_WORD, DST_WORD) ? STATUS.OVERLAP : STATUS.NONE;
  }
  if (operation.opcode !== OP.DUALCAST) return STATUS.NONE;
  const differ = (words[DST_WORD] ?? 0) ^ (words[DST2_WORD] ?? 0);
  if ((differ & PAGE_MASK) !== 0) return STATUS.DUALCAST_ADDRESSES;
  const overlaps =
    overlap(words, SRC_WORD, DST_WORD) ||
    overlap(words, SRC_WORD, DST2_WORD) ||
    overlap(words, DST_WORD, DST2_WORD);
  return overlaps ? STATUS.OVERLAP : STATUS.NONE;
}

/** Whether two buffers of the transfer size overlap; their addresses lie at `words[a]` and `words[b]`. */
function overlap(words: Int32Array, a: number, b: number): boolean {
  const size = XFER_SIZE.get(words, 0);
  const distance = distanceOf(words, a, b);
  return distance < size || distanceOf(words, b, a) < size;
}

/** How far the address at `words[to]` lies above the one at `words[from]`, modulo 2^64; rounded above 2^53. */
export function distanceOf(words: Int32Array, from: number, to: number): number {
  const lo = ((words[to] ?? 0) >>> 0) - ((words[from] ?? 0) >>> 0);
  const borrow = lo < 0 ? 1 : 0;
  const hi = ((words[to + 1] ?? 0) - (words[from + 1] ?? 0) - borrow) >>> 0;
  return hi * 2 ** 32 + (lo >>> 0);
}
