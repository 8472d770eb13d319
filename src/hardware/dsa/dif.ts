/**
 * The DIF operations: check, insert, strip and update (Intel DSA Architecture Specification, 341204, revision 3.0,
 * 8.3.13 to 8.3.16). A block's data goes in pieces, then its field, in up to two. The record counts whole blocks of
 * the source, and has the tags of the first that is not done. Data of a block in which an error is found may have been
 * copied. A bit of the source's tag mask leaves that bit of the application tag unchecked.
 */
import {
  DSA_DIF_CHECK,
  DSA_DIF_INSERT,
  DSA_DIF_RECORD,
  DSA_DIF_UPDATE,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { type Buffers, PAGE } from './buffers.js';
import {
  blockOf,
  DIF_BYTES,
  DIF_RESULT,
  DIF_SOURCE,
  DIF_TARGET,
  get16,
  get32,
  guardEnd,
  guardOf,
  guardSeed,
  put16,
  put32,
} from './dif-tags.js';
import type { Method } from './method.js';
import type { Work } from './work.js';

const { COMPLETED, RESULT } = DSA_DIF_RECORD;
const SOURCE = 0;
const TARGET = 1;
const SRC_WORD = DSA_DIF_CHECK.SRC.low / 32;
const DST_WORD = DSA_DIF_CHECK.DST.low / 32;
const STAGE = { DATA: 0, READ: 1, WRITE: 2 } as const;
/** Where the tags lie in a field, behind the guard. */
const APP_AT = 2;
const REF_AT = 4;

export class Dif implements Method {
  readonly #work: Work;
  readonly #buffers: Buffers;
  readonly #piece = new Uint8Array(PAGE);

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  begin(): void {
    this.#work.now.crc = guardSeed(this.#flags);
  }

  place(): void {
    const { now } = this.#work;
    const buffers = this.#buffers;
    const block = blockOf(this.#flags);
    const isData = now.stage === STAGE.DATA;
    const at = isData ? now.side : block + now.side;
    const reads = now.stage !== STAGE.WRITE;
    const writes = isData ? this.#copies : now.stage === STAGE.WRITE;
    buffers.locate(SOURCE, SRC_WORD, now.done + at);
    buffers.locate(TARGET, DST_WORD, now.delta + at);
    let length = (isData ? block : DIF_BYTES) - now.side;
    if (reads) length = Math.min(length, buffers.roomOf(SOURCE));
    if (writes) length = Math.min(length, buffers.roomOf(TARGET));
    buffers.resize(SOURCE, reads ? length : 0);
    buffers.resize(TARGET, writes ? length : 0);
    now.length = length;
  }

  run(): number {
    const { now } = this.#work;
    if (now.stage === STAGE.DATA) return this.#data();
    if (now.stage === STAGE.READ) return this.#read();
    this.#buffers.write(TARGET, this.#work.entry, now.side);
    now.side += now.length;
    return now.side < DIF_BYTES ? STATUS.NONE : this.#blockDone();
  }

  report(): void {
    const { now, record } = this.#work;
    COMPLETED.set(record, 0, now.done);
    this.#tags();
  }

  #data(): number {
    const { now } = this.#work;
    const buffers = this.#buffers;
    if (!buffers.read(SOURCE, this.#piece)) return STATUS.HARDWARE_ERROR;
    if (this.#copies) buffers.write(TARGET, this.#piece);
    now.crc = guardOf(now.crc, this.#piece, now.length);
    now.side += now.length;
    if (now.side < blockOf(this.#flags)) return STATUS.NONE;
    now.side = 0;
    now.stage = now.opcode === OP.DIF_INSERT ? STAGE.WRITE : STAGE.READ;
    if (now.stage === STAGE.WRITE) this.#makeField();
    return STATUS.NONE;
  }

  #read(): number {
    const { now, entry, record } = this.#work;
    if (!this.#buffers.read(SOURCE, entry, now.side)) return STATUS.HARDWARE_ERROR;
    now.side += now.length;
    if (now.side < DIF_BYTES) return STATUS.NONE;
    const errors = this.#check();
    if (errors !== 0) {
      RESULT.set(record, 0, errors);
      this.report();
      return STATUS.DIF_ERROR;
    }
    if (now.opcode !== OP.DIF_UPDATE) return this.#blockDone();
    now.side = 0;
    now.stage = STAGE.WRITE;
    this.#makeField();
    return STATUS.NONE;
  }

  #blockDone(): number {
    const { now } = this.#work;
    const block = blockOf(this.#flags);
    now.done += now.opcode === OP.DIF_INSERT ? block : block + DIF_BYTES;
    now.delta += now.opcode === OP.DIF_STRIP ? block : block + DIF_BYTES;
    now.side = 0;
    now.stage = STAGE.DATA;
    now.crc = guardSeed(this.#flags);
    if (now.done < now.size) return STATUS.NONE;
    this.#tags();
    return STATUS.SUCCESS;
  }

  /** What is wrong with the source's field, a set of DIF_RESULT. */
  #check(): number {
    const { now, entry, descriptor } = this.#work;
    const flags = DSA_DIF_UPDATE.SRC_FLAGS.get(descriptor, 0);
    const isAllF = get32(entry, 0) === 0xffffffff && get32(entry, REF_AT) === 0xffffffff;
    if (isAllF && (flags & DIF_SOURCE.ALL_F_DETECT) !== 0) {
      return (flags & DIF_SOURCE.ALL_F_ERROR) === 0 ? 0 : DIF_RESULT.ALL_F;
    }
    const isAppF = get16(entry, APP_AT) === 0xffff;
    const isRefF = get32(entry, REF_AT) === 0xffffffff;
    if (isAppF && (flags & DIF_SOURCE.APP_F_DETECT) !== 0) return 0;
    if (isAppF && isRefF && (flags & DIF_SOURCE.APP_REF_F_DETECT) !== 0) return 0;
    const mask = DSA_DIF_UPDATE.SRC_APP_MASK.get(descriptor, 0);
    const guard = guardEnd(now.crc, this.#flags);
    const isGuardOff = get16(entry, 0) !== guard && (flags & DIF_SOURCE.NO_GUARD) === 0;
    const isAppOff = ((get16(entry, APP_AT) ^ this.#sourceApp) & ~mask) !== 0;
    const isRefOff = get32(entry, REF_AT) !== this.#sourceRef && (flags & DIF_SOURCE.NO_REF) === 0;
    return (
      (isGuardOff ? DIF_RESULT.GUARD : 0) | (isAppOff ? DIF_RESULT.APP : 0) | (isRefOff ? DIF_RESULT.REF : 0)
    );
  }

  /** Makes the destination's field of the source's, of which an insert has none. */
  #makeField(): void {
    const { now, entry, descriptor } = this.#work;
    const flags = DSA_DIF_UPDATE.DST_FLAGS.get(descriptor, 0);
    const mask = DSA_DIF_UPDATE.DST_APP_MASK.get(descriptor, 0);
    if ((flags & DIF_TARGET.PASS_GUARD) === 0) put16(entry, 0, guardEnd(now.crc, this.#flags));
    if ((flags & DIF_TARGET.PASS_APP) === 0) put16(entry, APP_AT, this.#targetApp & ~mask);
    if ((flags & DIF_TARGET.PASS_REF) === 0) put32(entry, REF_AT, this.#targetRef);
  }

  /** The tags of the first block that is not done. */
  #tags(): void {
    const { now, record, descriptor } = this.#work;
    if (now.opcode !== OP.DIF_INSERT) {
      DSA_DIF_RECORD.SRC_REF_TAG.set(record, 0, this.#sourceRef);
      DSA_DIF_RECORD.SRC_APP_MASK.set(record, 0, DSA_DIF_UPDATE.SRC_APP_MASK.get(descriptor, 0));
      DSA_DIF_RECORD.SRC_APP_TAG.set(record, 0, this.#sourceApp);
    }
    if (now.opcode !== OP.DIF_INSERT && now.opcode !== OP.DIF_UPDATE) return;
    DSA_DIF_RECORD.DST_REF_TAG.set(record, 0, this.#targetRef);
    DSA_DIF_RECORD.DST_APP_MASK.set(record, 0, DSA_DIF_UPDATE.DST_APP_MASK.get(descriptor, 0));
    DSA_DIF_RECORD.DST_APP_TAG.set(record, 0, this.#targetApp);
  }

  // The fields of an update lie where those of check and insert do.

  get #flags(): number {
    return DSA_DIF_UPDATE.FLAGS_DIF.get(this.#work.descriptor, 0);
  }
  /** Whether the data goes to a destination. */
  get #copies(): boolean {
    return this.#work.now.opcode !== OP.DIF_CHECK;
  }
  /** How many blocks are done. */
  get #block(): number {
    const { now } = this.#work;
    const block = blockOf(this.#flags);
    return now.done / (now.opcode === OP.DIF_INSERT ? block : block + DIF_BYTES);
  }
  get #sourceApp(): number {
    const { descriptor } = this.#work;
    const isFixed = (DSA_DIF_UPDATE.SRC_FLAGS.get(descriptor, 0) & DIF_SOURCE.APP_INCREMENTS) === 0;
    return (DSA_DIF_UPDATE.SRC_APP_TAG.get(descriptor, 0) + (isFixed ? 0 : this.#block)) & 0xffff;
  }
  get #sourceRef(): number {
    const { descriptor } = this.#work;
    const isFixed = (DSA_DIF_UPDATE.SRC_FLAGS.get(descriptor, 0) & DIF_SOURCE.REF_FIXED) !== 0;
    return (DSA_DIF_UPDATE.SRC_REF_TAG.get(descriptor, 0) + (isFixed ? 0 : this.#block)) >>> 0;
  }
  get #targetApp(): number {
    const { descriptor } = this.#work;
    const isFixed = (DSA_DIF_INSERT.DST_FLAGS.get(descriptor, 0) & DIF_TARGET.APP_INCREMENTS) === 0;
    return (DSA_DIF_INSERT.APP_TAG.get(descriptor, 0) + (isFixed ? 0 : this.#block)) & 0xffff;
  }
  get #targetRef(): number {
    const { descriptor } = this.#work;
    const isFixed = (DSA_DIF_INSERT.DST_FLAGS.get(descriptor, 0) & DIF_TARGET.REF_FIXED) !== 0;
    return (DSA_DIF_INSERT.REF_TAG.get(descriptor, 0) + (isFixed ? 0 : this.#block)) >>> 0;
  }
}
