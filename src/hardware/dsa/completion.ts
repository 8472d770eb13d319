/**
 * How an engine ends an operation: errors that the record cannot tell, the record, the interrupt, each a step of its
 * own (Intel DSA Architecture Specification, 341204, revision 3.0, 3.6, 3.7 and 5.8). Where the record of one cannot be
 * written, the event log has it; then that has the record of the drain, and of the batch, that tells the end of it.
 */
import {
  DSA_NOOP,
  DSA_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { Batch } from './batch.js';
import { type Buffers, RECORD_SLOT } from './buffers.js';
import type { EngineHost } from './engine-host.js';
import type { Permissions } from './permissions.js';
import { Reports } from './reports.js';
import { PHASE, type Work } from './work.js';

const RECORD_ADDRESS_WORD = DSA_NOOP.RECORD.low / 32;
const R_STATUS = DSA_RECORD.STATUS;

/** The parts of an engine that it works with. */
export interface CompletionParts {
  readonly work: Work;
  readonly batch: Batch;
  readonly buffers: Buffers;
  readonly permissions: Permissions;
  /** The engine's index. */
  readonly engine: number;
  /** The record's page is missing, and is to be asked for. */
  readonly faulted: () => void;
  /** All is done. */
  readonly ended: (status: number) => void;
}

export class Completion {
  readonly #host: EngineHost;
  readonly #work: Work;
  readonly #batch: Batch;
  readonly #buffers: Buffers;
  readonly #permissions: Permissions;
  readonly #reports: Reports;
  readonly #faulted: () => void;
  readonly #ended: (status: number) => void;

  constructor(
    host: EngineHost,
    { work, batch, buffers, permissions, engine, faulted, ended }: CompletionParts,
  ) {
    this.#host = host;
    this.#work = work;
    this.#batch = batch;
    this.#buffers = buffers;
    this.#permissions = permissions;
    this.#reports = new Reports(host.errors, { work, batch, engine });
    this.#faulted = faulted;
    this.#ended = ended;
  }

  /** The operation is over: reports it where the specification says (5.8.1). */
  begin(status: number): void {
    const { now, record } = this.#work;
    this.#buffers.release();
    R_STATUS.set(record, 0, status);
    const isSuccess = status === STATUS.SUCCESS || status === STATUS.FALSE_PREDICATE;
    const isDiscarded = status === STATUS.RECORD_ALIGNMENT || status === STATUS.PRIVILEGE;
    const hasRecord = (now.flags & FLAG.CRAV) !== 0 && !isDiscarded;
    const isLogged = status === STATUS.INTERRUPT_HANDLE || status === STATUS.TRANSLATION_ERROR;
    if (!isSuccess && (!hasRecord || isLogged)) this.#report(status, false);
    else this.#finish(status);
  }

  /** Reports an error beside the record, or with it, if that is lost; in the event log, when that has room. */
  #report(status: number, isLost: boolean): void {
    const { now } = this.#work;
    now.error = status;
    now.isLost = isLost;
    if (this.#host.errors.usesLog) now.phase = PHASE.LOG;
    else this.log();
  }

  /** Reports it; to the event log, that has room. */
  log(): void {
    const { error, isLost, wq, pasid } = this.#work.now;
    if (!isLost) {
      this.#reports.error(error);
      this.#finish(error);
      return;
    }
    this.#reports.recordLost(error);
    const isDrain = error === STATUS.DRAIN_RECORD_FAULT;
    if (this.#host.errors.usesLog && !isDrain) this.#host.queue(wq).loseRecord(pasid);
    this.#ended(error);
  }

  /** What comes after the reports: the record, and the interrupt. */
  #finish(status: number): void {
    const { now } = this.#work;
    const isSuccess = status === STATUS.SUCCESS || status === STATUS.FALSE_PREDICATE;
    const isDiscarded = status === STATUS.RECORD_ALIGNMENT || status === STATUS.PRIVILEGE;
    const hasRecord = (now.flags & FLAG.CRAV) !== 0 && !isDiscarded;
    if (isDiscarded) this.#ended(status);
    else if (hasRecord && (!isSuccess || (now.flags & FLAG.RCR) !== 0)) {
      now.retries = 0;
      now.operand = RECORD_SLOT;
      this.#buffers.locate(RECORD_SLOT, RECORD_ADDRESS_WORD, 0);
      const lost = this.#lostBefore();
      if (lost !== STATUS.NONE) this.#report(lost, true);
      else now.phase = PHASE.RECORD_TRANSLATE;
    } else this.#afterRecord();
  }

  /** Why its record goes to the event log, if records that it tells the end of are there; else NONE. */
  #lostBefore(): number {
    const { opcode, wq, pasid } = this.#work.now;
    if (opcode === OP.BATCH && this.#batch.now.hasLost) return STATUS.BATCH_RECORD_FAULT;
    if (opcode !== OP.DRAIN || !this.#host.queue(wq).takeLost(pasid)) return STATUS.NONE;
    return STATUS.DRAIN_RECORD_FAULT;
  }

  /** Translates the record's page. */
  translate(): void {
    const status = this.#buffers.translate(RECORD_SLOT, RIGHT.WRITE);
    if (status === STATUS.SUCCESS) this.#work.now.phase = PHASE.RECORD_WRITE;
    // A record's page fault always blocks, where page requests are enabled (3.13.2, 8.1.3).
    else if (status === STATUS.PAGE_FAULT) this.#faulted();
    else this.lose(status);
  }

  /** Writes it. */
  write(): void {
    this.#buffers.write(RECORD_SLOT, this.#work.recordBytes);
    this.#buffers.release();
    this.#afterRecord();
  }

  /** The record is not to be had: its page, or its translation. */
  lose(status: number): void {
    this.#report(status, true);
  }

  #afterRecord(): void {
    if (this.#wantsInterrupt()) this.#work.now.phase = PHASE.INTERRUPT;
    else this.#ended(R_STATUS.get(this.#work.record, 0));
  }

  /** Whether an interrupt is asked for, and may be: a descriptor that failed an earlier check is looked at anew. */
  #wantsInterrupt(): boolean {
    return (
      (this.#work.now.flags & FLAG.RCI) !== 0 &&
      this.#permissions.mayInterrupt &&
      this.#permissions.ownsHandle
    );
  }

  /** Sends the interrupt, which is last. */
  interrupt(): void {
    this.#host.interrupts.complete(this.#permissions.handle);
    this.#ended(R_STATUS.get(this.#work.record, 0));
  }
}
