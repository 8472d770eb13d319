/**
 * The administrative commands of a virtual accelerator (Intel DSA 3.0, 5.8.3 and 9.2.12). What concerns its state
 * is done here; what waits for or abandons work is done on the parent, for the host's PASIDs behind the guest's,
 * by a task of the host's: CMDSTATUS.Active says so meanwhile.
 *
 * A shared queue takes from all: a virtual queue is drained by draining, one after the other, the PASIDs that its VM
 * has bound. One that is disabled still takes what its own VM submits: the portal is mapped.
 */
import { isRefusal, type Refusal, type Task } from '../../base/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_DEVICE_STATE,
  DSA_WQ_STATE,
  DSA_COMMAND_ERROR as ERROR,
} from '../../spec/index.js';
import { GuestPasid, type Pasid } from '../ids.js';

/** What a command does something to. */
export interface CommandTarget {
  deviceState: number;
  queueState: number;
  /** The host's PASIDs that the VM has bound. */
  bound(): readonly Pasid[];
  /**
   * Has the parent drain or abort one PASID of the guest's; nothing is done for one that stands for nothing.
   *
   * On failure: `EIO`.
   */
  guestPasid(pasid: GuestPasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  /** The same for one of the host's. */
  hostPasid(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  /** Everything as after a reset of the device, but the commands. */
  clear(): void;
}

const { DISABLED, ENABLED, DRAINING } = DSA_WQ_STATE;

/** Carries a command out; its error code. */
export function* runCommand(target: CommandTarget, command: number, operand: number): Task<number> {
  switch (command) {
    case CMD.ENABLE_DEVICE:
      return enableDevice(target, operand);
    case CMD.ENABLE_WQ:
      return enableQueue(target, operand);
    case CMD.DISABLE_DEVICE:
    case CMD.RESET_DEVICE:
      return yield* stopDevice(target, command, operand);
    case CMD.DRAIN_ALL:
    case CMD.ABORT_ALL:
      return yield* quiesceAll(target, command === CMD.ABORT_ALL);
    case CMD.DISABLE_WQ:
    case CMD.DRAIN_WQ:
    case CMD.ABORT_WQ:
    case CMD.RESET_WQ:
      return yield* queueCommand(target, command, operand);
    case CMD.DRAIN_PASID:
    case CMD.ABORT_PASID:
      return errorOf(yield* target.guestPasid(GuestPasid.of(operand), command === CMD.ABORT_PASID));
    default:
      return ERROR.INVALID_COMMAND;
  }
}

function enableDevice(target: CommandTarget, operand: number): number {
  if (operand !== 0) return ERROR.RESERVED_FIELD;
  if (target.deviceState !== DSA_DEVICE_STATE.DISABLED) return ERROR.DEVICE_NOT_DISABLED;
  target.deviceState = DSA_DEVICE_STATE.ENABLED;
  return ERROR.SUCCESS;
}

function enableQueue(target: CommandTarget, index: number): number {
  if (index !== 0) return ERROR.INVALID_WQ_INDEX;
  if (target.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DEVICE_NOT_ENABLED;
  if (target.queueState !== DISABLED) return ERROR.WQ_NOT_DISABLED;
  target.queueState = ENABLED;
  return ERROR.SUCCESS;
}

function* stopDevice(target: CommandTarget, command: number, operand: number): Task<number> {
  if (operand !== 0) return ERROR.RESERVED_FIELD;
  const isReset = command === CMD.RESET_DEVICE;
  if (!isReset && target.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DISABLE_NOT_ENABLED;
  target.deviceState = DSA_DEVICE_STATE.DRAINING;
  const error = yield* quiesceAll(target, isReset);
  if (isReset) target.clear();
  target.queueState = DISABLED;
  target.deviceState = DSA_DEVICE_STATE.DISABLED;
  return error;
}

/** The operand names queues by a bit each: there is the first alone. */
function* queueCommand(target: CommandTarget, command: number, operand: number): Task<number> {
  if (operand > 1) return ERROR.INVALID_WQ_INDEX;
  if (operand === 0) return ERROR.SUCCESS;
  if (command !== CMD.RESET_WQ && target.queueState !== ENABLED) return ERROR.WQS_NOT_ENABLED;
  const closes = command === CMD.DISABLE_WQ || command === CMD.RESET_WQ;
  if (closes && target.queueState === ENABLED) target.queueState = DRAINING;
  const error = yield* quiesceAll(target, command === CMD.ABORT_WQ || command === CMD.RESET_WQ);
  if (closes) target.queueState = DISABLED;
  return error;
}

function* quiesceAll(target: CommandTarget, isAbort: boolean): Task<number> {
  for (const pasid of target.bound()) {
    const refusal = yield* target.hostPasid(pasid, isAbort);
    if (refusal !== undefined) return errorOf(refusal);
  }
  return ERROR.SUCCESS;
}

const errorOf = (refusal: Refusal<'EIO'> | undefined): number =>
  isRefusal(refusal) ? ERROR.HARDWARE_ERROR : ERROR.SUCCESS;
