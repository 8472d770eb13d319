/** Which method an operation has, and the pieces of the one that is worked on. */
import { Bug } from '../../base/index.js';
import { DSA_OPCODE as OP } from '../../spec/index.js';
import type { Buffers } from './buffers.js';
import { Checksums } from './checksums.js';
import { ApplyDelta, CreateDelta } from './delta.js';
import type { Method } from './method.js';
import { Moves } from './moves.js';
import type { Work } from './work.js';

const OPCODES = 256;

export class Execution {
  readonly #work: Work;
  readonly #methods: readonly (Method | undefined)[];

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
    this.#methods = methods;
  }

  /** Begins with the descriptor, and places its first piece. */
  begin(): void {
    const { now } = this.#work;
    now.done = 0;
    now.isBackward = false;
    now.stage = 0;
    now.side = 0;
    now.delta = 0;
    const method = this.#method();
    method.begin();
    method.place();
  }

  /** Does the piece. The status that ends the operation; with NONE, the next piece is placed. */
  step(): number {
    const method = this.#method();
    const status = method.run();
    if (status === 0) method.place();
    return status;
  }

  /** Reports how far it came, where a page is not to be had. */
  report(): void {
    this.#method().report();
  }

  #method(): Method {
    const method = this.#methods[this.#work.now.opcode];
    if (method === undefined) throw new Bug(`operation ${this.#work.now.opcode} moves nothing`);
    return method;
  }
}
