/**
 * Which thread runs on which CPU, and what a switch carries: the page table, and with XSAVES and XRSTORS the
 * component PASID of the thread's state (IA32_PASID, Intel SDM volume 1, 13.5.10). A thread's image of it is in
 * its init state (no valid PASID) until the thread first needs it. Left out: all other registers.
 */
import { assert, KeptValue } from '../base/index.js';
import type { KernelContext } from './context.js';
import type { Pasid } from './ids.js';
import type { CpuPort } from './platform.js';

/** IA32_PASID: bits 19:0 are the PASID, bit 31 says that it is valid. */
const PASID_VALID = 1 << 31;
const PASID_INIT = 0;

/** What a switch saves and loads of a thread. */
export interface CpuState {
  readonly name: string;
  /** The frame of the root of its page table. */
  readonly pageTable: number;
  /** The saved image of IA32_PASID. */
  readonly pasidImage: KeptValue<number>;
}

export class Cpus {
  readonly #context: KernelContext;
  /** Who runs on each CPU. */
  readonly #running: readonly KeptValue<CpuState | undefined>[];
  /** A page table that maps nothing: what a CPU without a thread has. */
  readonly #idleTable: number;

  constructor(context: KernelContext, idleTable: number) {
    this.#context = context;
    this.#idleTable = idleTable;
    this.#running = context.platform.cpus.map(
      () => new KeptValue<CpuState | undefined>(context.log, undefined),
    );
    for (const cpu of context.platform.cpus) cpu.setPageTable(idleTable);
  }

  /** A thread's state of a new program or a forked child: it has used no PASID. */
  initState(): KeptValue<number> {
    return new KeptValue(this.#context.log, PASID_INIT);
  }

  /** Puts a thread on a CPU, if it is on none; the CPU. The run's choices say which. */
  run(thread: CpuState): CpuPort {
    const { cpus, chooser } = this.#context.platform;
    let index = this.#running.findIndex((running) => running.value === thread);
    if (index < 0) {
      index = chooser.choose(cpus.length, 'cpu');
      this.#switch(index, thread);
    }
    return this.#port(index);
  }

  /** Takes a thread that ends off its CPU: nothing of it stays there. */
  leave(thread: CpuState): void {
    const index = this.#running.findIndex((running) => running.value === thread);
    if (index >= 0) this.#switch(index, undefined);
  }

  /** Whether a thread that runs has a valid PASID loaded. */
  hasPasid(thread: CpuState): boolean {
    return (this.run(thread).readPasidMsr() & PASID_VALID) !== 0;
  }

  /** Loads a PASID for a thread. */
  loadPasid(thread: CpuState, pasid: Pasid): void {
    this.run(thread).writePasidMsr(PASID_VALID | pasid);
  }

  #switch(index: number, next: CpuState | undefined): void {
    const running = this.#running[index];
    assert(running !== undefined, `no CPU ${index}`);
    const port = this.#port(index);
    if (running.value !== undefined) running.value.pasidImage.value = port.readPasidMsr();
    running.value = next;
    port.setPageTable(next?.pageTable ?? this.#idleTable);
    port.writePasidMsr(next?.pasidImage.value ?? PASID_INIT);
  }

  #port(index: number): CpuPort {
    const port = this.#context.platform.cpus[index];
    assert(port !== undefined, `no CPU ${index}`);
    return port;
  }
}
