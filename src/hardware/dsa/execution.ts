/**
 * The data operations, piece by piece (Intel DSA Architecture Specification, 341204, revision 3.0, 8.3.4 to
 * 8.3.7 and 8.3.10). A piece lies within one page of every buffer.
 */
import { DSA_RECORD, DSA_FLAG as FLAG, DSA_OPCODE as OP, DSA_STATUS as STATUS } from '../../spec/index.js';
import { type Buffers, PAGE } from './buffers.js';
import { distanceOf, type Operation } from './operation.js';
import type { Work } from './work.js';

const { RESULT, COMPLETED } = DSA_RECORD;
const SRC_WORD = 4;
const DST_WORD = 6;
const EXPECTED_WORD = 10;
/** Where the patterns of fill and compare pattern lie in a descriptor, in bytes. */
const FILL_PATTERN = 16;
const COMPARE_PATTERN = 24;

export class Execution {
  readonly #work: Work;
  readonly #buffers: Buffers;
  readonly #piece = new Uint8Array(PAGE);
  readonly #other = new Uint8Array(PAGE);

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  /** Begins: a move whose destination overlaps the end of its source goes backward. */
  begin(operation: Operation): void {
    const { now, descriptor } = this.#work;
    if (operation.opcode === OP.MEMMOVE) {
      const distance = distanceOf(descriptor, SRC_WORD, DST_WORD);
      now.isBackward = distance > 0 && distance < now.size;
    }
    this.nextPiece(operation);
  }

  /** Locates the next piece: as long as no buffer leaves its page in it. */
  nextPiece({ operands }: Operation): void {
    const { now, descriptor } = this.#work;
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
    for (let i = 0; i < operands.length; i++) this.#buffers.locate(i, operands[i]?.word ?? 0, start);
  }

  /** Does the piece. The status that ends the operation, or NONE if there is none yet. */
  doPiece(): number {
    const { opcode } = this.#work.now;
    if (opcode === OP.MEMFILL) return this.#fill();
    return opcode === OP.COMPARE || opcode === OP.COMPVAL ? this.#compare() : this.#copy();
  }

  /** The status of an operation that came to its end. */
  endStatus(): number {
    const { opcode } = this.#work.now;
    return opcode === OP.COMPARE || opcode === OP.COMPVAL ? this.#predicate(0) : STATUS.SUCCESS;
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
