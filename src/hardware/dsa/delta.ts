/**
 * Delta records (Intel DSA Architecture Specification, 341204, revision 3.0, 8.3.8 and 8.3.9): how one buffer differs
 * from another, in units of eight bytes. An entry has ten bytes: the unit's index, and what the second source has
 * there. Such an entry may lie across two pages, so that it is moved in up to two pieces; the record counts whole
 * entries, and the bytes that they stand for.
 */
import {
  DSA_APPLY_DELTA,
  DSA_CREATE_DELTA,
  DSA_DELTA_RECORD,
  DSA_FLAG as FLAG,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import type { Buffers } from './buffers.js';
import type { Method } from './method.js';
import type { Work } from './work.js';

const { COMPLETED, RESULT, DELTA_SIZE } = DSA_DELTA_RECORD;
const UNIT = 8;
const INDEX_BYTES = 2;
const ENTRY_BYTES = INDEX_BYTES + UNIT;
const STAGE = { SOURCES: 0, ENTRY: 1, UNIT: 2 } as const;
/** Sources are compared so many bytes at a time: what follows a difference is read again. */
const STRIDE = 512;
/** Results of a comparison. */
const EQUAL = 0;
const DIFFERENT = 1;
const TOO_LARGE = 2;

/** Slots and words of the operands of create. */
const SOURCE1 = 0;
const SOURCE2 = 1;
const DELTA = 2;
const SRC1_WORD = DSA_CREATE_DELTA.SRC1.low / 32;
const SRC2_WORD = DSA_CREATE_DELTA.SRC2.low / 32;
const DELTA_WORD = DSA_CREATE_DELTA.DELTA.low / 32;

export class CreateDelta implements Method {
  readonly #work: Work;
  readonly #buffers: Buffers;
  readonly #left = new Uint8Array(STRIDE);
  readonly #right = new Uint8Array(STRIDE);

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  begin(): void {}

  place(): void {
    const { now } = this.#work;
    const buffers = this.#buffers;
    const isEntry = now.stage === STAGE.ENTRY;
    buffers.locate(SOURCE1, SRC1_WORD, now.done);
    buffers.locate(SOURCE2, SRC2_WORD, now.done);
    buffers.locate(DELTA, DELTA_WORD, now.delta + now.side);
    const room = Math.min(buffers.roomOf(SOURCE1), buffers.roomOf(SOURCE2));
    now.length = isEntry
      ? Math.min(ENTRY_BYTES - now.side, buffers.roomOf(DELTA))
      : Math.min(now.size - now.done, STRIDE, room);
    buffers.resize(SOURCE1, isEntry ? 0 : now.length);
    buffers.resize(SOURCE2, isEntry ? 0 : now.length);
    buffers.resize(DELTA, isEntry ? now.length : 0);
  }

  run(): number {
    return this.#work.now.stage === STAGE.ENTRY ? this.#write() : this.#compare();
  }

  report(): void {
    const { now, record } = this.#work;
    COMPLETED.set(record, 0, now.done);
    DELTA_SIZE.set(record, 0, now.delta);
    RESULT.set(record, 0, now.delta === 0 ? EQUAL : DIFFERENT);
  }

  #compare(): number {
    const { now, entry, descriptor } = this.#work;
    const buffers = this.#buffers;
    if (!buffers.read(SOURCE1, this.#left) || !buffers.read(SOURCE2, this.#right))
      return STATUS.HARDWARE_ERROR;
    let at = 0;
    while (at < now.length && this.#left[at] === this.#right[at]) at++;
    const unit = at - (at % UNIT);
    now.done += unit;
    if (at === now.length)
      return now.done < now.size ? STATUS.NONE : this.#end(now.delta === 0 ? EQUAL : DIFFERENT);
    if (now.delta + ENTRY_BYTES > DSA_CREATE_DELTA.MAX_DELTA_SIZE.get(descriptor, 0))
      return this.#end(TOO_LARGE);
    const index = now.done / UNIT;
    entry[0] = index;
    entry[1] = index >>> 8;
    for (let i = 0; i < UNIT; i++) entry[INDEX_BYTES + i] = this.#right[unit + i] ?? 0;
    now.stage = STAGE.ENTRY;
    return STATUS.NONE;
  }

  #write(): number {
    const { now, entry } = this.#work;
    this.#buffers.write(DELTA, entry, now.side);
    now.side += now.length;
    if (now.side < ENTRY_BYTES) return STATUS.NONE;
    now.side = 0;
    now.delta += ENTRY_BYTES;
    now.done += UNIT;
    now.stage = STAGE.SOURCES;
    return now.done < now.size ? STATUS.NONE : this.#end(DIFFERENT);
  }

  /** The status of a comparison with this result, of which the mask has a bit. */
  #end(result: number): number {
    const { now, record, descriptor } = this.#work;
    RESULT.set(record, 0, result);
    DELTA_SIZE.set(record, 0, now.delta);
    if (result === TOO_LARGE) COMPLETED.set(record, 0, now.done);
    if ((now.flags & FLAG.CHECK_RESULT) === 0) return STATUS.SUCCESS;
    const isExpected = ((DSA_CREATE_DELTA.EXPECTED_MASK.get(descriptor, 0) >>> result) & 1) === 1;
    return isExpected ? STATUS.SUCCESS : STATUS.FALSE_PREDICATE;
  }
}

/** Slots and words of the operands of apply. */
const RECORD = 0;
const TARGET = 1;
const RECORD_WORD = DSA_APPLY_DELTA.DELTA.low / 32;
const TARGET_WORD = DSA_APPLY_DELTA.DST.low / 32;

export class ApplyDelta implements Method {
  readonly #work: Work;
  readonly #buffers: Buffers;

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  begin(): void {
    this.#work.now.delta = -1;
    this.#work.now.stage = STAGE.ENTRY;
  }

  place(): void {
    const { now } = this.#work;
    const buffers = this.#buffers;
    const isEntry = now.stage === STAGE.ENTRY;
    buffers.locate(RECORD, RECORD_WORD, now.done + now.side);
    if (!isEntry) buffers.locate(TARGET, TARGET_WORD, now.delta * UNIT);
    now.length = isEntry ? Math.min(ENTRY_BYTES - now.side, buffers.roomOf(RECORD)) : UNIT;
    buffers.resize(RECORD, isEntry ? now.length : 0);
    buffers.resize(TARGET, isEntry ? 0 : UNIT);
  }

  run(): number {
    const { now, entry, descriptor } = this.#work;
    if (now.stage === STAGE.ENTRY) return this.#read();
    this.#buffers.write(TARGET, entry, INDEX_BYTES);
    now.side = 0;
    now.done += ENTRY_BYTES;
    now.stage = STAGE.ENTRY;
    return now.done < DSA_APPLY_DELTA.DELTA_SIZE.get(descriptor, 0) ? STATUS.NONE : STATUS.SUCCESS;
  }

  /** Bytes of the delta record whose entries are applied. */
  report(): void {
    COMPLETED.set(this.#work.record, 0, this.#work.now.done);
  }

  #read(): number {
    const { now, entry } = this.#work;
    if (!this.#buffers.read(RECORD, entry, now.side)) return STATUS.HARDWARE_ERROR;
    now.side += now.length;
    if (now.side < ENTRY_BYTES) return STATUS.NONE;
    const index = (entry[0] ?? 0) | ((entry[1] ?? 0) << 8);
    const isOrdered = index > now.delta;
    const isInside = index * UNIT < now.size;
    if (!isOrdered || !isInside) this.report();
    if (!isOrdered) return STATUS.DELTA_OFFSET_ORDER;
    if (!isInside) return STATUS.DELTA_OFFSET_RANGE;
    now.delta = index;
    now.stage = STAGE.UNIT;
    return STATUS.NONE;
  }
}
