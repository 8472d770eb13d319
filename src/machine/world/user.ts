/**
 * What a program of a scenario does in user mode, an instruction at a time: loads and stores of up to a page (as a
 * string instruction moves them), MOVDIR64B and ENQCMD. Each goes through the CPU that the kernel has put the thread
 * on, with its page tables and its IA32_PASID; faults go to the kernel.
 */
import type { Task } from '../../base/index.js';
import {
  type Cpu,
  type CpuFault,
  type EnqcmdResult,
  enqcmd,
  type Memory,
  movdir64b,
  PAGE_FAULT,
  PF,
  RIGHT,
} from '../../hardware/index.js';
import { type CpuPort, type Processes, type Thread, Trap } from '../../kernel/index.js';

const PAGE = 4096;

export interface UserMachine {
  readonly memory: Memory;
  readonly cpus: readonly Cpu[];
  readonly processes: Processes;
}

export class UserMode {
  readonly #machine: UserMachine;
  readonly #thread: Thread;

  constructor(machine: UserMachine, thread: Thread) {
    this.#machine = machine;
    this.#thread = thread;
  }

  /** Stores bytes, a page at a time. */
  *store(address: number, from: Uint8Array): Task {
    for (const { at, offset, length } of pieces(address, from.length)) {
      yield* this.#access(at, RIGHT.WRITE, (physical) => {
        this.#machine.memory.write(physical, from.subarray(offset, offset + length));
      });
    }
  }

  /** Loads bytes, a page at a time. */
  *load(address: number, into: Uint8Array): Task {
    for (const { at, offset, length } of pieces(address, into.length)) {
      yield* this.#access(at, RIGHT.READ, (physical) => {
        this.#machine.memory.read(physical, into.subarray(offset, offset + length));
      });
    }
  }

  /** ENQCMD; whether the device accepted it. Others may come between its parts. */
  *enqcmd(destination: number, source: number): Task<boolean> {
    const command = yield* this.#user((cpu) => {
      const begun = enqcmd(cpu, { destination, source });
      const first = begun.next();
      return first.done === true ? trapOf(first.value.fault) : begun;
    });
    for (;;) {
      yield 'enqcmd on its way';
      const next: IteratorResult<unknown, EnqcmdResult> = command.next();
      if (next.done === true) return next.value.fault === undefined && next.value.zf === 0;
    }
  }

  /** MOVDIR64B, which tells nothing. */
  *movdir64b(destination: number, source: number): Task {
    yield* this.#user((cpu) => {
      const fault = movdir64b(cpu, { destination, source });
      return fault === undefined ? undefined : trapOf(fault);
    });
  }

  #access(address: number, right: number, then: (physical: number) => void): Task {
    return this.#user((cpu) => {
      const physical = cpu.physical(address, right);
      if (physical < 0) return trapOf(cpu.fault);
      then(physical);
      return undefined;
    });
  }

  /** One instruction, at CPL 3. */
  #user<T>(instruction: (cpu: Cpu) => T | Trap): Task<T> {
    return this.#machine.processes.user(this.#thread, ({ index }: CpuPort) => {
      const cpu = this.#machine.cpus[index];
      if (cpu === undefined) throw new Error(`no CPU ${index}`);
      cpu.cpl = 3;
      try {
        return instruction(cpu);
      } finally {
        cpu.cpl = 0;
      }
    });
  }
}

function trapOf(fault: CpuFault | undefined): Trap {
  if (fault?.vector !== PAGE_FAULT) return Trap.generalProtection();
  return Trap.pageFault(fault.address, (fault.errorCode & PF.WRITE) !== 0);
}

/** The parts of a run of bytes that lie in one page each. */
function* pieces(address: number, length: number): Generator<{ at: number; offset: number; length: number }> {
  for (let offset = 0; offset < length; ) {
    const at = address + offset;
    const room = Math.min(PAGE - (at % PAGE), length - offset);
    yield { at, offset, length: room };
    offset += room;
  }
}
