/**
 * The administrative commands of a virtual accelerator (Intel DSA 3.0, 5.8.3 and 9.2.12). What concerns its state
 * is done here; what waits for or abandons work is done on the parent's queue behind it, by a task of the host's:
 * CMDSTATUS.Active says so meanwhile.
 */
import type { Refusal, Task } from '../../base/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_DEVICE_STATE,
  DSA_WQ_STATE,
  DSA_COMMAND_ERROR as ERROR,
} from '../../spec/index.js';
import { GuestPasid } from '../ids.js';
import type { HandleResult, VirtualInterrupts } from './interrupts.js';
import { type PciState, pciDeviceError, pciQueueError } from './pci-state.js';
import type { QueueBehind } from './queue.js';
import type { VirtualRegisters } from './registers.js';

/** What a command does something to. */
export interface CommandTarget {
  readonly registers: VirtualRegisters;
  readonly queue: QueueBehind;
  readonly interrupts: VirtualInterrupts;
  /** What configuration space says. */
  readonly pci: { readonly value: PciState };
}

const { DISABLED, ENABLED, DRAINING } = DSA_WQ_STATE;

/** Carries a command out; its error code, and its result where it has one. */
export function* runCommand(target: CommandTarget, command: number, operand: number): Task<HandleResult> {
  const isHalted = target.registers.deviceState === DSA_DEVICE_STATE.HALTED;
  if (isHalted && command !== CMD.RESET_DEVICE) return { error: ERROR.HALTED, result: 0 };
  if (command === CMD.REQUEST_INT_HANDLE) return yield* target.interrupts.request(operand);
  if (command === CMD.RELEASE_INT_HANDLE) return yield* target.interrupts.release(operand);
  return { error: yield* changeState(target, command, operand), result: 0 };
}

function* changeState(target: CommandTarget, command: number, operand: number): Task<number> {
  switch (command) {
    case CMD.ENABLE_DEVICE:
      return enableDevice(target, operand);
    case CMD.ENABLE_WQ:
      return yield* enableQueue(target, operand);
    case CMD.DISABLE_DEVICE:
    case CMD.RESET_DEVICE:
      return yield* stopDevice(target, command, operand);
    case CMD.DRAIN_ALL:
    case CMD.ABORT_ALL:
      return errorOf(yield* target.queue.quiesce(command === CMD.ABORT_ALL));
    case CMD.DISABLE_WQ:
    case CMD.DRAIN_WQ:
    case CMD.ABORT_WQ:
    case CMD.RESET_WQ:
      return yield* queueCommand(target, command, operand);
    case CMD.DRAIN_PASID:
    case CMD.ABORT_PASID:
      return errorOf(yield* target.queue.quiescePasid(GuestPasid.of(operand), command === CMD.ABORT_PASID));
    default:
      return ERROR.INVALID_COMMAND;
  }
}

function enableDevice({ registers, pci }: CommandTarget, operand: number): number {
  if (operand !== 0) return ERROR.RESERVED_FIELD;
  if (registers.deviceState !== DSA_DEVICE_STATE.DISABLED) return ERROR.DEVICE_NOT_DISABLED;
  const refused = pciDeviceError(pci.value);
  if (refused !== ERROR.SUCCESS) return refused;
  registers.deviceState = DSA_DEVICE_STATE.ENABLED;
  return ERROR.SUCCESS;
}

function* enableQueue({ registers, queue, pci }: CommandTarget, index: number): Task<number> {
  if (index !== 0) return ERROR.INVALID_WQ_INDEX;
  if (registers.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DEVICE_NOT_ENABLED;
  if (registers.queueState !== DISABLED) return ERROR.WQ_NOT_DISABLED;
  const refused = pciQueueError(pci.value, registers);
  if (refused !== ERROR.SUCCESS) return refused;
  const error = yield* queue.enable(registers.pasid);
  if (error !== undefined) return error;
  registers.queueState = ENABLED;
  return ERROR.SUCCESS;
}

function* stopDevice(
  { registers, queue, interrupts }: CommandTarget,
  command: number,
  operand: number,
): Task<number> {
  if (operand !== 0) return ERROR.RESERVED_FIELD;
  const isReset = command === CMD.RESET_DEVICE;
  if (!isReset && registers.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DISABLE_NOT_ENABLED;
  registers.deviceState = DSA_DEVICE_STATE.DRAINING;
  const error = errorOf(yield* queue.disable(isReset));
  if (isReset) {
    yield* interrupts.reset();
    registers.resetDevice();
  }
  registers.queueState = DISABLED;
  registers.deviceState = DSA_DEVICE_STATE.DISABLED;
  return error;
}

/** The operand names queues by a bit each: there is the first alone. */
function* queueCommand({ registers, queue }: CommandTarget, command: number, operand: number): Task<number> {
  if (operand > 1) return ERROR.INVALID_WQ_INDEX;
  if (operand === 0) return ERROR.SUCCESS;
  if (command !== CMD.RESET_WQ && registers.queueState !== ENABLED) return ERROR.WQS_NOT_ENABLED;
  const isAbort = command === CMD.ABORT_WQ || command === CMD.RESET_WQ;
  if (command === CMD.DRAIN_WQ || command === CMD.ABORT_WQ) return errorOf(yield* queue.quiesce(isAbort));
  if (registers.queueState === ENABLED) registers.queueState = DRAINING;
  const error = errorOf(yield* queue.disable(isAbort));
  registers.queueState = DISABLED;
  if (command === CMD.RESET_WQ) registers.clearQueue();
  return error;
}

const errorOf = (refusal: Refusal<'EIO'> | undefined): number =>
  refusal === undefined ? ERROR.SUCCESS : ERROR.HARDWARE_ERROR;
