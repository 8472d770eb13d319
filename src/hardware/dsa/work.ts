/** What an engine is at: the descriptor that it works on, its completion record, and how far it has come. */
import type { Restorable } from '../../base/index.js';
import { NO_PASID } from '../vtd/request.js';
import { DESCRIPTOR_WORDS } from './work-queue.js';

/** Where an engine stands. */
export const PHASE = {
  IDLE: 0,
  /** translates operand `operand` */
  TRANSLATE: 1,
  /** moves a piece */
  ACCESS: 2,
  /** waits to send a page request, or for its response */
  ASK: 3,
  WAIT: 4,
  /** a drain */
  DRAIN: 5,
  RECORD_TRANSLATE: 6,
  RECORD_WRITE: 7,
  INTERRUPT: 8,
  /** the next descriptor of a batch */
  LIST_TRANSLATE: 9,
  LIST_READ: 10,
  /** waits for room in the event log */
  LOG: 11,
} as const;

const RECORD_WORDS = 8;
/** A delta record's entry, or a data integrity field. */
const ENTRY_BYTES = 16;
export const NO_RESPONSE = -1;
export const NO_GROUP = -1;

const idle = () => ({
  phase: PHASE.IDLE as number,
  tag: 0,
  wq: 0,
  pasid: NO_PASID,
  isPrivileged: false,
  /** Where its interrupt handles lead: IMS_TABLE, or 0 for MSI-X. */
  table: 0,
  flags: 0,
  opcode: 0,
  size: 0,
  /** Bytes done; from the end where `isBackward`. */
  done: 0,
  isBackward: false,
  /** The piece: how many bytes. */
  length: 0,
  /** Of operations of several stages: the stage, and how far it is. */
  stage: 0,
  side: 0,
  /** A delta record's bytes that are written; the last unit that was applied. */
  delta: 0,
  crc: 0,
  /** The operand that is translated, or waited for; RECORD_SLOT for the record. */
  operand: 0,
  /** Page requests for the piece, or for the record. */
  retries: 0,
  group: NO_GROUP,
  response: NO_RESPONSE,
  isAborted: false,
  /** What goes to the event log: an error, and whether the record itself is lost with it. */
  error: 0,
  isLost: false,
});

export class Work implements Restorable {
  readonly now = idle();
  readonly descriptor = new Int32Array(DESCRIPTOR_WORDS);
  readonly descriptorBytes = new Uint8Array(this.descriptor.buffer);
  readonly record = new Int32Array(RECORD_WORDS);
  readonly recordBytes = new Uint8Array(this.record.buffer);
  /** What a stage hands to the next. */
  readonly entry = new Uint8Array(ENTRY_BYTES);
  readonly #marked = {
    now: idle(),
    entry: this.entry.slice(),
    descriptor: this.descriptor.slice(),
    record: this.record.slice(),
  };

  mark(): void {
    Object.assign(this.#marked.now, this.now);
    this.#marked.descriptor.set(this.descriptor);
    this.#marked.record.set(this.record);
    this.#marked.entry.set(this.entry);
  }

  restore(): void {
    Object.assign(this.now, this.#marked.now);
    this.descriptor.set(this.#marked.descriptor);
    this.record.set(this.#marked.record);
    this.entry.set(this.#marked.entry);
  }
}
