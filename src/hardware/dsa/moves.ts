/**
 * The operations that go through all their buffers at one pace (Intel DSA Architecture Specification, 341204,
 * revision 3.0, 8.3.4 to 8.3.7, 8.3.10 and 8.3.17). A piece lies within one page of every buffer. A cache flush
 * translates its pages and does nothing with them: there are no caches of memory.
 */
import { DSA_RECORD, DSA_FLAG as FLAG, DSA_OPCODE as OP, DSA_STATUS as STATUS } from '../../spec/index.js';
import { type Buffers, PAGE } from './buffers.js';
import { distanceOf } from './descriptor-checks.js';
import type { Method } from './method.js';
import { operationOf } from './operation.js';
import type { Work } from './work.js';

const { RESULT, COMPLETED } = DSA_RECORD;
const SRC_WORD = 4;
const DST_WORD = 6;
const EXPECTED_WORD = 10;
/** Where the patterns of fill and compare pattern lie in a descriptor, in bytes. */
const FILL_PATTERN = 16;
const COMPARE_PATTERN = 24;

export class Moves implements Method {
  readonly #work: Work;
  readonly #buffers: Buffers;
  readonly #piece = new Uint8Array(PAGE);
  readonly #other = new Uint8Array(PAGE);

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  /** A move whose destination overlaps the end of its source goes backward. */
  begin(): void {
    const { now, descriptor } = this.#work;
    if (now.opcode !== OP.MEMMOVE) return;
    const distance = distanceOf(descriptor, SRC_WORD, DST_WORD);
    now.isBackward = distance > 0 && distance < now.size;
  }

  place(): void {
    const { now, descriptor } = this.#work;
    const operands = operationOf(now.opcode)?.operands ?? [];
    const left = now.size - now.done;
    let length = Math.min(left, PAGE);
    for (let i = 0; i < operands.length; i++) {
      const low = (descriptor[operands[i]?.word ?? 0] ?? 0) & (PAGE - 1);
      const room = now.isBackward
        ? ((low + left - 1) & (PAGE - 1)) + 1
        : PAGE - ((low + now.done) & (PAGE - 1));
      length = Math.min(length, room);
    }
    now.length = length;
    const start = now.isBackward ? left - length : now.done;
    for (let i = 0; i < operands.length; i++) {
      this.#buffers.locate(i, operands[i]?.word ?? 0, start);
      this.#buffers.resize(i, length);
    }
  }

  run(): number {
    const { now } = this.#work;
    const status = this.#piecewise();
    now.done += now.length;
    if (status !== STATUS.NONE || now.done < now.size) return status;
    return now.opcode === OP.COMPARE || now.opcode === OP.COMPVAL ? this.#predicate(0) : STATUS.SUCCESS;
  }

  report(): void {
    const { now, record } = this.#work;
    COMPLETED.set(record, 0, now.done);
    if (now.opcode === OP.MEMMOVE) RESULT.set(record, 0, now.isBackward ? 1 : 0);
  }

  #piecewise(): number {
    switch (this.#work.now.opcode) {
      case OP.MEMFILL:
        return this.#fill();
      case OP.COMPARE:
      case OP.COMPVAL:
        return this.#compare();
      case OP.CFLUSH:
        return STATUS.NONE;
      default:
        return this.#copy();
    }
  }

  #copy(): number {
    if (!this.#buffers.read(0, this.#piece)) return STATUS.HARDWARE_ERROR;
    this.#buffers.write(1, this.#piece);
    if (this.#work.now.opcode === OP.DUALCAST) this.#buffers.write(2, this.#piece);
    return STATUS.NONE;
  }

  #fill(): number {
    const { now, descriptorBytes } = this.#work;
    for (let i = 0; i < now.length; i++) {
      this.#piece[i] = descriptorBytes[FILL_PATTERN + ((now.done + i) & 7)] ?? 0;
    }
    this.#buffers.write(0, this.#piece);
    return STATUS.NONE;
  }

  #compare(): number {
    const { now, record, descriptorBytes } = this.#work;
    const isPattern = now.opcode === OP.COMPVAL;
    if (!this.#buffers.read(0, this.#piece)) return STATUS.HARDWARE_ERROR;
    if (!isPattern && !this.#buffers.read(1, this.#other)) return STATUS.HARDWARE_ERROR;
    for (let i = 0; i < now.length; i++) {
      const expected = isPattern ? descriptorBytes[COMPARE_PATTERN + ((now.done + i) & 7)] : this.#other[i];
      if (this.#piece[i] === expected) continue;
      COMPLETED.set(record, 0, now.done + i);
      return this.#predicate(1);
    }
    return STATUS.NONE;
  }

  /** The status of a comparison with this result (table 8-17). */
  #predicate(result: number): number {
    const { now, record, descriptor } = this.#work;
    RESULT.set(record, 0, result);
    if ((now.flags & FLAG.CHECK_RESULT) === 0) return STATUS.SUCCESS;
    const expected = (descriptor[EXPECTED_WORD] ?? 0) & 1;
    return expected === result ? STATUS.SUCCESS : STATUS.FALSE_PREDICATE;
  }
}
