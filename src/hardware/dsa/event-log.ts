/**
 * The event log: a ring of entries of 64 bytes in memory, where errors go that no completion record can take, with
 * the record that could not be written (Intel DSA Architecture Specification, 341204, revision 3.0, 5.9 and 9.2.16).
 * Its writes are untranslated, and posted. An engine that finds it full waits.
 */
import {
  DSA_EVENT,
  DSA_EVLCFG_REG,
  DSA_EVLSTATUS_REG,
  DSA_GENCFG_REG,
  DSA_GENCTRL_REG,
  DSA_INTCAUSE_REG,
  DSA_NOOP,
  type DsaRegisterTable,
  type RegisterFile,
} from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { MemoryRequest } from '../pci/ports.js';
import { NO_PASID } from '../vtd/request.js';
import type { ErrorDescriptor, SoftwareError } from './error-record.js';
import { DEVICE_VECTOR, type Interrupts } from './interrupts.js';
import type { DsaAudit, DsaParts } from './ports.js';

const E = DSA_EVENT;
const PAGE = 4096;
const ENTRY_BYTES = E.bytes;
const RECORD_WORD = E.RECORD0.low / 32;
/** Its writes are for no descriptor. */
const NO_TAG = 0;
/** The least that a log may have (9.2.16). */
export const MIN_LOG_ENTRIES = 64;

export class EventLog {
  readonly #table: DsaRegisterTable;
  readonly #registers: RegisterFile;
  readonly #interrupts: Interrupts;
  readonly #parts: DsaParts;
  readonly #audit: () => DsaAudit | undefined;
  readonly #entry = new Int32Array(ENTRY_BYTES / 4);
  readonly #bytes = new Uint8Array(this.#entry.buffer);

  constructor(
    table: DsaRegisterTable,
    registers: RegisterFile,
    {
      interrupts,
      parts,
      audit,
    }: {
      readonly interrupts: Interrupts;
      readonly parts: DsaParts;
      readonly audit: () => DsaAudit | undefined;
    },
  ) {
    this.#audit = audit;
    this.#table = table;
    this.#registers = registers;
    this.#interrupts = interrupts;
    this.#parts = parts;
  }

  get isEnabled(): boolean {
    return this.#registers.get(this.#table.GENCFG, DSA_GENCFG_REG.EVL_EN) === 1;
  }

  /** Whether it has no room; one place of the ring stays free. */
  get isFull(): boolean {
    const head = this.#registers.get(this.#table.EVLSTATUS, DSA_EVLSTATUS_REG.HEAD);
    return this.#next === head;
  }

  /** Adds an entry, for which there is room. */
  add(what: SoftwareError, descriptor: ErrorDescriptor): void {
    this.#fill(what, descriptor);
    this.#write();
    const { EVLSTATUS, GENCTRL, INTCAUSE } = this.#table;
    const registers = this.#registers;
    registers.set(EVLSTATUS, DSA_EVLSTATUS_REG.TAIL, this.#next);
    if (registers.get(GENCTRL, DSA_GENCTRL_REG.EVL_INT) === 0) return;
    if (registers.get(EVLSTATUS, DSA_EVLSTATUS_REG.INT_PENDING) === 1) return;
    registers.set(EVLSTATUS, DSA_EVLSTATUS_REG.INT_PENDING, 1);
    registers.set(INTCAUSE, DSA_INTCAUSE_REG.EVL, 1);
    this.#interrupts.signal(DEVICE_VECTOR);
  }

  get #tail(): number {
    return this.#registers.get(this.#table.EVLSTATUS, DSA_EVLSTATUS_REG.TAIL);
  }
  get #next(): number {
    const size = this.#registers.get(this.#table.EVLCFG, DSA_EVLCFG_REG.SIZE);
    return this.#tail + 1 >= size ? 0 : this.#tail + 1;
  }

  #fill(what: SoftwareError, descriptor: ErrorDescriptor): void {
    const entry = this.#entry;
    const { batchIndex, batchId = 0 } = descriptor;
    entry.fill(0);
    E.DESC_VALID.set(entry, 0, 1);
    E.WQ_VALID.set(entry, 0, 1);
    E.BATCH.set(entry, 0, batchIndex === undefined ? 0 : 1);
    E.RW.set(entry, 0, what.isWrite === true ? 1 : 0);
    E.PRIV.set(entry, 0, descriptor.isPrivileged ? 1 : 0);
    E.INFO_VALID.set(entry, 0, what.info === undefined ? 0 : 1);
    E.ERROR.set(entry, 0, what.error);
    E.WQ.set(entry, 0, descriptor.wq);
    E.BATCH_ID.set(entry, 0, batchId);
    E.OPERATION.set(entry, 0, DSA_NOOP.OPCODE.get(descriptor.words, 0));
    E.PASID.set(entry, 0, Math.max(descriptor.pasid, 0));
    E.BATCH_INDEX.set(entry, 0, batchIndex ?? 0);
    E.INFO.set(entry, 0, what.info ?? 0);
    E.ADDR.setBig(entry, 0, what.fault ?? 0n);
    if (what.record !== undefined) entry.set(what.record, RECORD_WORD);
  }

  #write(): void {
    const { EVLCFG } = this.#table;
    const get = (field: (typeof DSA_EVLCFG_REG)['SIZE']): number => this.#registers.get(EVLCFG, field);
    const at = this.#tail * ENTRY_BYTES;
    const base = Number(this.#registers.getBig(EVLCFG, DSA_EVLCFG_REG.BASE));
    const isPrivileged = get(DSA_EVLCFG_REG.PASID_EN) === 1 && get(DSA_EVLCFG_REG.PRIV) === 1;
    const request: MemoryRequest = {
      rid: this.#parts.rid,
      pasid: get(DSA_EVLCFG_REG.PASID_EN) === 1 ? get(DSA_EVLCFG_REG.PASID) : NO_PASID,
      page: base + Math.floor(at / PAGE),
      rights: isPrivileged ? RIGHT.WRITE : RIGHT.WRITE | RIGHT.USER,
      isTranslated: false,
      offset: at % PAGE,
      length: ENTRY_BYTES,
    };
    this.#audit()?.requests(NO_TAG, request, request.page);
    this.#parts.upstream.write(request, this.#bytes, 0);
  }
}
