/**
 * The checks that a descriptor passes before it is worked on (Intel DSA Architecture Specification, 341204, revision
 * 3.0, 5.4, 5.5 and tables 5-3 to 5-5). The specification leaves the order of the checks open; it is the order of
 * the code here.
 */
import {
  DSA_APPLY_DELTA,
  DSA_BATCH,
  DSA_CRC,
  DSA_CREATE_DELTA,
  DSA_DIF_UPDATE,
  DSA_MEMMOVE,
  DSA_NOOP,
  DSA_FLAG as FLAG,
  hasBits,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { blockOf, DIF_BYTES, DIF_FLAGS_RESERVED, DIF_TARGET, DIF_TARGET_RESERVED } from './dif-tags.js';
import { ANY_REPORT, COMMON_FLAGS, type Operation, operationOf } from './operation.js';

const WITHOUT_RECORD = FLAG.RCR | FLAG.CR_TCS;
const { FLAGS, OPCODE, XFER_SIZE } = DSA_MEMMOVE;
const SRC_WORD = 4;
const DST_WORD = 6;
const DST2_WORD = 10;
const RECORD_WORD = 2;
const HANDLE = DSA_NOOP.HANDLE;
const SEED_WORD = DSA_CRC.SEED_ADDR.low / 32;
const PAGE_MASK = 0xfff;
const SMALLEST_BATCH = 2;
const LIST_MASK = 63;
/** A delta record has entries of ten bytes: which unit of eight bytes, and what that becomes (8.3.8). */
const DELTA_UNIT = 8;
const DELTA_ENTRY_BYTES = 10;
const MIN_DELTA_RECORD = 80;
const MAX_DELTA_TRANSFER = 2 ** 16 * DELTA_UNIT;

/** What a work queue and the device allow a descriptor. */
export interface Allowed {
  /** The PASID and privilege are not the descriptor's own: of a dedicated queue, or in a batch. */
  readonly ignoresHead: boolean;
  readonly inBatch: boolean;
  /** Its operation type. */
  readonly operation: boolean;
  readonly blockOnFault: boolean;
  readonly interrupts: boolean;
  readonly privileged: boolean;
  readonly maxTransfer: number;
  readonly maxBatch: number;
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
  const operation = allowed.operation ? operationOf(opcode) : undefined;
  if (operation === undefined) {
    out.status = STATUS.BAD_OPCODE;
    return;
  }
  out.invalidFlags = invalidFlags(flags, operation, allowed);
  if (out.invalidFlags !== 0) out.status = STATUS.INVALID_FLAGS;
  else if (hasReserved(words, flags, { operation, allowed })) out.status = STATUS.RESERVED_FIELD;
  else if (!allowed.ignoresHead && (words[0] ?? 0) < 0 && !allowed.privileged) out.status = STATUS.PRIVILEGE;
  else if (opcode === OP.BATCH) out.status = batchStatus(words, allowed.maxBatch);
  else out.status = operation.hasSize ? bufferStatus(words, operation, allowed) : STATUS.NONE;
}

function invalidFlags(flags: number, operation: Operation, allowed: Allowed): number {
  let permitted = COMMON_FLAGS | operation.flags;
  if ((flags & FLAG.CRAV) === 0) permitted &= ~WITHOUT_RECORD;
  if (allowed.inBatch) permitted |= FLAG.FENCE;
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
  if (!allowed.ignoresHead && ((words[0] ?? 0) & operation.headReserved) !== 0) return true;
  const isRecordSet = ((words[RECORD_WORD] ?? 0) | (words[RECORD_WORD + 1] ?? 0)) !== 0;
  if ((flags & FLAG.CRAV) === 0 && isRecordSet) return true;
  return (flags & FLAG.RCI) === 0 && HANDLE.get(words, 0) !== 0;
}

function batchStatus(words: Int32Array, largest: number): number {
  const count = DSA_BATCH.COUNT.get(words, 0);
  if (count < SMALLEST_BATCH || count > largest) return STATUS.DESCRIPTOR_COUNT;
  return ((words[SRC_WORD] ?? 0) & LIST_MASK) === 0 ? STATUS.NONE : STATUS.LIST_ALIGNMENT;
}

function bufferStatus(words: Int32Array, operation: Operation, allowed: Allowed): number {
  const size = XFER_SIZE.get(words, 0);
  if (size === 0 || size > allowed.maxTransfer) return STATUS.TRANSFER_SIZE;
  switch (operation.opcode) {
    case OP.MEMMOVE:
      return !allowed.overlappingCopy && overlap(words, SRC_WORD, DST_WORD) ? STATUS.OVERLAP : STATUS.NONE;
    case OP.COPY_CRC:
      return overlap(words, SRC_WORD, DST_WORD) ? STATUS.OVERLAP : seedStatus(words);
    case OP.CRCGEN:
      return seedStatus(words);
    case OP.DUALCAST:
      return dualcastStatus(words);
    case OP.CREATE_DELTA:
      return createDeltaStatus(words, size);
    case OP.APPLY_DELTA:
      return applyDeltaStatus(words, size);
    case OP.DIF_CHECK:
    case OP.DIF_INSERT:
    case OP.DIF_STRIP:
    case OP.DIF_UPDATE:
      return difStatus(words, operation.opcode, size);
    default:
      return STATUS.NONE;
  }
}

function dualcastStatus(words: Int32Array): number {
  const differ = (words[DST_WORD] ?? 0) ^ (words[DST2_WORD] ?? 0);
  if ((differ & PAGE_MASK) !== 0) return STATUS.DUALCAST_ADDRESSES;
  const overlaps =
    overlap(words, SRC_WORD, DST_WORD) ||
    overlap(words, SRC_WORD, DST2_WORD) ||
    overlap(words, DST_WORD, DST2_WORD);
  return overlaps ? STATUS.OVERLAP : STATUS.NONE;
}

/** A seed in memory is a doubleword, which lies in one page. Without one, its address is reserved. */
function seedStatus(words: Int32Array): number {
  const low = words[SEED_WORD] ?? 0;
  if ((FLAGS.get(words, 0) & FLAG.CRC_READ_SEED) !== 0) {
    return (low & 3) === 0 ? STATUS.NONE : STATUS.ADDRESS_ALIGNMENT;
  }
  return low === 0 && words[SEED_WORD + 1] === 0 ? STATUS.NONE : STATUS.RESERVED_FIELD;
}

function createDeltaStatus(words: Int32Array, size: number): number {
  const largest = DSA_CREATE_DELTA.MAX_DELTA_SIZE.get(words, 0);
  if (size % DELTA_UNIT !== 0 || size > MAX_DELTA_TRANSFER) return STATUS.TRANSFER_SIZE;
  if (largest % DELTA_ENTRY_BYTES !== 0 || largest < MIN_DELTA_RECORD) return STATUS.FIELD_VALUE;
  const low = (words[SRC_WORD] ?? 0) | (words[DST_WORD] ?? 0) | (words[DST2_WORD] ?? 0);
  if ((low & (DELTA_UNIT - 1)) !== 0) return STATUS.ADDRESS_ALIGNMENT;
  const overlaps =
    distanceOf(words, SRC_WORD, DST2_WORD) < size ||
    distanceOf(words, DST2_WORD, SRC_WORD) < largest ||
    distanceOf(words, DST_WORD, DST2_WORD) < size ||
    distanceOf(words, DST2_WORD, DST_WORD) < largest;
  return overlaps ? STATUS.OVERLAP : STATUS.NONE;
}

function applyDeltaStatus(words: Int32Array, size: number): number {
  const record = DSA_APPLY_DELTA.DELTA_SIZE.get(words, 0);
  if (size % DELTA_UNIT !== 0 || size > MAX_DELTA_TRANSFER) return STATUS.TRANSFER_SIZE;
  if (record === 0 || record % DELTA_ENTRY_BYTES !== 0) return STATUS.FIELD_VALUE;
  const low = (words[SRC_WORD] ?? 0) | (words[DST_WORD] ?? 0);
  if ((low & (DELTA_UNIT - 1)) !== 0) return STATUS.ADDRESS_ALIGNMENT;
  const overlaps =
    distanceOf(words, SRC_WORD, DST_WORD) < record || distanceOf(words, DST_WORD, SRC_WORD) < size;
  return overlaps ? STATUS.OVERLAP : STATUS.NONE;
}

function difStatus(words: Int32Array, opcode: number, size: number): number {
  const flags = DSA_DIF_UPDATE.FLAGS_DIF.get(words, 0);
  const targetFlags = DSA_DIF_UPDATE.DST_FLAGS.get(words, 0);
  const { PASS_APP, PASS_GUARD, PASS_REF } = DIF_TARGET;
  const passes = opcode === OP.DIF_INSERT ? PASS_APP | PASS_GUARD | PASS_REF : 0;
  if ((flags & DIF_FLAGS_RESERVED) !== 0 || (targetFlags & (DIF_TARGET_RESERVED | passes)) !== 0) {
    return STATUS.RESERVED_FIELD;
  }
  const block = blockOf(flags);
  const step = opcode === OP.DIF_INSERT ? block : block + DIF_BYTES;
  if (size % step !== 0) return STATUS.TRANSFER_SIZE;
  if (opcode === OP.DIF_CHECK) return STATUS.NONE;
  const written = (size / step) * (opcode === OP.DIF_STRIP ? block : block + DIF_BYTES);
  const overlaps =
    distanceOf(words, SRC_WORD, DST_WORD) < size || distanceOf(words, DST_WORD, SRC_WORD) < written;
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
