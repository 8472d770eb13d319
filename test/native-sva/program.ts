/** What a user's program does with a work queue: descriptors in, completion records out. */
import type { Task } from '../../src/base/index.js';
import type { Kernel, Thread } from '../../src/kernel/index.js';
import { DSA_FLAG, DSA_MEMMOVE, DSA_OPCODE, DSA_RECORD, encode } from '../../src/spec/index.js';
import type { BenchCpu } from './cpu.js';
import type { Bench } from './machine.js';

export interface Move {
  readonly src: number;
  readonly dst: number;
  readonly bytes: number;
  readonly record: number;
  readonly block?: boolean;
}

/** A descriptor that moves bytes and writes a completion record. */
export function moveDescriptor({ src, dst, bytes, record, block }: Move): Int32Array {
  const { CRAV, RCR, BOF } = DSA_FLAG;
  return encode(DSA_MEMMOVE, {
    FLAGS: CRAV | RCR | (block === true ? BOF : 0),
    OPCODE: DSA_OPCODE.MEMMOVE,
    RECORD: record,
    SRC: src,
    DST: dst,
    XFER_SIZE: bytes,
  });
}

export class Program {
  readonly thread: Thread;
  readonly #bench: Bench;
  readonly #kernel: Kernel;

  constructor(bench: Bench, thread: Thread) {
    this.#bench = bench;
    this.#kernel = bench.kernel;
    this.thread = thread;
  }

  /** One instruction of the thread's. */
  *cpu<T>(instruction: (cpu: BenchCpu) => T): Task<Exclude<T, { vector: unknown }>> {
    const run = (port: { index: number }) => {
      const cpu = this.#bench.cpus[port.index];
      if (cpu === undefined) throw new Error(`no CPU ${port.index}`);
      return instruction(cpu);
    };
    return (yield* this.#kernel.processes.user(this.thread, run)) as Exclude<T, { vector: unknown }>;
  }

  /** Submits by ENQCMD until the queue takes it. */
  *submit(portal: number, descriptor: Int32Array): Task {
    while (!(yield* this.cpu((cpu) => cpu.enqcmd(portal, descriptor))));
  }

  /** Waits for a completion record, by looking; its first word. */
  *wait(record: number): Task<number> {
    for (;;) {
      const word = yield* this.cpu((cpu) => cpu.load32(record));
      if (DSA_RECORD.STATUS.get(Int32Array.of(word), 0) !== 0) return word;
    }
  }
}
