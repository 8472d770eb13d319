/**
 * An engine of an Intel DSA device: takes a descriptor of its group's work queues, and works on it in small
 * steps: check, translate, move a piece, write the completion record, send the interrupt (Intel DSA
 * Architecture Specification, 341204, revision 3.0, 3.4 to 3.13, 5.4 and 8.3). One descriptor at a time: real
 * engines overlap several, and so may complete them in another order.
 *
 * A piece lies within one page of every buffer. Each buffer's page is translated anew for each piece; between
 * its translation and its use a frame is *held*, and an invalidation of the device TLB is not complete before
 * that is over. An engine that waits for a page holds nothing, so that nobody waits for it.
 */
import { Bug, type Restorable, u64 } from '../../base/index.js';
import {
  DSA_MEMMOVE,
  DSA_NOOP,
  DSA_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  PRI_CAPABILITY,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { NONE } from '../cache/slots.js';
import type { Engine } from '../engine.js';
import { RIGHT } from '../paging/step.js';
import {
  COMPLETION,
  type DeviceTlbInvalidation,
  type MemoryRequest,
  PAGE_RESPONSE,
  type TranslationCompletion,
} from '../pci/ports.js';
import { NO_PASID } from '../vtd/walk.js';
import type { Group } from './group.js';
import type { Interrupts } from './interrupts.js';
import {
  type Allowed,
  checkDescriptor,
  distanceOf,
  type Operation,
  operationOf,
  type Verdict,
} from './operation.js';
import type { DsaAudit, DsaParts } from './ports.js';
import type { SoftwareErrors } from './software-errors.js';
import { DESCRIPTOR_WORDS, type WorkQueue } from './work-queue.js';

/** What an engine needs of its device. */
export interface EngineHost {
  readonly parts: DsaParts;
  readonly interrupts: Interrupts;
  readonly errors: SoftwareErrors;
  readonly audit: DsaAudit | undefined;
  readonly overlappingCopy: boolean;
  readonly pageRequestRetries: number;
  /** GENCFG: user-mode descriptors may ask for interrupts. */
  readonly userInterrupts: boolean;
  /** Whether engines may go on: the device is enabled or draining. */
  readonly isRunning: boolean;
  queue(index: number): WorkQueue;
  /** Whether an engine has a descriptor of this queue, and PASID, that came before `tag`. */
  hasEarlier(queue: WorkQueue, pasid: number, tag: number): boolean;
  /** Told after an engine has let go of translations. */
  released(): void;
}

/** Where an engine stands. */
const PHASE = {
  IDLE: 0,
  /** translates operand `operand` */
  TRANSLATE: 1,
  /** moves a piece */
  ACCESS: 2,
  /** waits to send a page request, or for its response */
  ASK: 3,
  WAIT: 4,
  /** a drain, or a fence of it */
  DRAIN: 5,
  RECORD_TRANSLATE: 6,
  RECORD_WRITE: 7,
  INTERRUPT: 8,
} as const;

const RECORD_BYTES = 32;
const RECORD_WORDS = 8;
const PAGE = 4096;
const MAX_OPERANDS = 3;
/** The slot of a completion record's translation, after those of the operands. */
const RECORD_SLOT = MAX_OPERANDS;
const RECORD_ADDRESS_WORD = 2;
const NO_RESPONSE = -1;
const NO_GROUP = -1;

const { FLAGS, OPCODE, XFER_SIZE } = DSA_MEMMOVE;
const { HANDLE } = DSA_NOOP;
const { RESPONSE_FAILURE } = PRI_CAPABILITY;
const EXPECTED_WORD = 10;
const PATTERN_FILL = 16;
const PATTERN_COMPARE = 24;
const { STATUS: R_STATUS, WRITE: R_WRITE, RESULT: R_RESULT, OPERAND: R_OPERAND } = DSA_RECORD;
const { COMPLETED: R_COMPLETED, INVALID_FLAGS: R_INVALID_FLAGS } = DSA_RECORD;
const R_FAULT_WORD = 2;

/** The state of an engine but for its descriptor, its record and its translations. */
const idleWork = () => ({
  phase: PHASE.IDLE as number,
  tag: 0,
  wq: 0,
  pasid: NO_PASID,
  isPrivileged: false,
  flags: 0,
  opcode: 0,
  size: 0,
  /** Bytes done; from the end where `isBackward`. */
  done: 0,
  isBackward: false,
  /** The piece: how many bytes. */
  length: 0,
  /** The operand that is translated, or waited for; RECORD_SLOT for the record. */
  operand: 0,
  held: 0,
  retries: 0,
  group: NO_GROUP,
  response: NO_RESPONSE,
  isAborted: false,
});

export class DsaEngine implements Engine, Restorable {
  readonly name: string;
  readonly #host: EngineHost;
  #group: Group | undefined;
  #markedGroup: Group | undefined;
  readonly #work = idleWork();
  readonly #markedWork = idleWork();

  readonly #descriptor = new Int32Array(DESCRIPTOR_WORDS);
  readonly #descriptorBytes = new Uint8Array(this.#descriptor.buffer);
  readonly #record = new Int32Array(RECORD_WORDS);
  readonly #recordBytes = new Uint8Array(this.#record.buffer);
  /** By operand and for the record: the page, its frame (equal without ATS), and the offset in it. */
  readonly #pages = new Float64Array(MAX_OPERANDS + 1);
  readonly #frames = new Float64Array(MAX_OPERANDS + 1);
  readonly #offsets = new Int32Array(MAX_OPERANDS + 1);
  readonly #marked = {
    descriptor: this.#descriptor.slice(),
    record: this.#record.slice(),
    pages: this.#pages.slice(),
    frames: this.#frames.slice(),
    offsets: this.#offsets.slice(),
  };

  readonly #buffer = new Uint8Array(PAGE);
  readonly #other = new Uint8Array(PAGE);
  readonly #request: MemoryRequest;
  readonly #completion: TranslationCompletion = {
    status: COMPLETION.SUCCESS,
    frame: 0,
    pages: 1,
    rights: 0,
    isGlobal: false,
  };
  readonly #verdict: Verdict = { status: STATUS.NONE, invalidFlags: 0 };

  constructor(name: string, host: EngineHost) {
    this.name = name;
    this.#host = host;
    this.#request = {
      ...{ rid: host.parts.rid, pasid: NO_PASID, page: 0, rights: 0 },
      ...{ isTranslated: false, offset: 0, length: 0 },
    };
  }

  /** Puts it into a group, or into none. */
  setGroup(group: Group | undefined): void {
    this.#group = group;
  }

  get isReady(): boolean {
    if (!this.#host.isRunning) return false;
    const { phase } = this.#work;
    if (phase === PHASE.IDLE) return this.#group?.hasWork === true;
    if (phase === PHASE.WAIT) return this.#work.response !== NO_RESPONSE;
    if (this.#work.isAborted) return true;
    if (phase === PHASE.ASK) return this.#host.parts.pageRequests.canAsk || !this.#usesPageRequests;
    if (phase === PHASE.DRAIN) return !this.#hasEarlier();
    return true;
  }

  /** Whether it has a descriptor of this queue, with this PASID (any, if undefined) and a tag of at most `last`. */
  isAt(wq: number, pasid: number | undefined, last: number): boolean {
    const work = this.#work;
    if (work.phase === PHASE.IDLE || work.wq !== wq || work.tag > last) return false;
    return pasid === undefined || work.pasid === pasid;
  }

  /**
   * Has its descriptor abandoned at the next step. One that waits for a page does not come to that before the
   * response: the function sends no stop markers, so it may not forget a request that is outstanding.
   */
  abort(): void {
    if (this.#work.phase !== PHASE.IDLE) this.#work.isAborted = true;
  }

  /** A reset of the function: forgets all. */
  reset(): void {
    if (this.#work.phase !== PHASE.IDLE) this.#end(STATUS.NONE);
  }

  /** Takes the response to a page request group; whether it waits for that. */
  respond(group: number, code: number): boolean {
    if (this.#work.phase !== PHASE.WAIT || this.#work.group !== group) return false;
    this.#work.response = code;
    return true;
  }

  /** Whether it holds a translation that an invalidation names. */
  holds(invalidation: DeviceTlbInvalidation): boolean {
    const { held, pasid } = this.#work;
    if (held === 0 || !(invalidation.isGlobal || invalidation.pasid === pasid)) return false;
    for (let slot = 0; slot <= RECORD_SLOT; slot++) {
      if ((held & (1 << slot)) === 0) continue;
      const distance = (this.#pages[slot] ?? 0) - invalidation.page;
      if (distance >= 0 && distance < invalidation.pages) return true;
    }
    return false;
  }

  step(): void {
    const work = this.#work;
    if (work.isAborted && work.phase !== PHASE.IDLE) {
      this.#end(STATUS.NONE);
      return;
    }
    switch (work.phase) {
      case PHASE.IDLE:
        this.#fetch();
        break;
      case PHASE.TRANSLATE:
        this.#translateOperand();
        break;
      case PHASE.ACCESS:
        this.#access();
        break;
      case PHASE.ASK:
        this.#ask();
        break;
      case PHASE.WAIT:
        this.#answered();
        break;
      case PHASE.DRAIN:
        this.#complete(STATUS.SUCCESS);
        break;
      case PHASE.RECORD_TRANSLATE:
        this.#translateRecord();
        break;
      case PHASE.RECORD_WRITE:
        this.#writeRecord();
        break;
      case PHASE.INTERRUPT:
        this.#interrupt();
        break;
      default:
        throw new Bug(`${this.name} in phase ${work.phase}`);
    }
  }

  mark(): void {
    Object.assign(this.#markedWork, this.#work);
    this.#markedGroup = this.#group;
    this.#marked.descriptor.set(this.#descriptor);
    this.#marked.record.set(this.#record);
    this.#marked.pages.set(this.#pages);
    this.#marked.frames.set(this.#frames);
    this.#marked.offsets.set(this.#offsets);
  }

  restore(): void {
    Object.assign(this.#work, this.#markedWork);
    this.#group = this.#markedGroup;
    this.#descriptor.set(this.#marked.descriptor);
    this.#record.set(this.#marked.record);
    this.#pages.set(this.#marked.pages);
    this.#frames.set(this.#marked.frames);
    this.#offsets.set(this.#marked.offsets);
  }

  #fetch(): void {
    const queue = this.#group?.pick();
    if (queue === undefined) throw new Bug(`${this.name} has nothing to fetch`);
    const work = this.#work;
    work.tag = queue.shift(this.#descriptor);
    work.wq = queue.index;
    work.pasid = queue.pasidOf(this.#descriptor, 0);
    work.isPrivileged = queue.isPrivileged(this.#descriptor, 0);
    work.flags = FLAGS.get(this.#descriptor, 0);
    work.opcode = OPCODE.get(this.#descriptor, 0);
    work.size = XFER_SIZE.get(this.#descriptor, 0);
    work.done = 0;
    work.isBackward = false;
    work.retries = 0;
    work.operand = 0;
    this.#record.fill(0);
    checkDescriptor(this.#descriptor, this.#allowed(queue), this.#verdict);
    const { status } = this.#verdict;
    if (status !== STATUS.NONE) {
      R_INVALID_FLAGS.set(this.#record, 0, this.#verdict.invalidFlags);
      this.#complete(status);
      return;
    }
    if (
      (work.flags & FLAG.RCI) !== 0 &&
      !this.#host.interrupts.isAllowed(HANDLE.get(this.#descriptor, 0), work.pasid)
    ) {
      this.#complete(STATUS.INTERRUPT_HANDLE);
      return;
    }
    if (work.opcode === OP.NOOP) this.#complete(STATUS.SUCCESS);
    else if (work.opcode === OP.DRAIN) work.phase = PHASE.DRAIN;
    else this.#begin();
  }

  readonly #permissions = {
    isDedicated: false,
    operations: 0,
    blockOnFault: false,
    interrupts: false,
    privileged: false,
    maxTransfer: 0,
    overlappingCopy: false,
  };

  #allowed(queue: WorkQueue): Allowed {
    const allowed = this.#permissions;
    const host = this.#host;
    allowed.isDedicated = queue.isDedicated;
    allowed.operations = queue.operations;
    allowed.blockOnFault = queue.allowsBlockOnFault;
    allowed.interrupts = this.#work.isPrivileged || host.userInterrupts;
    allowed.privileged = host.parts.config.isPrivilegedEnabled;
    allowed.maxTransfer = queue.maxTransfer;
    allowed.overlappingCopy = host.overlappingCopy;
    return allowed;
  }

  #begin(): void {
    const work = this.#work;
    if (work.opcode === OP.MEMMOVE) {
      const distance = distanceOf(this.#descriptor, 4, 6);
      work.isBackward = distance > 0 && distance < work.size;
    }
    this.#nextPiece();
  }

  /** The next piece: as long as no buffer leaves its page in it. */
  #nextPiece(): void {
    const work = this.#work;
    const { operands } = this.#operation();
    let length = Math.min(work.size - work.done, PAGE);
    for (let i = 0; i < operands.length; i++) {
      const word = operands[i]?.word ?? 0;
      const low = (this.#descriptor[word] ?? 0) & (PAGE - 1);
      const room = work.isBackward
        ? ((low + work.size - work.done - 1) & (PAGE - 1)) + 1
        : PAGE - ((low + work.done) & (PAGE - 1));
      length = Math.min(length, room);
    }
    work.length = length;
    const start = work.isBackward ? work.size - work.done - length : work.done;
    for (let i = 0; i < operands.length; i++) this.#locate(i, operands[i]?.word ?? 0, start);
    work.operand = 0;
    work.phase = PHASE.TRANSLATE;
  }

  /** Sets the page and the offset of a slot: `plus` bytes after the address at `descriptor[word]`. */
  #locate(slot: number, word: number, plus: number): void {
    const low = ((this.#descriptor[word] ?? 0) >>> 0) + plus;
    const page = ((this.#descriptor[word + 1] ?? 0) >>> 0) * 2 ** 20 + Math.floor(low / PAGE);
    this.#pages[slot] = page >= 2 ** 52 ? page - 2 ** 52 : page;
    this.#offsets[slot] = low & (PAGE - 1);
  }

  #operation(): Operation {
    const operation = operationOf(this.#work.opcode);
    if (operation === undefined) throw new Bug(`${this.name} works on operation ${this.#work.opcode}`);
    return operation;
  }

  get #usesAts(): boolean {
    return this.#host.parts.config.isAtsEnabled && !this.#host.queue(this.#work.wq).isAtsDisabled;
  }

  /** Whether a page fault is worth a request: they are enabled, and no response has stopped them. */
  get #usesPageRequests(): boolean {
    const { config } = this.#host.parts;
    if (!this.#usesAts || !config.isPriEnabled || config.getPri(RESPONSE_FAILURE) === 1) return false;
    return !this.#host.queue(this.#work.wq).isPrsDisabled;
  }

  #translateOperand(): void {
    const work = this.#work;
    const { operands } = this.#operation();
    const right = operands[work.operand]?.right ?? 0;
    const status = this.#translate(work.operand, right);
    if (status === STATUS.TRANSLATION_ERROR) this.#complete(status);
    else if (status === STATUS.PAGE_FAULT) this.#fault((work.flags & FLAG.BOF) !== 0);
    else if (++work.operand === operands.length) work.phase = PHASE.ACCESS;
  }

  /** Translates the page of a slot. SUCCESS, PAGE_FAULT or TRANSLATION_ERROR. */
  #translate(slot: number, right: number): number {
    const work = this.#work;
    const page = this.#pages[slot] ?? 0;
    if (!this.#usesAts) {
      this.#frames[slot] = page;
      return STATUS.SUCCESS;
    }
    const request = this.#prepare(slot, right);
    request.isTranslated = false;
    request.page = page;
    const { tlb, upstream } = this.#host.parts;
    let frame = tlb.frameOf(request);
    if (frame === NONE) {
      const completion = this.#completion;
      // A translation request always asks to read; no-write says that it does not ask to write too.
      request.rights |= RIGHT.READ;
      upstream.translate(request, completion);
      if (completion.status !== COMPLETION.SUCCESS) return STATUS.TRANSLATION_ERROR;
      tlb.fill(request, completion);
      if ((completion.rights & right) === 0) return STATUS.PAGE_FAULT;
      frame = completion.frame;
    }
    this.#frames[slot] = frame;
    work.held |= 1 << slot;
    return STATUS.SUCCESS;
  }

  /** The request for a slot's piece. */
  #prepare(slot: number, right: number): MemoryRequest {
    const work = this.#work;
    const request = this.#request;
    request.pasid = work.pasid;
    request.rights = work.isPrivileged ? right : right | RIGHT.USER;
    request.isTranslated = (work.held & (1 << slot)) !== 0;
    request.page = this.#frames[slot] ?? 0;
    request.offset = this.#offsets[slot] ?? 0;
    request.length = slot === RECORD_SLOT ? RECORD_BYTES : work.length;
    return request;
  }

  /** A page fault of `work.operand`. */
  #fault(maySend: boolean): void {
    const work = this.#work;
    this.#release();
    if (maySend && this.#usesPageRequests) {
      if (work.retries++ < this.#host.pageRequestRetries) work.phase = PHASE.ASK;
      else this.#failed(STATUS.PAGE_FAULT_INVALID_REQUEST);
    } else this.#failed(STATUS.PAGE_FAULT);
  }

  #ask(): void {
    const work = this.#work;
    if (!this.#usesPageRequests) {
      this.#failed(STATUS.PAGE_FAULT);
      return;
    }
    const page = this.#pages[work.operand] ?? 0;
    const right =
      work.operand === RECORD_SLOT ? RIGHT.WRITE : (this.#operation().operands[work.operand]?.right ?? 0);
    const rights = work.isPrivileged ? right : right | RIGHT.USER;
    work.response = NO_RESPONSE;
    work.phase = PHASE.WAIT;
    work.group = this.#host.parts.pageRequests.ask(work.pasid, page, rights);
  }

  #answered(): void {
    const work = this.#work;
    const code = work.response;
    work.response = NO_RESPONSE;
    work.group = NO_GROUP;
    if (code === PAGE_RESPONSE.INVALID_REQUEST) this.#failed(STATUS.PAGE_FAULT_INVALID_REQUEST);
    else if (code !== PAGE_RESPONSE.SUCCESS) this.#failed(STATUS.TRANSLATION_ERROR);
    else if (work.operand === RECORD_SLOT) work.phase = PHASE.RECORD_TRANSLATE;
    else {
      work.operand = 0;
      work.phase = PHASE.TRANSLATE;
    }
  }

  /** The page of `work.operand` cannot be had. */
  #failed(status: number): void {
    const work = this.#work;
    if (work.operand === RECORD_SLOT) {
      this.#reportRecordFault(status === STATUS.TRANSLATION_ERROR ? status : STATUS.RECORD_FAULT);
      return;
    }
    const operand = this.#operation().operands[work.operand];
    const low = this.#offsets[work.operand] ?? 0;
    const page = this.#pages[work.operand] ?? 0;
    this.#record[R_FAULT_WORD] = ((page % 2 ** 20) * PAGE + low) | 0;
    this.#record[R_FAULT_WORD + 1] = Math.floor(page / 2 ** 20) | 0;
    R_WRITE.set(this.#record, 0, operand?.right === RIGHT.WRITE ? 1 : 0);
    R_OPERAND.set(this.#record, 0, operand?.id ?? 0);
    R_COMPLETED.set(this.#record, 0, work.done);
    if (work.opcode === OP.MEMMOVE) R_RESULT.set(this.#record, 0, work.isBackward ? 1 : 0);
    this.#complete(status);
  }

  #access(): void {
    const work = this.#work;
    const { opcode } = work;
    let status: number = STATUS.NONE;
    if (opcode === OP.MEMFILL) this.#fill();
    else if (opcode === OP.COMPARE || opcode === OP.COMPVAL) status = this.#compare();
    else status = this.#copy();
    this.#release();
    work.retries = 0;
    if (status !== STATUS.NONE) {
      this.#complete(status);
      return;
    }
    work.done += work.length;
    if (work.done < work.size) this.#nextPiece();
    else this.#complete(opcode === OP.COMPARE || opcode === OP.COMPVAL ? this.#predicate(0) : STATUS.SUCCESS);
  }

  #read(slot: number, into: Uint8Array): boolean {
    const request = this.#prepare(slot, RIGHT.READ);
    this.#host.audit?.requests(this.#work.tag, request);
    return this.#host.parts.upstream.read(request, into, 0) === COMPLETION.SUCCESS;
  }

  /** Posted: the device does not learn what becomes of it. */
  #write(slot: number, from: Uint8Array): void {
    const request = this.#prepare(slot, RIGHT.WRITE);
    this.#host.audit?.requests(this.#work.tag, request);
    this.#host.parts.upstream.write(request, from, 0);
  }

  #copy(): number {
    if (!this.#read(0, this.#buffer)) return STATUS.HARDWARE_ERROR;
    this.#write(1, this.#buffer);
    if (this.#work.opcode === OP.DUALCAST) this.#write(2, this.#buffer);
    return STATUS.NONE;
  }

  #fill(): void {
    const { done, length } = this.#work;
    for (let i = 0; i < length; i++)
      this.#buffer[i] = this.#descriptorBytes[PATTERN_FILL + ((done + i) & 7)] ?? 0;
    this.#write(0, this.#buffer);
  }

  #compare(): number {
    const work = this.#work;
    const isPattern = work.opcode === OP.COMPVAL;
    if (!this.#read(0, this.#buffer)) return STATUS.HARDWARE_ERROR;
    if (!isPattern && !this.#read(1, this.#other)) return STATUS.HARDWARE_ERROR;
    for (let i = 0; i < work.length; i++) {
      const expected = isPattern
        ? this.#descriptorBytes[PATTERN_COMPARE + ((work.done + i) & 7)]
        : this.#other[i];
      if (this.#buffer[i] === expected) continue;
      R_COMPLETED.set(this.#record, 0, work.done + i);
      return this.#predicate(1);
    }
    return STATUS.NONE;
  }

  /** The status of a comparison with this result (table 8-17). */
  #predicate(result: number): number {
    R_RESULT.set(this.#record, 0, result);
    if ((this.#work.flags & FLAG.CHECK_RESULT) === 0) return STATUS.SUCCESS;
    const expected = (this.#descriptor[EXPECTED_WORD] ?? 0) & 1;
    return expected === result ? STATUS.SUCCESS : STATUS.FALSE_PREDICATE;
  }

  /** The operation is over: reports it where the specification says (5.8.1). */
  #complete(status: number): void {
    const work = this.#work;
    this.#release();
    R_STATUS.set(this.#record, 0, status);
    const isSuccess = status === STATUS.SUCCESS || status === STATUS.FALSE_PREDICATE;
    const isDiscarded = status === STATUS.RECORD_ALIGNMENT || status === STATUS.PRIVILEGE;
    const hasRecord = (work.flags & FLAG.CRAV) !== 0 && !isDiscarded;
    const isLogged = status === STATUS.INTERRUPT_HANDLE || status === STATUS.TRANSLATION_ERROR;
    if (!isSuccess && (!hasRecord || isLogged)) this.#logError(status);
    if (isDiscarded) this.#end(status);
    else if (hasRecord && (!isSuccess || (work.flags & FLAG.RCR) !== 0)) {
      work.retries = 0;
      work.operand = RECORD_SLOT;
      this.#locate(RECORD_SLOT, RECORD_ADDRESS_WORD, 0);
      work.phase = PHASE.RECORD_TRANSLATE;
    } else this.#afterRecord();
  }

  #logError(status: number): void {
    const isFault = status === STATUS.PAGE_FAULT || status === STATUS.PAGE_FAULT_INVALID_REQUEST;
    const common = { error: status, descriptor: this.#errorDescriptor() };
    if (status === STATUS.INVALID_FLAGS) {
      this.#host.errors.record({ ...common, info: R_INVALID_FLAGS.get(this.#record, 0) });
    } else if (status === STATUS.INTERRUPT_HANDLE) {
      this.#host.errors.record({ ...common, info: HANDLE.get(this.#descriptor, 0) });
    } else if (isFault) {
      const fault = u64(this.#record[R_FAULT_WORD] ?? 0, this.#record[R_FAULT_WORD + 1] ?? 0);
      const isWrite = R_WRITE.get(this.#record, 0) === 1;
      const info = R_OPERAND.get(this.#record, 0) * 2 ** 29;
      this.#host.errors.record({ ...common, isWrite, fault, info });
    } else this.#host.errors.record(common);
  }

  #errorDescriptor() {
    const { wq, pasid, isPrivileged } = this.#work;
    return { words: this.#descriptor, wq, pasid, isPrivileged };
  }

  #translateRecord(): void {
    const work = this.#work;
    const status = this.#translate(RECORD_SLOT, RIGHT.WRITE);
    if (status === STATUS.SUCCESS) work.phase = PHASE.RECORD_WRITE;
    // A record's page fault always blocks, where page requests are enabled (3.13.2, 8.1.3).
    else if (status === STATUS.PAGE_FAULT) this.#fault(true);
    else this.#reportRecordFault(status);
  }

  #writeRecord(): void {
    this.#write(RECORD_SLOT, this.#recordBytes);
    this.#release();
    this.#afterRecord();
  }

  #reportRecordFault(status: number): void {
    this.#release();
    this.#host.errors.record({
      error: status,
      descriptor: this.#errorDescriptor(),
      isWrite: true,
      fault: u64(this.#descriptor[RECORD_ADDRESS_WORD] ?? 0, this.#descriptor[RECORD_ADDRESS_WORD + 1] ?? 0),
    });
    this.#end(status);
  }

  #afterRecord(): void {
    const status = R_STATUS.get(this.#record, 0);
    if (this.#wantsInterrupt()) this.#work.phase = PHASE.INTERRUPT;
    else this.#end(status);
  }

  /** Whether an interrupt is asked for, and may be: a descriptor that failed an earlier check is looked at anew. */
  #wantsInterrupt(): boolean {
    const { flags, pasid, isPrivileged } = this.#work;
    if ((flags & FLAG.RCI) === 0 || !(isPrivileged || this.#host.userInterrupts)) return false;
    return this.#host.interrupts.isAllowed(HANDLE.get(this.#descriptor, 0), pasid);
  }

  #interrupt(): void {
    this.#host.interrupts.complete(HANDLE.get(this.#descriptor, 0));
    this.#end(R_STATUS.get(this.#record, 0));
  }

  #end(status: number): void {
    const work = this.#work;
    const { tag } = work;
    work.phase = PHASE.IDLE;
    work.isAborted = false;
    work.group = NO_GROUP;
    work.response = NO_RESPONSE;
    this.#release();
    this.#host.audit?.completed(tag, status);
  }

  #release(): void {
    if (this.#work.held === 0) return;
    this.#work.held = 0;
    this.#host.released();
  }

  #hasEarlier(): boolean {
    const { wq, pasid, tag } = this.#work;
    return this.#host.hasEarlier(this.#host.queue(wq), pasid, tag);
  }
}
