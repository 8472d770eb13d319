/**
 * Where faults are recorded, after VT-d 4.1, 7.2: the fault recording registers, taken in turn, and the fault
 * status register with its interrupt. A fault that finds its register taken is lost, and says so (PFO); none is
 * recorded then until software clears that. Faults of one requester are not compressed. The fault log in memory
 * (AFL) is left out.
 */
import { type Restorable, Words } from '../../base/index.js';
import {
  FAULT_RECORD,
  FSTS_REG,
  IQEI,
  IQER_REG,
  type Register,
  type RegisterFile,
  VTD_REGISTER,
} from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { EventMessage } from './event-message.js';
import { NO_PASID, type Request } from './request.js';

const { FSTS, IQER } = VTD_REGISTER;
const { PFO, PPF, IQE, ICE, ITE, FRI } = FSTS_REG;
const STATUS = [PFO, PPF, IQE, ICE, ITE] as const;
const record = FAULT_RECORD;

/** What was wrong with which kind of request. */
export interface Fault {
  /** One of FAULT. */
  readonly reason: number;
  /** One of ADDRESS_TYPE. */
  readonly addressType: number;
  /** One of FAULT_TYPE. */
  readonly type: number;
}

/** Told of each fault, also of one that finds no room. Never changes anything. */
export type FaultAudit = (fault: Fault, request: Request) => void;

export class FaultRecording implements Restorable {
  /** Who watches. */
  audit: FaultAudit | undefined;
  readonly #file: RegisterFile;
  readonly #records: readonly Register[];
  readonly #event: EventMessage;
  /** The register of the next fault. */
  readonly #next = new Words(1, 1);

  constructor(file: RegisterFile, records: readonly Register[], event: EventMessage) {
    this.#file = file;
    this.#records = records;
    this.#event = event;
  }

  /** Records a fault of a request. */
  record(fault: Fault, request: Request): void {
    this.audit?.(fault, request);
    const wasQuiet = this.#isQuiet();
    const index = this.next;
    const register = this.#records[index];
    if (register === undefined || this.#file.get(FSTS, PFO) === 1) return;
    if (this.#file.get(register, record.F) === 1) {
      this.#file.set(FSTS, PFO, 1);
    } else {
      this.#fill(register, fault, request);
      this.next = (index + 1) % this.#records.length;
      if (this.#file.get(FSTS, PPF) === 0) this.#file.set(FSTS, FRI, index);
      this.#file.set(FSTS, PPF, 1);
    }
    if (wasQuiet) this.#event.raise();
  }

  /** The invalidation queue has met an error. */
  queueError(information: number): void {
    const wasQuiet = this.#isQuiet();
    this.#file.set(IQER, IQER_REG.IQEI, information);
    this.#file.set(FSTS, IQE, 1);
    if (wasQuiet) this.#event.raise();
  }

  /** A device has not answered an invalidation in time. */
  timeOut(rid: number): void {
    const wasQuiet = this.#isQuiet();
    this.#file.set(IQER, IQER_REG.ITESID, rid);
    this.#file.set(FSTS, ITE, 1);
    if (wasQuiet) this.#event.raise();
  }

  /** A device has answered an invalidation that was not outstanding. */
  unexpectedCompletion(rid: number): void {
    const wasQuiet = this.#isQuiet();
    this.#file.set(IQER, IQER_REG.ICESID, rid);
    this.#file.set(FSTS, ICE, 1);
    if (wasQuiet) this.#event.raise();
  }

  /** Software has written FSTS or a fault recording register. */
  statusWritten(): void {
    const pending = this.#firstPending();
    this.#file.set(FSTS, PPF, pending === undefined ? 0 : 1);
    if (pending !== undefined) this.#file.set(FSTS, FRI, pending);
    if (this.#file.get(FSTS, IQE) === 0) this.#file.set(IQER, IQER_REG.IQEI, IQEI.NOT_AVAILABLE);
    if (this.#isQuiet()) this.#event.served();
  }

  /** The register that the next fault goes to. */
  get next(): number {
    return this.#next.words[0] ?? 0;
  }
  set next(index: number) {
    this.#next.set(0, index);
  }

  /** As after power-on: the first register is the next. */
  reset(): void {
    this.next = 0;
  }

  mark(): void {
    this.#next.mark();
  }

  restore(): void {
    this.#next.restore();
  }

  /** The first register, from FRI on, that holds a fault. */
  #firstPending(): number | undefined {
    const count = this.#records.length;
    const first = this.#file.get(FSTS, FRI);
    for (let i = 0; i < count; i++) {
      const index = (first + i) % count;
      const register = this.#records[index];
      if (register !== undefined && this.#file.get(register, record.F) === 1) return index;
    }
    return undefined;
  }

  #fill(
    register: Register,
    { reason, addressType, type }: Fault,
    { rid, pasid, page, rights }: Request,
  ): void {
    const file = this.#file;
    const hasPasid = pasid !== NO_PASID;
    file.set(register, record.FI, page);
    file.set(register, record.SID, rid);
    file.set(register, record.T2, type & 1);
    file.set(register, record.T1, type >> 1);
    file.set(register, record.PP, hasPasid ? 1 : 0);
    file.set(register, record.PASID, hasPasid ? pasid : 0);
    file.set(register, record.PRIV, hasPasid && (rights & RIGHT.USER) === 0 ? 1 : 0);
    file.set(register, record.EXE, hasPasid && (rights & RIGHT.EXECUTE) !== 0 ? 1 : 0);
    file.set(register, record.FR, reason);
    file.set(register, record.AT, addressType);
    file.set(register, record.F, 1);
  }

  #isQuiet(): boolean {
    return STATUS.every((field) => this.#file.get(FSTS, field) === 0);
  }
}
