/**
 * An engine of an Intel DSA device: takes a descriptor of its group's work queues, and works on it in small
 * steps: check, translate, move a piece, write the completion record, send the interrupt (Intel DSA
 * Architecture Specification, 341204, revision 3.0, 3.4 to 3.13, 5.4 and 5.8). One descriptor at a time: real
 * engines overlap several, and so may complete them in another order.
 *
 * Each buffer's page is translated anew for each piece. An engine that waits for a page holds no translation, so
 * that nobody waits for it, and begins its piece anew when it has the page.
 */
import { Bug, type Restorable } from '../../base/index.js';
import {
  DSA_BATCH,
  DSA_MEMMOVE,
  DSA_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  PRI_CAPABILITY,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { type Engine, Readiness } from '../engine.js';
import { RIGHT } from '../paging/step.js';
import { type DeviceTlbInvalidation, PAGE_RESPONSE } from '../pci/ports.js';
import { Batch } from './batch.js';
import { Buffers, LIST_SLOT, PAGE, RECORD_SLOT } from './buffers.js';
import { Completion } from './completion.js';
import { checkDescriptor, type Verdict } from './descriptor-checks.js';
import type { EngineHost } from './engine-host.js';
import { Execution } from './execution.js';
import type { Group } from './group.js';
import { OPERAND, type OperandKind, operationOf } from './operation.js';
import { Permissions } from './permissions.js';
import { NO_GROUP, NO_RESPONSE, PHASE, Work } from './work.js';
import { DESCRIPTOR_WORDS, type WorkQueue } from './work-queue.js';

const { FLAGS, OPCODE, XFER_SIZE } = DSA_MEMMOVE;
const { RESPONSE_FAILURE } = PRI_CAPABILITY;
const LIST_WORD = DSA_BATCH.LIST.low / 32;
const DESCRIPTOR_BYTES = DESCRIPTOR_WORDS * 4;
const { WRITE: R_WRITE, OPERAND: R_OPERAND } = DSA_RECORD;
const { INVALID_FLAGS: R_INVALID_FLAGS, COMPLETED: R_COMPLETED, RESULT: R_RESULT } = DSA_RECORD;
const R_FAULT_WORD = DSA_RECORD.FAULT.low / 32;

export class DsaEngine implements Engine, Restorable {
  readonly name: string;
  readonly readiness = new Readiness();
  readonly #whether: string;
  readonly #host: EngineHost;
  readonly #work = new Work();
  readonly #batch = new Batch();
  readonly #completion: Completion;
  readonly #buffers: Buffers;
  readonly #execution: Execution;
  /** Of the descriptor that it works on. */
  #operands: readonly OperandKind[] = [];
  #group: Group | undefined;
  #markedGroup: Group | undefined;
  readonly #verdict: Verdict = { status: STATUS.NONE, invalidFlags: 0 };
  readonly #permissions: Permissions;

  constructor(name: string, host: EngineHost, index = 0) {
    this.name = name;
    this.#whether = `${name}: whether a descriptor of a batch lets the next go first`;
    this.#host = host;
    this.#buffers = new Buffers(host, this.#work);
    this.#execution = new Execution(this.#work, this.#buffers);
    this.#permissions = new Permissions(host, this.#work, this.#batch);
    this.#completion = new Completion(host, {
      ...{ work: this.#work, batch: this.#batch, buffers: this.#buffers, permissions: this.#permissions },
      engine: index,
      faulted: () => this.#fault(true),
      ended: (status) => this.#end(status),
    });
  }

  /** Puts it into a group, or into none. */
  setGroup(group: Group | undefined): void {
    this.#group = group;
  }

  get isReady(): boolean {
    const { phase, response, isAborted } = this.#work.now;
    if (phase === PHASE.IDLE) return this.#group?.hasWork === true && this.#host.isRunning;
    if (!this.#host.isRunning) return false;
    if (phase === PHASE.WAIT) return response !== NO_RESPONSE;
    if (isAborted) return true;
    if (phase === PHASE.ASK) return this.#host.parts.pageRequests.canAsk || !this.#usesPageRequests;
    if (phase === PHASE.LOG) return !this.#host.errors.isLogFull;
    return phase !== PHASE.DRAIN || !this.#hasEarlier();
  }

  /** Whether it has a descriptor of this queue, with this PASID (any, if undefined) and a tag of at most `last`. */
  isAt(wq: number, pasid: number | undefined, last: number): boolean {
    const { now } = this.#work;
    if (now.phase === PHASE.IDLE || now.wq !== wq || now.tag > last) return false;
    return pasid === undefined || now.pasid === pasid;
  }

  /**
   * Has its descriptor abandoned at the next step. One that waits for a page does not come to that before the
   * response: the function sends no stop markers, so it may not forget a request that is outstanding.
   */
  abort(): void {
    if (this.#work.now.phase !== PHASE.IDLE) this.#work.now.isAborted = true;
  }

  /** A reset of the function: forgets all. */
  reset(): void {
    if (this.#work.now.phase !== PHASE.IDLE) this.#abandon();
  }

  /** Takes the response to a page request group; whether it waits for that. It may come while the request is sent. */
  respond(group: number, code: number): boolean {
    const { now } = this.#work;
    const waits = now.phase === PHASE.WAIT && now.response === NO_RESPONSE;
    if (!waits || (now.group !== group && now.group !== NO_GROUP)) return false;
    now.response = code;
    return true;
  }

  /** Whether it holds a translation that an invalidation names. */
  holds(invalidation: DeviceTlbInvalidation): boolean {
    return this.#buffers.holds(invalidation);
  }

  step(): void {
    this.#host.stir();
    const { phase, isAborted } = this.#work.now;
    if (phase === PHASE.IDLE) this.#fetch();
    else if (isAborted) this.#abandon();
    else if (phase === PHASE.TRANSLATE) this.#translateOperand();
    else if (phase === PHASE.ACCESS) this.#access();
    else if (phase === PHASE.ASK) this.#ask();
    else if (phase === PHASE.WAIT) this.#answered();
    else if (phase === PHASE.DRAIN) this.#completion.begin(STATUS.SUCCESS);
    else if (phase === PHASE.LIST_TRANSLATE) this.#translateList();
    else if (phase === PHASE.LIST_READ) this.#readList();
    else if (phase === PHASE.LOG) this.#completion.log();
    else if (phase === PHASE.RECORD_TRANSLATE) this.#completion.translate();
    else if (phase === PHASE.RECORD_WRITE) this.#completion.write();
    else this.#completion.interrupt();
  }

  mark(): void {
    this.#work.mark();
    this.#batch.mark();
    this.#buffers.mark();
    this.#markedGroup = this.#group;
  }

  restore(): void {
    this.#work.restore();
    this.#batch.restore();
    this.#buffers.restore();
    this.#operands = operationOf(this.#work.now.opcode)?.operands ?? [];
    this.#execution.resume();
    this.#group = this.#markedGroup;
  }

  #fetch(): void {
    const queue = this.#group?.pick();
    if (queue === undefined) throw new Bug(`${this.name} has nothing to fetch`);
    const { now, descriptor } = this.#work;
    now.table = queue.nextTable;
    now.tag = queue.shift(descriptor);
    this.#batch.now.hasLost = false;
    now.wq = queue.index;
    now.pasid = queue.pasidOf(descriptor, 0);
    now.isPrivileged = queue.isPrivileged(descriptor, 0);
    this.#begin(queue);
  }

  /** Begins with a descriptor that it has fetched. */
  #begin(queue: WorkQueue): void {
    const { now, descriptor, record } = this.#work;
    now.flags = FLAGS.get(descriptor, 0);
    now.opcode = OPCODE.get(descriptor, 0);
    now.size = XFER_SIZE.get(descriptor, 0);
    now.retries = 0;
    record.fill(0);
    checkDescriptor(descriptor, this.#permissions.of(queue), this.#verdict);
    const { status, invalidFlags } = this.#verdict;
    if (status !== STATUS.NONE) {
      R_INVALID_FLAGS.set(record, 0, invalidFlags);
      this.#completion.begin(status);
    } else if ((now.flags & FLAG.RCI) !== 0 && !this.#permissions.ownsHandle)
      this.#completion.begin(STATUS.INTERRUPT_HANDLE);
    else if (now.opcode === OP.NOOP) this.#completion.begin(STATUS.SUCCESS);
    else if (now.opcode === OP.DRAIN) now.phase = PHASE.DRAIN;
    else if (now.opcode === OP.BATCH) {
      this.#batch.open(descriptor);
      this.#nextOfList();
    } else {
      this.#operands = operationOf(now.opcode)?.operands ?? [];
      this.#execution.begin();
      this.#beginPiece();
    }
  }

  /** Whether a page fault is worth a request: they are enabled, and no response has stopped them. */
  get #usesPageRequests(): boolean {
    const { config } = this.#host.parts;
    if (!this.#buffers.usesAts || !config.isPriEnabled || config.getPri(RESPONSE_FAILURE) === 1) return false;
    return !this.#host.queue(this.#work.now.wq).isPrsDisabled;
  }

  /** Goes on with the batch's list where it stands. */
  #nextOfList(): void {
    const { now, descriptor } = this.#work;
    this.#batch.present(descriptor);
    now.retries = 0;
    now.operand = LIST_SLOT;
    this.#buffers.locate(LIST_SLOT, LIST_WORD, this.#batch.now.next * DESCRIPTOR_BYTES);
    now.phase = PHASE.LIST_TRANSLATE;
  }

  #translateList(): void {
    const status = this.#buffers.translate(LIST_SLOT, RIGHT.READ);
    if (status === STATUS.SUCCESS) this.#work.now.phase = PHASE.LIST_READ;
    else if (this.#batch.hasPutOff) this.#resume();
    // As of a record, a page fault of the list always blocks.
    else if (status === STATUS.PAGE_FAULT) this.#fault(true);
    else this.#endBatch(status);
  }

  #readList(): void {
    const { now, descriptor, descriptorBytes } = this.#work;
    const batch = this.#batch;
    const isRead = this.#buffers.read(LIST_SLOT, descriptorBytes);
    this.#buffers.release();
    const isFenced = (FLAGS.get(descriptor, 0) & FLAG.FENCE) !== 0;
    if (batch.hasPutOff && (isFenced || !isRead)) this.#resume();
    else if (!isRead) this.#endBatch(STATUS.HARDWARE_ERROR);
    else if (isFenced && batch.now.hasFailed) this.#endBatch(STATUS.BATCH_FAILED);
    else if (!isFenced && batch.mayPutOff && this.#host.chooser.choose(2, this.#whether) === 1) {
      batch.putOff(descriptor);
      this.#nextOfList();
    } else {
      batch.take();
      this.#begin(this.#host.queue(now.wq));
    }
  }

  /** Works on the descriptor that was put off. */
  #resume(): void {
    this.#batch.resume(this.#work.descriptor);
    this.#begin(this.#host.queue(this.#work.now.wq));
  }

  /** One descriptor of the batch is done. */
  #advance(isSuccess: boolean): void {
    const batch = this.#batch;
    batch.advance(isSuccess);
    if (batch.hasPutOff) this.#resume();
    else if (!batch.isOver) this.#nextOfList();
    else this.#endBatch(batch.now.hasFailed ? STATUS.BATCH_FAILED : STATUS.SUCCESS);
  }

  /** The batch ends; what is left of its list is not looked at. Its record may say where a fault was already. */
  #endBatch(status: number): void {
    const { now, descriptor, record } = this.#work;
    const { done, hasFailed } = this.#batch.now;
    if (status !== STATUS.BATCH_PAGE_FAULT) record.fill(0);
    this.#batch.present(descriptor);
    this.#batch.close();
    now.flags = FLAGS.get(descriptor, 0);
    now.opcode = OP.BATCH;
    R_COMPLETED.set(record, 0, done);
    R_RESULT.set(record, 0, hasFailed ? 1 : 0);
    this.#completion.begin(status);
  }

  #translateOperand(): void {
    const { now } = this.#work;
    const operands = this.#operands;
    const status = this.#buffers.translate(now.operand, operands[now.operand]?.right ?? 0);
    if (status === STATUS.TRANSLATION_ERROR) this.#completion.begin(status);
    else if (status === STATUS.PAGE_FAULT) this.#fault((now.flags & FLAG.BOF) !== 0);
    else {
      now.operand++;
      this.#nextOperand();
    }
  }

  /** Begins a piece, or begins it anew, with its first operand. */
  #beginPiece(): void {
    this.#work.now.operand = 0;
    this.#nextOperand();
  }

  /** Goes on with the first operand from `operand` on that the piece has bytes of; after the last, moves the piece. */
  #nextOperand(): void {
    const { now } = this.#work;
    const count = this.#operands.length;
    while (now.operand < count && this.#buffers.lengthOf(now.operand) === 0) now.operand++;
    now.phase = now.operand < count ? PHASE.TRANSLATE : PHASE.ACCESS;
  }

  #access(): void {
    const { now } = this.#work;
    const status = this.#execution.step();
    this.#buffers.release();
    now.retries = 0;
    if (status === STATUS.NONE) this.#beginPiece();
    else this.#completion.begin(status);
  }

  /** A page fault of `operand`. */
  #fault(maySend: boolean): void {
    const { now } = this.#work;
    this.#buffers.release();
    if (!maySend || !this.#usesPageRequests) this.#failed(STATUS.PAGE_FAULT);
    else if (now.retries++ < this.#host.pageRequestRetries) now.phase = PHASE.ASK;
    else this.#failed(STATUS.PAGE_FAULT_INVALID_REQUEST);
  }

  #ask(): void {
    const { now } = this.#work;
    if (!this.#usesPageRequests) {
      this.#failed(STATUS.PAGE_FAULT);
      return;
    }
    const page = this.#buffers.pageOf(now.operand);
    now.response = NO_RESPONSE;
    now.phase = PHASE.WAIT;
    now.group = this.#host.parts.pageRequests.ask(
      now.pasid,
      page,
      this.#buffers.rightsFor(this.#rightOf(now.operand)),
    );
  }

  #rightOf(slot: number): number {
    if (slot === RECORD_SLOT) return RIGHT.WRITE;
    return slot === LIST_SLOT ? RIGHT.READ : (this.#operands[slot]?.right ?? 0);
  }

  #answered(): void {
    const { now } = this.#work;
    const code = now.response;
    now.response = NO_RESPONSE;
    now.group = NO_GROUP;
    if (code === PAGE_RESPONSE.INVALID_REQUEST) this.#failed(STATUS.PAGE_FAULT_INVALID_REQUEST);
    else if (code !== PAGE_RESPONSE.SUCCESS) this.#failed(STATUS.TRANSLATION_ERROR);
    else if (now.operand === RECORD_SLOT) now.phase = PHASE.RECORD_TRANSLATE;
    else if (now.operand === LIST_SLOT) now.phase = PHASE.LIST_TRANSLATE;
    else this.#beginPiece();
  }

  /** The page of `operand` cannot be had. */
  #failed(status: number): void {
    const { now, record } = this.#work;
    if (now.operand === RECORD_SLOT) {
      this.#completion.lose(status === STATUS.TRANSLATION_ERROR ? status : STATUS.RECORD_FAULT);
      return;
    }
    const isList = now.operand === LIST_SLOT;
    if (isList) record.fill(0);
    const page = this.#buffers.pageOf(now.operand);
    record[R_FAULT_WORD] = ((page % 2 ** 20) * PAGE + this.#buffers.offsetOf(now.operand)) | 0;
    record[R_FAULT_WORD + 1] = Math.floor(page / 2 ** 20) | 0;
    R_WRITE.set(record, 0, this.#rightOf(now.operand) === RIGHT.WRITE ? 1 : 0);
    R_OPERAND.set(record, 0, isList ? OPERAND.SOURCE : (this.#operands[now.operand]?.id ?? 0));
    if (isList) this.#endBatch(status === STATUS.TRANSLATION_ERROR ? status : STATUS.BATCH_PAGE_FAULT);
    else {
      this.#execution.report();
      this.#completion.begin(status);
    }
  }

  /** Done with it, and with the batch that it may be of. */
  #abandon(): void {
    this.#batch.close();
    this.#end(STATUS.NONE);
  }

  /** Done with it: `status`, or 0 if it is abandoned. */
  #end(status: number): void {
    const { now } = this.#work;
    this.#buffers.release();
    if (this.#batch.now.isOpen) {
      this.#advance(status === STATUS.SUCCESS);
      return;
    }
    now.phase = PHASE.IDLE;
    now.isAborted = false;
    now.group = NO_GROUP;
    now.response = NO_RESPONSE;
    this.#host.audit?.completed(now.tag, status);
  }

  #hasEarlier(): boolean {
    const { wq, pasid, tag } = this.#work.now;
    return this.#host.hasEarlier(this.#host.queue(wq), pasid, tag);
  }
}
