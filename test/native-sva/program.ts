/** What a user's program does with a work queue: descriptors in, completion records out. */
import type { Task } from '../../src/base/index.js';
import {
  type Cpu,
  type CpuFault,
  enqcmd,
  GENERAL_PROTECTION,
  LATER,
  movdir64b,
  PF,
  type Submission,
} from '../../src/hardware/index.js';
import { type CpuPort, type Kernel, type Thread, Trap } from '../../src/kernel/index.js';
import { DSA_FLAG, DSA_MEMMOVE, DSA_OPCODE, DSA_RECORD, encode } from '../../src/spec/index.js';

export interface Move {
  readonly src: number;
  readonly dst: number;
  readonly bytes: number;
  readonly record: number;
  readonly block?: boolean;
}

/** A descriptor that moves bytes and writes a completion record. */
function moveDescriptor({ src, dst, bytes, record, block }: Move): Int32Array {
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

/** Where a program runs: a bench, or a virtual machine. */
export interface Machine {
  readonly kernel: Kernel;
  readonly cpus: readonly Cpu[];
}

export class Program {
  readonly thread: Thread;
  readonly #machine: Machine;
  readonly #kernel: Kernel;

  constructor(machine: Machine, thread: Thread) {
    this.#machine = machine;
    this.#kernel = machine.kernel;
    this.thread = thread;
  }

  /** Stores the thread's bytes. */
  *store(address: number, bytes: Uint8Array): Task {
    yield* this.#kernel.processes.user(this.thread, (port) => trapOf(this.#cpu(port).store(address, bytes)));
  }

  /** Puts a descriptor of a move into a line of the thread's memory. */
  *storeDescriptor(address: number, move: Move): Task {
    yield* this.store(address, new Uint8Array(moveDescriptor(move).buffer));
  }

  /** Submits by ENQCMD, from a line of its own memory, until the queue takes it. */
  *enqcmd(submission: Submission): Task {
    const steps = (port: CpuPort): Task<0 | 1 | Trap> => enqcmdOrTrap(this.#cpu(port), submission);
    while ((yield* this.#kernel.processes.userSteps(this.thread, steps)) === 1);
  }

  *movdir64b(submission: Submission): Task {
    const once = (port: CpuPort) => trapOf(movdir64b(this.#cpu(port), submission));
    yield* this.#kernel.processes.user(this.thread, once);
  }

  /** Waits for a completion record, by looking; its status. */
  *wait(record: number): Task<number> {
    const word = new Int32Array(1);
    const bytes = new Uint8Array(word.buffer);
    do {
      yield* this.#kernel.processes.user(this.thread, (port) => trapOf(this.#cpu(port).load(record, bytes)));
    } while (DSA_RECORD.STATUS.get(word, 0) === 0);
    return DSA_RECORD.STATUS.get(word, 0);
  }

  #cpu(port: CpuPort): Cpu {
    const cpu = this.#machine.cpus[port.index];
    if (cpu === undefined) throw new Error(`no CPU ${port.index}`);
    return cpu;
  }
}

function* enqcmdOrTrap(cpu: Cpu, submission: Submission): Task<0 | 1 | Trap> {
  const result = yield* enqcmd(cpu, submission);
  // The portal is away for a while: the instruction is executed again.
  if (result.fault?.vector === LATER) return 1;
  return result.fault === undefined ? result.zf : (trapOf(result.fault) ?? 1);
}

function trapOf(fault: CpuFault | undefined): Trap | undefined {
  if (fault === undefined) return undefined;
  if (fault.vector === GENERAL_PROTECTION) return Trap.generalProtection();
  return Trap.pageFault(fault.address, (fault.errorCode & PF.WRITE) !== 0);
}
