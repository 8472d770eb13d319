/**
 * The machine, as a kernel sees it: its memory, registers, functions, CPUs and interrupts. The host's kernel is
 * given the hardware, a guest's what its VMM shows it; the kernel cannot tell. A kernel knows no other way out.
 *
 * Every store and every access to a register is a point where hardware may step in (it asks `choose`), also
 * between the two halves of an entry. Addresses are numbers below 2^52.
 */
import type { Chooser, Event, Restorable, WaitQueue } from '../base/index.js';

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
  /** Fills a frame with zeros: what a kernel does before it gives it away. */
  clear(frame: number): void;
  /** Writes cache lines back to where hardware that does not snoop sees them. */
  flush(address: number, bytes: number): void;
}

/** Memory-mapped registers. */
export interface Mmio {
  read32(address: number): number;
  write32(address: number, value: number): void;
  read64(address: number, out: Int32Array): void;
  write64(address: number, lo: number, hi: number): void;
  /** Writes 64 bytes at once (MOVDIR64B), 16 words; undefined where the CPUs cannot. */
  write512?(address: number, words: Int32Array): void;
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
  /**
   * Woken each time that what a driver polls for may have come from its invalidation queue: the status of a wait, an
   * error. It stands for a spin, which costs a step each time that it finds nothing; without it, a driver spins.
   */
  readonly progress?: WaitQueue;
}

/** A hot-plug controller that firmware tells of. */
export interface HotPlugController {
  /** Physical address of its registers (`HOT_PLUG`). */
  readonly registers: number;
  /** Has it send this message whenever something changes. */
  readonly route: (message: { readonly address: number; readonly data: number }) => void;
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

/** Why a CPU in guest mode came back to the host. */
export type VmExit =
  /** ENQCMD or ENQCMDS (exits 72 and 73) with a PASID that the VM's table does not translate. */
  | { readonly reason: 'enqcmd' | 'enqcmds'; readonly pasid: number }
  /** An access to a guest's physical page that its EPT does not grant (48), or maps by a malformed entry (49). */
  | {
      readonly reason: 'ept-violation' | 'ept-misconfiguration';
      readonly gfn: number;
      readonly write: boolean;
    };

/**
 * How the guest goes on after an exit: `retry` skips the instruction with ZF = 1, of ENQCMD and ENQCMDS only;
 * `general-protection` is injected in its place. Of an access only: `resume` executes it again; `later` does so when
 * others have had a turn; `nobody` emulates it as of an address where nothing answers: loads give all ones, stores are
 * lost, and what is to be enqueued is not taken.
 */
export type ExitAction = 'retry' | 'resume' | 'later' | 'nobody' | 'general-protection';

/** What the guest has loaded into a vCPU, which is between two of its instructions (KVM_GET_SREGS, KVM_GET_MSRS). */
export interface VcpuState {
  /** CR3: a guest frame. */
  readonly pageTable: number;
  /** IA32_PASID, its low word. */
  readonly pasidMsr: number;
}

/** One CPU in guest mode, as its VMCS has it; a guest's kernel is given {@link VcpuPort.cpu}. */
export interface VcpuPort {
  readonly cpu: CpuPort;
  /** As it is now. */
  save(): VcpuState;
  /** As another was, whose guest it is to run. */
  load(state: VcpuState): void;
  /** The EPT: the frame of the root of its four levels. */
  setEpt(root: number): void;
  /** PASID translation by the directories in these frames; off, without. */
  setPasidTranslation(directories: { readonly low: number; readonly high: number } | undefined): void;
  /** INVEPT on that CPU, which serializes: what it caches is dropped, and its posted writes have landed. */
  flushEpt(): void;
  /**
   * Writes 64 bytes at once (MOVDIR64B), 16 words, as the guest's kernel does, to registers that are mapped straight
   * through; false if none are at that address: the access exits.
   */
  write512(address: number, words: Int32Array): boolean;
  /** Whether it is in the middle of an instruction of several steps (ENQCMD): past its walks, not yet at its end. */
  readonly isInInstruction: boolean;
  /** Woken at the end of each such instruction, and then only. */
  readonly boundary: WaitQueue;
  /** Has `handler` called on each exit. It may not sleep. */
  onExit(handler: (exit: VmExit) => ExitAction): void;
  /** Gives the CPU back, with nothing of the guest left on it. Once more is no error. */
  release(): void;
}

/** What the CPUs have for virtual machines. */
export interface Vmx {
  /** Whether they can translate PASIDs in guest mode. */
  readonly hasPasidTranslation: boolean;
  /** Takes a CPU that runs nothing but this vCPU. */
  createVcpu(name: string): VcpuPort;
}

/** The machine. */
export interface Platform {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  /** Undefined where devices neither come nor go. */
  readonly hotPlug?: HotPlugController | undefined;
  readonly cpus: readonly CpuPort[];
  /** Levels of the CPUs' page tables: 5 with LA57; 4, if left out. */
  readonly pageTableLevels?: 4 | 5;
  /** Undefined in a guest: there is no nested virtualization. */
  readonly vmx?: Vmx | undefined;
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
