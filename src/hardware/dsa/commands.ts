/**
 * The administrative commands of an Intel DSA device (Intel DSA Architecture Specification, 341204, revision
 * 3.0, 3.15, 5.1, 5.2, 5.8.3 and 9.2.12). A command is taken from CMD in one step, and is over in a later one,
 * when the descriptors that it waits for are gone; CMDSTATUS.Active says so in between. Where the specification
 * leaves it open, an abort abandons all it may: what is queued at once, what an engine works on at its next step.
 */
import { Bug, type Restorable } from '../../base/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_DEVICE_STATE,
  DSA_INTCAUSE_REG,
  DSA_STATUS,
  DSA_WQ_STATE,
  DSA_COMMAND_ERROR as ERROR,
} from '../../spec/index.js';
import { type Engine, Readiness } from '../engine.js';
import { deviceError, wqError } from './checks.js';
import type { DsaCore } from './core.js';
import { IMS_TABLE, NO_ENTRY } from './interrupt-handles.js';
import { DEVICE_VECTOR } from './interrupts.js';
import { ANY_PASID, type WorkQueue } from './work-queue.js';

const NO_LIMIT = 2 ** 31 - 1;
const { ACTIVE } = DSA_CMDSTS_REG;
/** Of interrupt entries and handles. */
const MAX_INDEX = 0xffff;

