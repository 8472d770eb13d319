/**
 * The accelerator's registers, through MMIO: capabilities, commands, and the tables of work queues and groups
 * (Intel DSA 3.0, 9.2). One command at a time.
 */
import { type Refusal, refuse, type Task } from '../../base/index.js';
import {
  DSA_CMD_REG,
  DSA_CMDCAP_REG,
  DSA_CMDSTS_REG,
  DSA_COMMAND,
  DSA_COMMAND_ERROR,
  DSA_COMMAND_NAMES,
  DSA_GENSTS_REG,
  DSA_OFFSETS_REG,
  DSA_STRIDE,
  DSA_WQCAP_REG,
  dsaRegisters,
  type Register,
} from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { Mutex } from '../mutex.js';

/** The registers whose place is fixed; those of the tables follow OFFSETS. */
export const REGISTER = dsaRegisters({
  ...{ version: 0n, gencap: 0n, wqcap: 0n, grpcap: 0n, engcap: 0n, opcap: 0n, cmdcap: 0n },
  ...{ wqs: 0, groups: 0, vectors: 0 },
});

const TABLE_UNIT = 0x100;
/** What registers say where no device is. */
const NOBODY = -1;
const NOBODY_ERROR = DSA_CMDSTS_REG.ERR.get(Int32Array.of(NOBODY), 0);

const isActive = (status: Int32Array): boolean =>
  status[0] !== NOBODY && DSA_CMDSTS_REG.ACTIVE.get(status, 0) === 1;

/** In the operands of commands about interrupt handles: of interrupt message storage, not of MSI-X. */
export const IMS_OPERAND = 1 << 16;

/** What a device may wait for that does not come to the end of a command: a guest's answers to page requests. */
export interface Unstick {
  /** How many have come: as long as there are new ones, the guest is not silent. */
  readonly answered: () => number;
  /** Answers in the guest's place; called again and again. */
  readonly answer: () => Task;
}

/**
 * So often a command's status is read before it has taken long: a kernel would set a timer. A guest that does answer
 * needs less, however slow its machine and however many pages it is asked for at once.
 */
const PATIENCE = 10_000;

export class DsaRegisters {
  readonly #context: KernelContext;
  readonly #base: number;
  readonly #name: string;
  readonly #lock: Mutex;

  constructor(context: KernelContext, base: number, name: string) {
    this.#context = context;
    this.#base = base;
    this.#name = name;
    this.#lock = new Mutex(context.log, `${name} command`);
  }

  read(register: Register): Int32Array {
    return this.readAt(register.offset, register.layout.bytes);
  }

  /** Reads 4 bytes at a time. */
  readAt(offset: number, bytes: number): Int32Array {
    const { mmio } = this.#context.platform;
    const words = new Int32Array(bytes / 4);
    for (let i = 0; i < words.length; i++) words[i] = mmio.read32(this.#base + offset + i * 4);
    return words;
  }

  #readWord(offset: number): number {
    return this.#context.platform.mmio.read32(this.#base + offset);
  }

