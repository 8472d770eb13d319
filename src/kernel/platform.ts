/**
 * The machine, as a kernel sees it: its memory, registers, functions, CPUs and interrupts. The host's kernel is
 * given the hardware, a guest's what its VMM shows it; the kernel cannot tell. A kernel knows no other way out.
 *
 * Every store and every access to a register is a point where hardware may step in (it asks `choose`), also
 * between the two halves of an entry. Addresses are numbers below 2^52.
 */
import type { Chooser, Event, Restorable } from '../base/index.js';

/** Physical memory. An access outside of it is a bug of the kernel's, and thrown as such. */
export interface PhysicalMemory {
  /** Frames of RAM that the kernel may use, both ends inclusive. */
  readonly ranges: readonly { readonly first: number; readonly last: number }[];
  load32(address: number): number;
  store32(address: number, value: number): void;
  /** Reads 8 bytes at once into `out[0]` (low) and `out[1]`. */
  load64(address: number, out: Int32Array): void;
  /** Stores 8 bytes at once. */
  store64(address: number, lo: number, hi: number): void;
  read(address: number, into: Uint8Array): void;
  write(address: number, from: Uint8Array): void;
  /** Writes cache lines back to where hardware that does not snoop sees them. */
  flush(address: number, bytes: number): void;
}

/** Memory-mapped registers. */
export interface Mmio {
  read32(address: number): number;
  write32(address: number, value: number): void;
  read64(address: number, out: Int32Array): void;
  write64(address: number, lo: number, hi: number): void;
}

/** PCI configuration space; 1, 2 or 4 bytes, naturally aligned. All ones where there is no function. */
export interface PciConfig {
  read(rid: number, offset: number, bytes: number): number;
  write(rid: number, offset: number, bytes: number, value: number): void;
}

/** An IOMMU that firmware tells of (ACPI DMAR). */
export interface IommuUnit {
  readonly kind: 'vtd';
  /** Physical address of its registers. */
  readonly registers: number;
  readonly hostAddressWidth: number;
  /** The functions behind it; all that no other unit names, if left out. */
  readonly rids?: readonly number[];
}

/** One CPU: the state that a kernel loads for the task that it runs. */
export interface CpuPort {
  readonly index: number;
  /** The page table that user accesses go through (CR3): the frame of its root. */
  setPageTable(frame: number): void;
  /** Invalidates what the CPU caches of translations. */
  flushTlb(): void;
  /** Has the posted writes that it has on their way land. */
  fence(): void;
  /** IA32_PASID as RDMSR and WRMSR see it (its low word; the high one is reserved). */
  readPasidMsr(): number;
  writePasidMsr(value: number): void;
}

/** The machine. */
export interface Platform {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  readonly cpus: readonly CpuPort[];
  /** Levels of the CPUs' page tables: 5 with LA57; 4, if left out. */
  readonly pageTableLevels?: 4 | 5;
  readonly chooser: Chooser;
  /** Takes what happens. Undefined while nobody listens: events need not be made then. */
  readonly emit: ((event: Omit<Event, 'step' | 'actor' | 'layer'>) => void) | undefined;
  /**
   * Has `handler` called on each interrupt with this vector, in interrupt context: it may not sleep. It may come
   * at any access of the kernel's, and between a task's steps; never within a step of hardware.
   */
  onInterrupt(vector: number, handler: () => void): void;
  /** Where an interrupt message must be sent to reach this kernel with this vector. */
  interruptMessage(vector: number): { readonly address: number; readonly data: number };
  /** Registers state to be put back with the machine. */
  keep(state: Restorable): void;
}
