/**
 * Entries of the event log, and completion records in them that the device could not write, as their page was missing:
 * the driver, which can have pages, writes them where they should be (Linux's `idxd_copy_cr`). The status is last: who
 * polls for it finds the rest.
 */
import { isRefusal, type Task } from '../../base/index.js';
import { DSA_EVENT, DSA_RECORD, DSA_STATUS, DSA_SWERROR_REG } from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { PAGE_BYTES, paOf } from '../ids.js';
import type { AddressSpace } from '../mm/address-space.js';

const RECORD_AT = DSA_EVENT.RECORD0.low / 8;
/** The part with the status, which is stored at once. */
const HEAD_BYTES = 8;
const LOST: readonly number[] = [
  DSA_STATUS.RECORD_FAULT,
  DSA_STATUS.DRAIN_RECORD_FAULT,
  DSA_STATUS.BATCH_RECORD_FAULT,
];

/** In the information of an error: an interrupt was asked for, by this handle. */
const HANDLE_BITS = 0xffff;
const INTERRUPT = 1 << 16;

/** The error of an entry of the log, as SWERROR has it. */
export function errorOf(entry: Int32Array): Int32Array {
  const words = entry.slice(0, DSA_SWERROR_REG.bytes / 4);
  DSA_EVENT.BATCH_ID.set(words, 0, 0);
  DSA_SWERROR_REG.VALID.set(words, 0, 1);
  return words;
}

/** Whose descriptor an entry is about. */
export const pasidOf = (entry: Int32Array): number => DSA_EVENT.PASID.get(entry, 0);

/** The handle of the interrupt that was not sent, as the record could not be written. */
export function lostInterrupt(entry: Int32Array): number | undefined {
  const info = DSA_EVENT.INFO.get(entry, 0);
  return (info & INTERRUPT) === 0 ? undefined : info & HANDLE_BITS;
}

/** Whether an entry of the log has a record that belongs elsewhere. */
export const hasLostRecord = (entry: Int32Array): boolean => LOST.includes(DSA_EVENT.ERROR.get(entry, 0));

/** Writes the record of an entry into the memory of who has submitted, if that is still to be had. */
export function* writeRecord(context: KernelContext, mm: AddressSpace, entry: Int32Array): Task {
  if (!mm.tryUse()) return;
  try {
    const address = Number(DSA_EVENT.ADDR.getBig(entry, 0));
    const page = Math.floor(address / PAGE_BYTES);
    const frames = yield* mm.holdPages({ first: page, count: 1 }, true);
    if (isRefusal(frames)) return;
    const [frame = 0] = frames;
    const record = new Uint8Array(entry.buffer, RECORD_AT, DSA_RECORD.bytes);
    const at = paOf(frame, address % PAGE_BYTES);
    const { memory } = context.platform;
    memory.write(at + HEAD_BYTES, record.subarray(HEAD_BYTES));
    memory.write(at, record.subarray(0, HEAD_BYTES));
    context.frames.release(frame);
    tell(context, 'idxd:record', { mm: mm.name, pasid: mm.pasid ?? null });
  } finally {
    yield* mm.put();
  }
}
