/**
 * A CPU just able to run a user's program: loads, stores and ENQCMD through the page table that the kernel gave
 * it, without a TLB; what fails is a trap for the kernel.
 */
import type { Restorable } from '../../src/base/index.js';
import type { Bus } from '../../src/hardware/index.js';
import { type CpuPort, Trap } from '../../src/kernel/index.js';
import { FIRST_STAGE_ENTRY, IA32_PASID } from '../../src/spec/index.js';

const { P, RW, ADDR } = FIRST_STAGE_ENTRY;

export class BenchCpu implements CpuPort, Restorable {
  readonly index: number;
  readonly #bus: Bus;
  readonly #step: () => void;
  #pageTable = 0;
  #pasidMsr = 0;
  #marked = { pageTable: 0, pasidMsr: 0 };

  constructor(index: number, bus: Bus, step: () => void) {
    this.index = index;
    this.#bus = bus;
    this.#step = step;
  }

  setPageTable(frame: number): void {
    this.#pageTable = frame;
  }

  flushTlb(): void {}

  readPasidMsr(): number {
    return this.#pasidMsr;
  }

  writePasidMsr(value: number): void {
    this.#pasidMsr = value;
  }

  load32(address: number): number | Trap {
    const at = this.#translate(address, false);
    if (at instanceof Trap) return at;
    this.#step();
    return this.#bus.read32(at);
  }

  store32(address: number, value: number): undefined | Trap {
    const at = this.#translate(address, true);
    if (at instanceof Trap) return at;
    this.#bus.write32(at, value);
    this.#step();
    return undefined;
  }

  /** ENQCMD of 16 words: whether the queue took them. */
  enqcmd(address: number, words: Int32Array): boolean | Trap {
    const msr = Int32Array.of(this.#pasidMsr, 0);
    if (IA32_PASID.VALID.get(msr, 0) === 0) return Trap.generalProtection();
    const at = this.#translate(address, true);
    if (at instanceof Trap) return at;
    const command = Int32Array.from(words);
    command[0] = IA32_PASID.PASID.get(msr, 0);
    this.#step();
    return this.#bus.enqueue(at, command);
  }

  /** MOVDIR64B of 16 words. */
  movdir64b(address: number, words: Int32Array): undefined | Trap {
    const at = this.#translate(address, true);
    if (at instanceof Trap) return at;
    this.#step();
    this.#bus.write512(at, words);
    return undefined;
  }

  mark(): void {
    this.#marked = { pageTable: this.#pageTable, pasidMsr: this.#pasidMsr };
  }

  restore(): void {
    this.#pageTable = this.#marked.pageTable;
    this.#pasidMsr = this.#marked.pasidMsr;
  }

  #translate(address: number, write: boolean): number | Trap {
    const page = Math.floor(address / 4096);
    const entry = new Int32Array(2);
    let table = this.#pageTable;
    for (let level = 4; level > 0; level--) {
      const index = Math.floor(page / 512 ** (level - 1)) % 512;
      this.#bus.read64(table * 4096 + index * 8, entry);
      if (P.get(entry, 0) === 0 || (write && RW.get(entry, 0) === 0)) return Trap.pageFault(address, write);
      table = ADDR.get(entry, 0);
    }
    return table * 4096 + (address % 4096);
  }
}