export class Commands implements Engine, Restorable {
  readonly name: string;
  readonly readiness = new Readiness();
  readonly #core: DsaCore;
  /** `wqs`: which queues it concerns, a bit each; `pasid`: whose descriptors; `last`: up to which tag. */
  readonly #now = {
    command: 0,
    operand: 0,
    interrupt: 0,
    isStarted: false,
    wqs: 0,
    pasid: ANY_PASID,
    last: 0,
    result: 0,
  };
  readonly #marked = { ...this.#now };

  constructor(name: string, core: DsaCore) {
    this.name = name;
    this.#core = core;
  }

  /** A write to CMD. */
  submit(value: number): void {
    const { registers, table, errors } = this.#core;
    if (this.isActive) {
      errors.record({ error: DSA_STATUS.COMMAND_WHILE_ACTIVE });
      return;
    }
    const words = Int32Array.of(value);
    const now = this.#now;
    now.command = DSA_CMD_REG.CMD.get(words, 0);
    now.operand = DSA_CMD_REG.OPERAND.get(words, 0);
    now.interrupt = DSA_CMD_REG.INT.get(words, 0);
    now.isStarted = false;
    now.wqs = 0;
    now.pasid = ANY_PASID;
    now.last = NO_LIMIT;
    now.result = 0;
    registers.set(table.CMDSTS, DSA_CMDSTS_REG.ERR, 0);
    registers.set(table.CMDSTS, ACTIVE, 1);
  }

  get isActive(): boolean {
    const { registers, table } = this.#core;
    return ACTIVE.get(registers.words, table.CMDSTS.at) === 1;
  }

  get isReady(): boolean {
    return this.isActive && (!this.#now.isStarted || !this.#isWaiting());
  }

  step(): void {
    this.#core.stir();
    if (this.#now.isStarted) {
      this.#finish();
      return;
    }
    this.#now.isStarted = true;
    const error = this.#start();
    if (error !== ERROR.SUCCESS) this.#done(error);
    else if (!this.#isWaiting()) this.#finish();
  }

  mark(): void {
    Object.assign(this.#marked, this.#now);
  }

  restore(): void {
    Object.assign(this.#now, this.#marked);
  }

  /** Whether a descriptor that the command waits for is still there. */
  #isWaiting(): boolean {
    const { wqs, pasid, last } = this.#now;
    for (const queue of this.#core.queues) {
      if ((wqs & (1 << queue.index)) === 0) continue;
      if (queue.holds(pasid, last)) return true;
      for (const engine of this.#core.engines) {
        if (engine.isAt(queue.index, pasid === ANY_PASID ? undefined : pasid, last)) return true;
      }
    }
    return false;
  }

  /** Checks the command, and does what comes before the waiting. */
  #start(): number {
    const now = this.#now;
    const core = this.#core;
    if (core.deviceState === DSA_DEVICE_STATE.HALTED && now.command !== CMD.RESET_DEVICE) return ERROR.HALTED;
    switch (now.command) {
      case CMD.ENABLE_DEVICE:
        return now.operand === 0 ? deviceError(core) : ERROR.RESERVED_FIELD;
      case CMD.ENABLE_WQ:
        return wqError(core, now.operand);
      case CMD.DISABLE_DEVICE:
      case CMD.RESET_DEVICE:
        return this.#startDevice();
      case CMD.DRAIN_ALL:
      case CMD.ABORT_ALL:
        now.wqs = -1;
        now.last = core.lastTag;
        return this.#abortIf(now.command === CMD.ABORT_ALL);
      case CMD.DISABLE_WQ:
      case CMD.DRAIN_WQ:
      case CMD.ABORT_WQ:
      case CMD.RESET_WQ:
        return this.#startQueues();
      case CMD.DRAIN_PASID:
      case CMD.ABORT_PASID:
        now.wqs = -1;
        now.pasid = now.operand;
        return this.#abortIf(now.command === CMD.ABORT_PASID);
      case CMD.REQUEST_INT_HANDLE:
        return this.#requestHandle();
      case CMD.RELEASE_INT_HANDLE:
        return this.#releaseHandle();
      default:
        return ERROR.INVALID_COMMAND;
    }
  }

  #requestHandle(): number {
    const { interrupts } = this.#core;
    const { operand } = this.#now;
    if (interrupts.handles.count === 0) return ERROR.INVALID_COMMAND;
    if (operand > (IMS_TABLE | MAX_INDEX)) return ERROR.RESERVED_FIELD;
    if (!interrupts.hasEntry(operand)) return ERROR.INTERRUPT_INDEX;
    const handle = interrupts.handles.request(operand);
    if (handle === NO_ENTRY) return ERROR.NO_HANDLE;
    this.#now.result = handle & ~IMS_TABLE;
    return ERROR.SUCCESS;
  }

  #releaseHandle(): number {
    const { handles } = this.#core.interrupts;
    const { operand } = this.#now;
    if (handles.count === 0) return ERROR.INVALID_COMMAND;
    if (operand > (IMS_TABLE | MAX_INDEX)) return ERROR.RESERVED_FIELD;
    return handles.release(operand) ? ERROR.SUCCESS : ERROR.INTERRUPT_INDEX;
  }

  #startDevice(): number {
    const core = this.#core;
    const isReset = this.#now.command === CMD.RESET_DEVICE;
    if (this.#now.operand !== 0) return ERROR.RESERVED_FIELD;
    if (!isReset && core.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DISABLE_NOT_ENABLED;
    if (core.deviceState === DSA_DEVICE_STATE.DISABLED) return ERROR.SUCCESS;
    core.deviceState = DSA_DEVICE_STATE.DRAINING;
    for (const queue of core.queues) close(queue);
    this.#now.wqs = -1;
    return this.#abortIf(isReset);
  }

  #startQueues(): number {
    const { command, operand } = this.#now;
    const named = operand & 0xffff;
    if (operand >>> 16 !== 0 || named >>> this.#core.queues.length !== 0) return ERROR.INVALID_WQ_INDEX;
    for (const queue of this.#core.queues) {
      const isNamed = (named & (1 << queue.index)) !== 0;
      if (isNamed && command !== CMD.RESET_WQ && queue.state !== DSA_WQ_STATE.ENABLED)
        return ERROR.WQS_NOT_ENABLED;
    }
    this.#now.wqs = named;
    if (command === CMD.DISABLE_WQ || command === CMD.RESET_WQ) {
      for (const queue of this.#core.queues) if ((named & (1 << queue.index)) !== 0) close(queue);
    }
    return this.#abortIf(command === CMD.ABORT_WQ || command === CMD.RESET_WQ);
  }

  #abortIf(isAbort: boolean): number {
    if (!isAbort) return ERROR.SUCCESS;
    const { wqs, pasid } = this.#now;
    for (const queue of this.#core.queues) {
      if ((wqs & (1 << queue.index)) === 0) continue;
      queue.discard(pasid, this.#core.discarded);
      for (const engine of this.#core.engines) {
        if (engine.isAt(queue.index, pasid === ANY_PASID ? undefined : pasid, NO_LIMIT)) engine.abort();
      }
    }
    return ERROR.SUCCESS;
  }

  /** What comes after the waiting. */
  #finish(): void {
    const core = this.#core;
    const { command, operand, wqs } = this.#now;
    if (command === CMD.ENABLE_DEVICE) core.enable();
    else if (command === CMD.ENABLE_WQ) this.#queue(operand).state = DSA_WQ_STATE.ENABLED;
    else if (command === CMD.DISABLE_DEVICE) core.disable();
    else if (command === CMD.RESET_DEVICE) core.resetConfiguration();
    else if (command === CMD.DISABLE_WQ || command === CMD.RESET_WQ) {
      for (const queue of core.queues) {
        if ((wqs & (1 << queue.index)) === 0) continue;
        queue.state = DSA_WQ_STATE.DISABLED;
        if (command === CMD.RESET_WQ) core.resetQueue(queue);
      }
    }
    this.#done(ERROR.SUCCESS);
  }

  #queue(index: number): WorkQueue {
    const queue = this.#core.queues[index];
    if (queue === undefined) throw new Bug(`there is no WQ ${index}`);
    return queue;
  }

  #done(error: number): void {
    const { registers, table, interrupts } = this.#core;
    registers.set(table.CMDSTS, DSA_CMDSTS_REG.ERR, error);
    registers.set(table.CMDSTS, DSA_CMDSTS_REG.RESULT, this.#now.result);
    registers.set(table.CMDSTS, ACTIVE, 0);
    if (this.#now.interrupt === 0) return;
    registers.set(table.INTCAUSE, DSA_INTCAUSE_REG.CMD, 1);
    interrupts.signal(DEVICE_VECTOR);
  }
}

/** Has a queue take no more. */
function close(queue: WorkQueue): void {
  if (queue.state === DSA_WQ_STATE.ENABLED) queue.state = DSA_WQ_STATE.DRAINING;
}
