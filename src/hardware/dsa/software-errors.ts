/**
 * Where the software errors of an Intel DSA device go: those of descriptors to the event log, if that is enabled; else
 * to SWERROR, which keeps one, a second one only setting OVERFLOW (Intel DSA Architecture Specification, 341204,
 * revision 3.0, 5.8 and 9.2.15).
 */
import {
  DSA_GENCTRL_REG,
  DSA_INTCAUSE_REG,
  DSA_NOOP,
  DSA_SWERROR_REG,
  type DsaRegisterTable,
  type RegisterFile,
} from '../../spec/index.js';
import type { SoftwareError } from './error-record.js';
import type { EventLog } from './event-log.js';
import { DEVICE_VECTOR, type Interrupts } from './interrupts.js';

const F = DSA_SWERROR_REG;

/** Told of each error, also of one that finds no room. Never changes anything. */
export type ErrorAudit = (what: SoftwareError) => void;

export class SoftwareErrors {
  /** Who watches. */
  audit: ErrorAudit | undefined;
  readonly #table: DsaRegisterTable;
  readonly #registers: RegisterFile;
  readonly #interrupts: Interrupts;
  readonly #log: EventLog;

  constructor(
    table: DsaRegisterTable,
    registers: RegisterFile,
    { interrupts, log }: { readonly interrupts: Interrupts; readonly log: EventLog },
  ) {
    this.#log = log;
    this.#table = table;
    this.#registers = registers;
    this.#interrupts = interrupts;
  }

  /** Whether errors of descriptors go to the event log. */
  get usesLog(): boolean {
    return this.#log.isEnabled;
  }
  /** Whether that has no room: who can wait, should. */
  get isLogFull(): boolean {
    return this.#log.isFull;
  }

  /** Records an error; one of a descriptor that finds the event log full, as another would in SWERROR. */
  record(what: SoftwareError): void {
    this.audit?.(what);
    if (what.descriptor !== undefined && this.#log.isEnabled && !this.#log.isFull) {
      this.#log.add(what, what.descriptor);
    } else this.#keep(what);
  }

  #keep(what: SoftwareError): void {
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
