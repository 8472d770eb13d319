/**
 * What an engine tells of errors beside the completion record: what goes where is table 5-7 of the specification
 * (Intel DSA Architecture Specification, 341204, revision 3.0, 5.8).
 */
import { u64 } from '../../base/index.js';
import { DSA_NOOP, DSA_RECORD, DSA_STATUS as STATUS } from '../../spec/index.js';
import type { Batch } from './batch.js';
import type { SoftwareErrors } from './software-errors.js';
import type { Work } from './work.js';

const { HANDLE } = DSA_NOOP;
const { WRITE, OPERAND, INVALID_FLAGS } = DSA_RECORD;
const FAULT_WORD = DSA_RECORD.FAULT.low / 32;
const RECORD_ADDRESS_WORD = DSA_NOOP.RECORD.low / 32;
/** The operand identifier, in an error's information. */
const INFO_OPERAND = 2 ** 29;

export class Reports {
  readonly #errors: SoftwareErrors;
  readonly #work: Work;
  readonly #batch: Batch;

  constructor(errors: SoftwareErrors, work: Work, batch: Batch) {
    this.#errors = errors;
    this.#work = work;
    this.#batch = batch;
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
      this.#errors.record({ ...common, info: HANDLE.get(descriptor, 0) });
    else if (isFault) {
      const fault = u64(record[FAULT_WORD] ?? 0, record[FAULT_WORD + 1] ?? 0);
      const info = OPERAND.get(record, 0) * INFO_OPERAND;
      this.#errors.record({ ...common, isWrite: WRITE.get(record, 0) === 1, fault, info });
    } else this.#errors.record(common);
  }

  /** The record could not be written. */
  recordLost(status: number): void {
    const { descriptor } = this.#work;
    this.#errors.record({
      error: status,
      descriptor: this.#descriptor(),
      isWrite: true,
      fault: u64(descriptor[RECORD_ADDRESS_WORD] ?? 0, descriptor[RECORD_ADDRESS_WORD + 1] ?? 0),
    });
  }

  #descriptor() {
    const { wq, pasid, isPrivileged } = this.#work.now;
    const { isOpen, index } = this.#batch.now;
    const batch = isOpen ? { batchIndex: index } : {};
    return { words: this.#work.descriptor, wq, pasid, isPrivileged, ...batch };
  }
}
