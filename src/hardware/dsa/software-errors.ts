/**
 * SWERROR: the one software error that an Intel DSA device keeps (Intel DSA Architecture Specification, 341204,
 * revision 3.0, 5.8 and 9.2.15). A second one only sets OVERFLOW.
 */
import {
  DSA_GENCTRL_REG,
  DSA_INTCAUSE_REG,
  DSA_NOOP,
  DSA_SWERROR_REG,
  type DsaRegisterTable,
  type RegisterFile,
} from '../../spec/index.js';
import { DEVICE_VECTOR, type Interrupts } from './interrupts.js';

const F = DSA_SWERROR_REG;

/** The descriptor that an error is about. */
export interface ErrorDescriptor {
  readonly words: Int32Array;
  readonly wq: number;
  /** Negative for none. */
  readonly pasid: number;
  readonly isPrivileged: boolean;
  /** Where it was one of a batch. */
  readonly batchIndex?: number;
}

/** An error, as SWERROR has it; what is left out is zero. */
export interface SoftwareError {
  readonly error: number;
  readonly descriptor?: ErrorDescriptor;
  readonly isWrite?: boolean;
  readonly info?: number;
  readonly fault?: bigint;
}

/** Told of each error, also of one that finds no room. Never changes anything. */
export type ErrorAudit = (what: SoftwareError) => void;

export class SoftwareErrors {
  /** Who watches. */
  audit: ErrorAudit | undefined;
  readonly #table: DsaRegisterTable;
  readonly #registers: RegisterFile;
  readonly #interrupts: Interrupts;

  constructor(table: DsaRegisterTable, registers: RegisterFile, interrupts: Interrupts) {
    this.#table = table;
    this.#registers = registers;
    this.#interrupts = interrupts;
  }

  record(what: SoftwareError): void {
    this.audit?.(what);
    const { SWERROR, GENCTRL, INTCAUSE } = this.#table;
    const registers = this.#registers;
    if (registers.get(SWERROR, F.VALID) === 1) {
      registers.set(SWERROR, F.OVERFLOW, 1);
      return;
    }
    const { descriptor } = what;
    registers.set(SWERROR, F.VALID, 1);
    registers.set(SWERROR, F.DESC_VALID, descriptor === undefined ? 0 : 1);
    registers.set(SWERROR, F.WQ_VALID, descriptor === undefined ? 0 : 1);
    registers.set(SWERROR, F.BATCH, descriptor?.batchIndex === undefined ? 0 : 1);
    registers.set(SWERROR, F.BATCH_INDEX, descriptor?.batchIndex ?? 0);
    registers.set(SWERROR, F.RW, what.isWrite === true ? 1 : 0);
    registers.set(SWERROR, F.PRIV, descriptor?.isPrivileged === true ? 1 : 0);
    registers.set(SWERROR, F.INFO_VALID, what.info === undefined ? 0 : 1);
    registers.set(SWERROR, F.ERROR, what.error);
    registers.set(SWERROR, F.WQ, descriptor?.wq ?? 0);
    registers.set(
      SWERROR,
      F.OPERATION,
      descriptor === undefined ? 0 : DSA_NOOP.OPCODE.get(descriptor.words, 0),
    );
    registers.set(SWERROR, F.PASID, Math.max(descriptor?.pasid ?? 0, 0));
    registers.set(SWERROR, F.INFO, what.info ?? 0);
    registers.setBig(SWERROR, F.ADDR, what.fault ?? 0n);
    if (registers.get(GENCTRL, DSA_GENCTRL_REG.SWERR_INT) === 0) return;
    registers.set(INTCAUSE, DSA_INTCAUSE_REG.SWERR, 1);
    this.#interrupts.signal(DEVICE_VECTOR);
  }
}
