/**
 * What a program of a scenario does in user mode, an instruction at a time: loads and stores of up to a page (as a
 * string instruction moves them), MOVDIR64B and ENQCMD. Each goes through the CPU that the kernel has put the thread
 * on, with its page tables and its IA32_PASID; faults go to the kernel. A guest's program runs so too: its CPU is in
 * guest mode, and exits to the host's KVM on the way, which may have it try an instruction again later.
 */
import { assert, type Task } from '../../base/index.js';
import {
  type Cpu,
  type CpuFault,
  enqcmd,
  LATER,
  type Memory,
  movdir64b,
  PAGE_FAULT,
  PF,
  RIGHT,
} from '../../hardware/index.js';
import { type CpuPort, type Processes, type Thread, Trap } from '../../kernel/index.js';

const PAGE = 4096;
/** What an instruction came to that the host has the CPU wait with. */
const AGAIN = Symbol('again');

export interface UserMachine {
  readonly memory: Memory;
  /** Whose CPUs run it: others, once a virtual machine has gone elsewhere. */
  readonly machine: { readonly cpus: readonly Cpu[] };
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
    for (let done = 0; done < from.length; ) {
      const piece = pieceOf(from, done, address);
      yield* this.#access(address + done, RIGHT.WRITE, (physical) => {
        this.#machine.memory.write(physical, piece);
      });
      done += piece.length;
    }
  }

  /** Loads bytes, a page at a time. */
  *load(address: number, into: Uint8Array): Task {
    for (let done = 0; done < into.length; ) {
      const piece = pieceOf(into, done, address);
      yield* this.#access(address + done, RIGHT.READ, (physical) => {
        this.#machine.memory.read(physical, piece);
      });
      done += piece.length;
    }
  }

  /** ENQCMD; whether the device accepted it. Others may come between its parts, but not on this CPU. */
  *enqcmd(destination: number, source: number): Task<boolean> {
    const { processes } = this.#machine;
    for (;;) {
      const zf = yield* processes.userSteps(this.#thread, (port) =>
        this.#enqcmd(port, { destination, source }),
      );
      if (zf !== AGAIN) return zf === 0;
    }
  }

  /** MOVDIR64B, which tells nothing. */
  *movdir64b(destination: number, source: number): Task {
    yield* this.#user((cpu) => {
      const fault = movdir64b(cpu, { destination, source });
      return fault === undefined ? undefined : resultOf(fault);
    });
  }

  *#enqcmd(
    port: CpuPort,
    submission: { destination: number; source: number },
  ): Task<0 | 1 | Trap | typeof AGAIN> {
    const cpu = this.#cpuOf(port);
    cpu.cpl = 3;
    try {
      const result = yield* enqcmd(cpu, submission);
      return result.fault === undefined ? result.zf : resultOf(result.fault);
    } finally {
      cpu.cpl = 0;
    }
  }

  #access(address: number, right: number, then: (physical: number) => void): Task {
    return this.#user((cpu) => {
      const physical = cpu.physical(address, right);
      if (physical < 0) return resultOf(cpu.fault);
      then(physical);
      return undefined;
    });
  }

  /** One instruction, at CPL 3, as often as it takes. */
  *#user(instruction: (cpu: Cpu) => Trap | typeof AGAIN | undefined): Task {
    for (;;) {
      const result = yield* this.#machine.processes.user(this.#thread, (port) => {
        const cpu = this.#cpuOf(port);
        cpu.cpl = 3;
        try {
          return instruction(cpu);
        } finally {
          cpu.cpl = 0;
        }
      });
      if (result !== AGAIN) return;
    }
  }

  #cpuOf({ index }: CpuPort): Cpu {
    const cpu = this.#machine.machine.cpus[index];
    assert(cpu !== undefined, `no CPU ${index}`);
    return cpu;
  }
}

/** What an instruction comes to that could not be executed. */
function resultOf(fault: CpuFault | undefined): Trap | typeof AGAIN {
  if (fault?.vector === LATER) return AGAIN;
  if (fault?.vector !== PAGE_FAULT) return Trap.generalProtection();
  return Trap.pageFault(fault.address, (fault.errorCode & PF.WRITE) !== 0);
}

/** Of bytes that stand at `address`, those from `offset` on that lie in one page. */
function pieceOf(bytes: Uint8Array, offset: number, address: number): Uint8Array {
  const room = PAGE - ((address + offset) % PAGE);
  return offset === 0 && bytes.length <= room ? bytes : bytes.subarray(offset, offset + room);
}
