/**
 * The registers of a virtual accelerator in BAR0, as far as VDCM emulates them (Intel DSA 3.0, 9.2): what a guest may
 * write, the state of device and queue that its commands change, the one error that SWERROR keeps, and the causes of
 * vector 0. The configuration of queue and group is fixed, but for the PASID of a dedicated queue. What lies behind
 * them, and MSI-X, is not here.
 */
import { assert, type Restorable } from '../../base/index.js';
import {
  DSA_CMDSTS_REG,
  DSA_DEVICE_STATE,
  DSA_GENCTRL_REG,
  DSA_GENSTS_REG,
  DSA_INTCAUSE_REG,
  DSA_STATUS,
  DSA_STRIDE,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQ_STATE,
  DSA_WQCFG,
  type DsaRegisterTable,
  type Field,
  type Register,
  RegisterFile,
} from '../../spec/index.js';
import { GuestPasid } from '../ids.js';
import { REGISTER_BYTES, type VirtualShape } from './capabilities.js';

const { STATE } = DSA_GENSTS_REG;
const { ACTIVE } = DSA_CMDSTS_REG;
const swerror = DSA_SWERROR_REG;
/** Of a WQCFG, the word with the PASID of a dedicated queue. */
const PASID_AT = DSA_TABLE.WQCFG + Math.floor(DSA_WQCFG.PASID.low / 32) * 4;
const PERMISSIONS = DSA_TABLE.MSIXPERM;

/** Told of what a guest's writes ask for, and of what the registers signal. */
export interface RegisterListener {
  /** A command, while none was active: CMDSTATUS says that it is. The word of CMD. */
  commanded(word: Int32Array): void;
  /** The permission of a vector. */
  permitted(vector: number): void;
  /** The configuration of the queue, which is disabled, names a PASID, or none. */
  named(guest: GuestPasid | undefined): void;
  /** What vector 0 is for. */
  caused(): void;
}

export class VirtualRegisters {
  /** What is put back of them. */
  readonly state: Restorable;
  readonly isDedicated: boolean;
  /** Where they are. */
  readonly table: DsaRegisterTable;
  readonly #file: RegisterFile;
  readonly #wqcfg: Register;
  readonly #listener: RegisterListener;

  constructor(
    { table, map }: VirtualShape,
    of: { readonly isDedicated: boolean },
    listener: RegisterListener,
  ) {
    const [wqcfg] = table.WQCFG;
    assert(wqcfg !== undefined, 'a virtual accelerator has a queue');
    this.table = table;
    this.#file = new RegisterFile(map, (register) => this.#written(register));
    this.state = this.#file;
    this.#wqcfg = wqcfg;
    this.isDedicated = of.isDedicated;
    this.#listener = listener;
  }

  /** Reads 4 bytes of BAR0: a signed word. */
  read32(offset: number): number {
    return offset < REGISTER_BYTES ? this.#file.read32(offset) : 0;
  }

