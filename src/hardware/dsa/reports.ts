/**
 * What an engine tells of errors beside the completion record: what goes where is table 5-7 of the specification
 * (Intel DSA Architecture Specification, 341204, revision 3.0, 5.8).
 */
import { u64 } from '../../base/index.js';
import { DSA_NOOP, DSA_RECORD, DSA_FLAG as FLAG, DSA_STATUS as STATUS } from '../../spec/index.js';
import type { Batch } from './batch.js';
import type { SoftwareErrors } from './software-errors.js';
import type { Work } from './work.js';

const { HANDLE } = DSA_NOOP;
const { WRITE, OPERAND, INVALID_FLAGS } = DSA_RECORD;
const FAULT_WORD = DSA_RECORD.FAULT.low / 32;
const RECORD_ADDRESS_WORD = DSA_NOOP.RECORD.low / 32;
/** The operand identifier, in an error's information. */
const INFO_OPERAND = 2 ** 29;
/** Beside a handle there: an interrupt was requested, by a handle of interrupt message storage; so was a record. */
const INFO_RCI = 1 << 16;
const INFO_IMS = 1 << 17;
const INFO_RCR = 1 << 18;
/** The first of its batch whose record is in the event log. */
const INFO_FIRST = 1 << 19;

export class Reports {
  readonly #errors: SoftwareErrors;
  readonly #work: Work;
  readonly #batch: Batch;
  /** Which names its batch. */
  readonly #engine: number;

  constructor(errors: SoftwareErrors, { work, batch, engine }: { work: Work; batch: Batch; engine: number }) {
    this.#errors = errors;
    this.#work = work;
    this.#batch = batch;
    this.#engine = engine;
  }

  /** An operation ended with an error, which the record has not, or not alone. */
  error(status: number): void {
    const { record, descriptor } = this.#work;
    const common = { error: status, descriptor: this.#descriptor() };
    const isFault =
      status === STATUS.PAGE_FAULT ||
      status === STATUS.PAGE_FAULT_INVALID_REQUEST ||
      status === STATUS.BATCH_PAGE_FAULT;
    if (status === STATUS.INVALID_FLAGS)
      this.#errors.record({ ...common, info: INVALID_FLAGS.get(record, 0) });
    else if (status === STATUS.INTERRUPT_HANDLE)
      this.#errors.record({ ...common, info: HANDLE.get(descriptor, 0) | this.#requested() });
    else if (isFault) {
      const fault = u64(record[FAULT_WORD] ?? 0, record[FAULT_WORD + 1] ?? 0);
      const info = OPERAND.get(record, 0) * INFO_OPERAND;
      this.#errors.record({ ...common, isWrite: WRITE.get(record, 0) === 1, fault, info });
    } else this.#errors.record(common);
  }

  /** The record could not be written, or may not be, as others before it are in the event log. */
  recordLost(status: number): void {
    const { descriptor, record } = this.#work;
    const { now } = this.#batch;
    const isOfBatch = now.isOpen && this.#errors.usesLog;
    const isFirst = isOfBatch && !now.hasLost;
    if (isOfBatch) now.hasLost = true;
    this.#errors.record({
      error: status,
      descriptor: this.#descriptor(),
      isWrite: true,
      info: HANDLE.get(descriptor, 0) | this.#requested() | (isFirst ? INFO_FIRST : 0),
      fault: u64(descriptor[RECORD_ADDRESS_WORD] ?? 0, descriptor[RECORD_ADDRESS_WORD + 1] ?? 0),
      record,
    });
  }

  /** What it asked for, as an error's information has it: an interrupt, of which table, a record. */
  #requested(): number {
    const { flags, table } = this.#work.now;
    const rci = (flags & FLAG.RCI) === 0 ? 0 : INFO_RCI;
    return rci | (table === 0 ? 0 : INFO_IMS) | ((flags & FLAG.RCR) === 0 ? 0 : INFO_RCR);
  }

  #descriptor() {
    const { wq, pasid, isPrivileged } = this.#work.now;
    const { isOpen, current } = this.#batch.now;
    const batch = isOpen ? { batchIndex: current, batchId: this.#engine } : {};
    return { words: this.#work.descriptor, wq, pasid, isPrivileged, ...batch };
  }
}
