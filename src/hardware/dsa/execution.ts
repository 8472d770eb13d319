/** Which method an operation has, and the pieces of the one that is worked on. */
import { DSA_OPCODE as OP, DSA_STATUS as STATUS } from '../../spec/index.js';
import type { Buffers } from './buffers.js';
import { Checksums } from './checksums.js';
import { ApplyDelta, CreateDelta } from './delta.js';
import { Dif } from './dif.js';
import type { Method } from './method.js';
import { Moves } from './moves.js';
import type { Work } from './work.js';

const OPCODES = 256;

export class Execution {
  readonly #work: Work;
  readonly #methods: readonly (Method | undefined)[];
  /** The method of the descriptor that is worked on: found once, as it is asked for at each step. */
  #method: Method;

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    const methods = new Array<Method | undefined>(OPCODES).fill(undefined);
    const moves = new Moves(work, buffers);
    const { MEMMOVE, MEMFILL, COMPARE, COMPVAL, DUALCAST, CFLUSH } = OP;
    for (const opcode of [MEMMOVE, MEMFILL, COMPARE, COMPVAL, DUALCAST, CFLUSH]) methods[opcode] = moves;
    methods[OP.CREATE_DELTA] = new CreateDelta(work, buffers);
    methods[OP.APPLY_DELTA] = new ApplyDelta(work, buffers);
    const checksums = new Checksums(work, buffers);
    methods[OP.CRCGEN] = checksums;
    methods[OP.COPY_CRC] = checksums;
    const dif = new Dif(work, buffers);
    const { DIF_CHECK, DIF_INSERT, DIF_STRIP, DIF_UPDATE } = OP;
    for (const opcode of [DIF_CHECK, DIF_INSERT, DIF_STRIP, DIF_UPDATE]) methods[opcode] = dif;
    this.#methods = methods;
    this.#method = moves;
  }

  /** Begins with the descriptor, and places its first piece. */
  begin(): void {
    const { now } = this.#work;
    now.done = 0;
    now.isBackward = false;
    now.stage = 0;
    now.side = 0;
    now.delta = 0;
    this.resume();
    this.#method.begin();
    this.#method.place();
  }

  /** Takes the method of the present descriptor, which may have been put back. */
  resume(): void {
    const { opcode } = this.#work.now;
    this.#method = this.#methods[opcode] ?? this.#method;
  }

  /** Does the piece. The status that ends the operation; with NONE, the next piece is placed. */
  step(): number {
    const status = this.#method.run();
    if (status === STATUS.NONE) this.#method.place();
    return status;
  }

  /** Reports how far it came, where a page is not to be had. */
  report(): void {
    this.#method.report();
  }
}