  writeAt(offset: number, words: Int32Array): void {
    const { mmio } = this.#context.platform;
    for (let i = 0; i < words.length; i++) mmio.write32(this.#base + offset + i * 4, words[i] ?? 0);
  }

  /** Where the configuration of a work queue stands. */
  wqcfgAt(wq: number): number {
    const shift = 5 + DSA_WQCAP_REG.WQCFG_SIZE.get(this.read(REGISTER.WQCAP), 0);
    return DSA_OFFSETS_REG.WQCFG.get(this.read(REGISTER.OFFSETS), 0) * TABLE_UNIT + wq * 2 ** shift;
  }

  /** Where the configuration of a group stands. */
  grpcfgAt(group: number): number {
    const table = DSA_OFFSETS_REG.GRPCFG.get(this.read(REGISTER.OFFSETS), 0) * TABLE_UNIT;
    return table + group * DSA_STRIDE.GRPCFG;
  }

  /** Where the permissions of an MSI-X vector stand. */
  msixPermAt(vector: number): number {
    const table = DSA_OFFSETS_REG.MSIX_PERM.get(this.read(REGISTER.OFFSETS), 0) * TABLE_UNIT;
    return table + vector * DSA_STRIDE.MSIXPERM;
  }

  /** Where an entry of interrupt message storage stands. */
  imsAt(entry: number): number {
    return DSA_OFFSETS_REG.IMS.get(this.read(REGISTER.OFFSETS), 0) * TABLE_UNIT + entry * DSA_STRIDE.IMS;
  }

  get deviceState(): number {
    return DSA_GENSTS_REG.STATE.get(this.read(REGISTER.GENSTS), 0);
  }

  /**
   * Has the device carry out a command; returns when it has.
   *
   * @param unstick what to do once the device has taken long: others wait for its one command register
   *
   * On failure: `EIO` names the command and the device's error; or the device is not there any more.
   */
  *command(command: number, operand: number, unstick?: Unstick): Task<Refusal<'EIO'> | undefined> {
    const { error } = yield* this.#run(command, operand, unstick);
    return error === 0 ? undefined : this.#failed(command, error);
  }

  /**
   * The same, of a command that has work queues come to rest: one that is not enabled has nothing, and is at rest. A
   * virtual device's may have been disabled by who made it.
   */
  *quiesce(command: number, queues: number, unstick?: Unstick): Task<Refusal<'EIO'> | undefined> {
    const { error } = yield* this.#run(command, queues, unstick);
    const isAtRest = error === 0 || error === DSA_COMMAND_ERROR.WQS_NOT_ENABLED;
    return isAtRest ? undefined : this.#failed(command, error);
  }

  /**
   * The handle by which descriptors name an interrupt entry: asked for, where the device has the command; else the
   * entry's index.
   *
   * @param entry with {@link IMS_OPERAND} for one of interrupt message storage
   *
   * On failure: `ENOSPC` if all handles are given out; `EIO`.
   */
  *requestHandle(entry: number): Task<number | Refusal<'ENOSPC' | 'EIO'>> {
    if (!this.#hasHandles) return entry & ~IMS_OPERAND;
    const { error, result } = yield* this.#run(DSA_COMMAND.REQUEST_INT_HANDLE, entry);
    if (error === 0) return result;
    if (error === DSA_COMMAND_ERROR.NO_HANDLE) return refuse('ENOSPC', `${this.#name} has no handle left`);
    return this.#failed(DSA_COMMAND.REQUEST_INT_HANDLE, error);
  }

  /**
   * @param handle with {@link IMS_OPERAND} for one of interrupt message storage
   *
   * On failure: `EIO`.
   */
  *releaseHandle(handle: number): Task<Refusal<'EIO'> | undefined> {
    if (!this.#hasHandles) return undefined;
    return yield* this.command(DSA_COMMAND.RELEASE_INT_HANDLE, handle);
  }

  get #hasHandles(): boolean {
    const commands = DSA_CMDCAP_REG.CMDS.getBig(this.read(REGISTER.CMDCAP), 0);
    return ((commands >> BigInt(DSA_COMMAND.REQUEST_INT_HANDLE)) & 1n) === 1n;
  }

  *#run(
    command: number,
    operand: number,
    unstick?: Unstick,
  ): Task<{ readonly error: number; readonly result: number }> {
    if (!this.#lock.tryLock()) yield* this.#lock.lock();
    try {
      const words = new Int32Array(1);
      DSA_CMD_REG.CMD.set(words, 0, command);
      DSA_CMD_REG.OPERAND.set(words, 0, operand);
      this.writeAt(REGISTER.CMD.offset, words);
      const status = words;
      status[0] = this.#readWord(REGISTER.CMDSTS.offset);
      let answered = unstick?.answered();
      for (let polls = 0; isActive(status); polls++) {
        yield `${this.#name}: command`;
        const now = unstick?.answered();
        // Who has been answered for once is not waited for again.
        if (now !== answered && polls < PATIENCE) polls = 0;
        answered = now;
        if (polls >= PATIENCE && unstick !== undefined) yield* unstick.answer();
        status[0] = this.#readWord(REGISTER.CMDSTS.offset);
      }
      return { error: DSA_CMDSTS_REG.ERR.get(status, 0), result: DSA_CMDSTS_REG.RESULT.get(status, 0) };
    } finally {
      this.#lock.unlock();
    }
  }

  #failed(command: number, error: number): Refusal<'EIO'> {
    if (error === NOBODY_ERROR) return refuse('EIO', `${this.#name} is not there`);
    const name = (DSA_COMMAND_NAMES as Readonly<Record<number, string>>)[command] ?? `command ${command}`;
    return refuse('EIO', `${this.#name}: "${name}" failed with error 0x${error.toString(16)}`);
  }
}