  /** Writes 4 bytes of BAR0. */
  write32(offset: number, value: number): void {
    if (offset >= REGISTER_BYTES) return;
    if (offset === PASID_AT) this.#configure(value);
    else if (!this.#isFixed(offset)) this.#file.write32(offset, value);
  }

  /** All of them, word by word. */
  save(): Int32Array {
    return this.#file.words.slice();
  }

  /** What {@link VirtualRegisters.save} gave, of others that say the same of themselves. */
  load(words: Int32Array): void {
    this.#file.load(words);
    this.#listener.named(this.pasid);
  }

  /** What a field of a register is, and what it was where `words` were saved. */
  compare(register: Register, field: Field, words: Int32Array): readonly [is: bigint, was: bigint] {
    return [this.#file.getBig(register, field), field.getBig(words, register.at)];
  }

  get deviceState(): number {
    return this.#file.get(this.table.GENSTS, STATE);
  }
  set deviceState(state: number) {
    this.#file.set(this.table.GENSTS, STATE, state);
  }

  get queueState(): number {
    return this.#file.get(this.#wqcfg, DSA_WQCFG.STATE);
  }
  set queueState(state: number) {
    this.#file.set(this.#wqcfg, DSA_WQCFG.STATE, state);
  }

  /** What the queue's configuration names. */
  get pasid(): GuestPasid | undefined {
    if (!this.usesPasids) return undefined;
    return GuestPasid.of(this.#file.get(this.#wqcfg, DSA_WQCFG.PASID));
  }

  /** Whether it works with PASIDs: a shared queue always does. */
  get usesPasids(): boolean {
    return this.#file.get(this.#wqcfg, DSA_WQCFG.PASID_EN) === 1;
  }

  get blocksOnFault(): boolean {
    return this.#file.get(this.#wqcfg, DSA_WQCFG.BOF) === 1;
  }

  get vectors(): number {
    return this.table.MSIXPERM.length;
  }

  /** The permission that the guest has written for a vector: a word. */
  permission(vector: number): Int32Array {
    const at = this.table.MSIXPERM[vector]?.at ?? 0;
    return this.#file.words.slice(at, at + 1);
  }

  /** Whether a command is active. */
  get isActive(): boolean {
    return this.#file.get(this.table.CMDSTS, ACTIVE) === 1;
  }

  /** The command that was active is over. */
  complete({ error, result }: { readonly error: number; readonly result: number }): void {
    this.#file.set(this.table.CMDSTS, DSA_CMDSTS_REG.ERR, error);
    this.#file.set(this.table.CMDSTS, DSA_CMDSTS_REG.RESULT, result);
    this.#file.set(this.table.CMDSTS, ACTIVE, 0);
  }

  /** Its guest has asked to be told. */
  signalCompletion(): void {
    this.#cause(DSA_INTCAUSE_REG.CMD);
  }

  /** Records an error, if none is recorded. */
  record(fields: Readonly<Record<string, number | bigint>>): void {
    const { SWERROR, GENCTRL } = this.table;
    if (this.#file.get(SWERROR, swerror.VALID) === 1) {
      this.#file.set(SWERROR, swerror.OVERFLOW, 1);
      return;
    }
    for (const field of swerror.fields) {
      this.#file.setBig(SWERROR, field, BigInt(fields[field.name] ?? 0));
    }
    this.#file.set(SWERROR, swerror.VALID, 1);
    if (this.#file.get(GENCTRL, DSA_GENCTRL_REG.SWERR_INT) === 1) this.#cause(DSA_INTCAUSE_REG.SWERR);
  }

  /** The device halts, for this error. */
  halt(error: number): void {
    this.deviceState = DSA_DEVICE_STATE.HALTED;
    this.record({ ERROR: error });
    const isAsked = this.#file.get(this.table.GENCTRL, DSA_GENCTRL_REG.HALT_INT) === 1;
    if (isAsked) this.#cause(DSA_INTCAUSE_REG.HALT);
  }

  /** As after a reset of the device: an error that is recorded stays. */
  resetDevice(): void {
    const { SWERROR } = this.table;
    const recorded = this.#file.words.slice(SWERROR.at, SWERROR.at + swerror.bytes / 4);
    this.clear();
    for (const field of swerror.fields) this.#file.setBig(SWERROR, field, field.getBig(recorded, 0));
  }

  /** Everything as after power-on, but the commands. */
  clear(): void {
    const active = this.isActive ? 1 : 0;
    this.#file.reset();
    this.#file.set(this.table.CMDSTS, ACTIVE, active);
    this.#listener.named(undefined);
  }

  /** The queue as after its reset. */
  clearQueue(): void {
    if (this.isDedicated) this.#name(0, 0);
  }

  /** A dedicated queue that is disabled is given a PASID. Hardware would not let it be changed in any other state. */
  #configure(value: number): void {
    const isOpen = this.queueState === DSA_WQ_STATE.DISABLED && !this.isActive;
    if (!this.isDedicated || !isOpen) return;
    const words = new Int32Array(DSA_WQCFG.bytes / 4);
    words[(PASID_AT - DSA_TABLE.WQCFG) / 4] = value;
    this.#name(DSA_WQCFG.PASID.get(words, 0), DSA_WQCFG.PASID_EN.get(words, 0));
  }

  #name(pasid: number, enabled: number): void {
    this.#file.set(this.#wqcfg, DSA_WQCFG.PASID, pasid);
    this.#file.set(this.#wqcfg, DSA_WQCFG.PASID_EN, enabled);
    this.#listener.named(this.pasid);
  }

  #isFixed(offset: number): boolean {
    const { GENCFG, EVLCFG } = this.table;
    const isGroup = offset >= DSA_TABLE.GRPCFG && offset < DSA_TABLE.GRPCFG + DSA_STRIDE.GRPCFG;
    const isEventLog = offset >= EVLCFG.offset && offset < EVLCFG.offset + EVLCFG.layout.bytes;
    return isGroup || isEventLog || offset === GENCFG.offset || offset >= DSA_TABLE.WQCFG;
  }

  #written({ at, offset }: Register): void {
    const permissions = offset - PERMISSIONS;
    if (at === this.table.CMD.at) this.#commanded(at);
    else if (permissions >= 0 && permissions < this.vectors * DSA_STRIDE.MSIXPERM) {
      this.#listener.permitted(permissions / DSA_STRIDE.MSIXPERM);
    }
  }

  #commanded(at: number): void {
    if (this.isActive) {
      this.record({ ERROR: DSA_STATUS.COMMAND_WHILE_ACTIVE });
      return;
    }
    const word = this.#file.words.slice(at, at + 1);
    this.#file.set(this.table.CMDSTS, DSA_CMDSTS_REG.ERR, 0);
    this.#file.set(this.table.CMDSTS, ACTIVE, 1);
    this.#listener.commanded(word);
  }

  #cause(field: Field): void {
    this.#file.set(this.table.INTCAUSE, field, 1);
    this.#listener.caused();
  }
}
