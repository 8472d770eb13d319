/**
 * Which thread runs on which CPU, and what a switch carries: the page table, and with XSAVES and XRSTORS the
 * component PASID of the thread's state (IA32_PASID, Intel SDM volume 1, 13.5.10). A thread's image of it is in
 * its init state (no valid PASID) until the thread first needs it. Left out: all other registers.
 *
 * An instruction is not interrupted: nobody else gets a CPU in the middle of one, and a shootdown waits for its
 * end, as the interrupt that carries it does.
 */
import { assert, KeptObject, KeptValue, type Task, type UndoLog, WaitQueue } from '../base/index.js';
import { IA32_PASID } from '../spec/index.js';
import type { Pasid } from './ids.js';
import type { CpuPort, Platform } from './platform.js';

const PASID_INIT = 0;

/** What a switch saves and loads of a thread. One of a new program, or a forked child, has used no PASID. */
export abstract class CpuState extends KeptObject {
  abstract readonly name: string;
  /** The frame of the root of its page table. */
  abstract readonly pageTable: number;
  /** The saved image of IA32_PASID. */
  readonly pasidImage: number = PASID_INIT;
}

/** One CPU. */
interface Seat {
  readonly port: CpuPort;
  /** Who runs on it. */
  readonly thread: KeptValue<CpuState | undefined>;
  /** It is in the middle of an instruction. */
  readonly isBusy: KeptValue<boolean>;
}

export class Cpus {
  readonly #platform: Platform;
  readonly #seats: readonly Seat[];
  /** A page table that maps nothing: what a CPU without a thread has. */
  readonly #idleTable: number;
  /** Woken at the end of each instruction. */
  readonly #boundary = new WaitQueue('end of an instruction');

  constructor({ platform, log }: { readonly platform: Platform; readonly log: UndoLog }, idleTable: number) {
    this.#platform = platform;
    this.#idleTable = idleTable;
    this.#seats = platform.cpus.map((port) => ({
      port,
      thread: new KeptValue<CpuState | undefined>(log, undefined),
      isBusy: new KeptValue(log, false),
    }));
    for (const cpu of platform.cpus) cpu.setPageTable(idleTable);
  }

  /** Puts a thread on a CPU, if it is on none; the CPU. The run's choices say which. */
  *run(thread: CpuState): Task<CpuPort> {
    for (;;) {
      const own = this.#seatOf(thread);
      if (own !== undefined) return own.port;
      const free = this.#seats.filter(({ isBusy }) => !isBusy.value);
      if (free.length === 0) {
        yield this.#boundary;
        continue;
      }
      const seat = free[this.#platform.chooser.choose(free.length, 'cpu')];
      assert(seat !== undefined, 'no CPU was chosen');
      this.#switch(seat, thread);
    }
  }

  /** An instruction that takes several steps, on the CPU of a thread that runs. */
  *instruction<T>(thread: CpuState, steps: Task<T>): Task<T> {
    const { isBusy } = this.#running(thread);
    isBusy.value = true;
    try {
      return yield* steps;
    } finally {
      isBusy.value = false;
      this.#boundary.wakeAll();
    }
  }

  /**
   * Returns when no CPU uses a translation that was there before, and what CPUs wrote through one has landed: each
   * has come to the end of its instruction.
   */
  *shootdown(): Task {
    for (const { port, isBusy } of this.#seats) {
      while (isBusy.value) yield this.#boundary;
      port.flushTlb();
      port.fence();
    }
  }

  /** Takes a thread that ends off its CPU: nothing of it stays there. */
  leave(thread: CpuState): void {
    const seat = this.#seatOf(thread);
    if (seat !== undefined) this.#switch(seat, undefined);
  }

  /** Whether a thread that runs has a valid PASID loaded. */
  hasPasid(thread: CpuState): boolean {
    return IA32_PASID.VALID.get(Int32Array.of(this.#running(thread).port.readPasidMsr(), 0), 0) === 1;
  }

  /** Loads a PASID for a thread that runs. */
  loadPasid(thread: CpuState, pasid: Pasid): void {
    const words = new Int32Array(2);
    IA32_PASID.PASID.set(words, 0, pasid);
    IA32_PASID.VALID.set(words, 0, 1);
    this.#running(thread).port.writePasidMsr(words[0] ?? 0);
  }

  #switch({ port, thread }: Seat, next: CpuState | undefined): void {
    if (thread.value !== undefined) thread.value.change().pasidImage = port.readPasidMsr();
    thread.value = next;
    port.setPageTable(next?.pageTable ?? this.#idleTable);
    port.writePasidMsr(next?.pasidImage ?? PASID_INIT);
  }

  #seatOf(thread: CpuState): Seat | undefined {
    return this.#seats.find((seat) => seat.thread.value === thread);
  }

  #running(thread: CpuState): Seat {
    const seat = this.#seatOf(thread);
    assert(seat !== undefined, `${thread.name} does not run`);
    return seat;
  }
}
