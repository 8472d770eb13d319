/**
 * The Platform of a guest's kernel: what its VMM shows it. Memory is the VMM's, registers trap, and the CPUs are the
 * vCPUs that KVM gave. As on the host, every store and every access to a register is a point where hardware may
 * step in: the run's choices say whether it does, and which part.
 *
 * A guest's kernel that stores outside of its RAM is a guest's mistake, not ours: the store is lost, loads give all
 * ones.
 */
import type { Chooser, Restorable } from '../base/index.js';
import { ABSENT, FRAME_BYTES } from '../hardware/index.js';
import type {
  CpuPort,
  HotPlugController,
  IommuUnit,
  Mmio,
  PciConfig,
  PhysicalMemory,
  Platform,
} from '../kernel/index.js';
import type { GuestBus } from './bus.js';
import type { GuestInterrupts } from './interrupts.js';
import type { GuestRam } from './memory.js';

/** What a guest's kernel sees, and who is told. */
export interface GuestPlatformOptions {
  readonly memory: GuestRam;
  readonly bus: GuestBus;
  /** MOVDIR64B to registers that are mapped straight through; false where there are none. */
  readonly write512: (address: number, words: Int32Array) => boolean;
  readonly interrupts: GuestInterrupts;
  readonly cpus: readonly CpuPort[];
  readonly iommus: readonly IommuUnit[];
  readonly hotPlug: HotPlugController;
  readonly chooser: Chooser;
  /** Lets hardware step in, or not. */
  readonly stepIn: (what: string) => void;
  /** Told of each store of 8 bytes: the host's address. */
  readonly stored: ((address: number) => void) | undefined;
  readonly emit: Platform['emit'];
}

export class GuestPlatform implements Platform {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  readonly hotPlug: HotPlugController;
  readonly cpus: readonly CpuPort[];
  readonly chooser: Chooser;
  readonly emit: Platform['emit'];
  /** What the kernel asked to be put back with the machine. */
  readonly kept: Restorable[] = [];
  readonly #interrupts: GuestInterrupts;

  constructor(options: GuestPlatformOptions) {
    const { memory, bus, interrupts, cpus, iommus, chooser, emit } = options;
    this.memory = memoryPort(memory, options);
    this.mmio = mmioPort(options);
    this.pci = bus.config;
    this.iommus = iommus;
    this.hotPlug = options.hotPlug;
    this.cpus = cpus;
    this.chooser = chooser;
    this.emit = emit;
    this.#interrupts = interrupts;
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#interrupts.apic.onInterrupt(vector, handler);
  }

  interruptMessage(vector: number): { readonly address: number; readonly data: number } {
    return this.#interrupts.apic.messageOf(vector);
  }

  keep(state: Restorable): void {
    this.kept.push(state);
  }
}

function memoryPort(
  memory: GuestRam,
  { stepIn, stored }: Pick<GuestPlatformOptions, 'stepIn' | 'stored'>,
): PhysicalMemory {
  const readable = (address: number): number =>
    memory.at(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  const writable = (address: number): number =>
    memory.writable(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  return {
    ranges: memory.ranges,
    load32: (address) => memory.words[readable(address)] ?? -1,
    store32(address, value) {
      const at = writable(address);
      if (at !== ABSENT) memory.words[at] = value;
      stepIn('between stores');
    },
    load64(address, out) {
      const at = readable(address);
      out[0] = memory.words[at] ?? -1;
      out[1] = memory.words[at + 1] ?? -1;
      if (at === ABSENT) out[1] = -1;
    },
    store64(address, lo, hi) {
      const at = writable(address);
      if (at !== ABSENT) {
        memory.words[at] = lo;
        memory.words[at + 1] = hi;
        stored?.(memory.hostFrame(Math.floor(address / FRAME_BYTES)) * FRAME_BYTES + (address % FRAME_BYTES));
      }
      stepIn('between stores');
    },
    read(address, into) {
      if (!memory.read(address, into)) into.fill(0xff);
    },
    write(address, from) {
      memory.write(address, from);
      stepIn('between stores');
    },
    clear(frame) {
      memory.clear(frame);
      stepIn('between stores');
    },
    // A guest that has to write lines back is told so by its virtual unit; hardware's own memory is coherent.
    flush: () => stepIn('between stores'),
  };
}

/** An access may step hardware before it is made: a posted write of the vCPU's lands no later than a read. */
function mmioPort({
  bus,
  write512,
  stepIn,
}: Pick<GuestPlatformOptions, 'bus' | 'write512' | 'stepIn'>): Mmio {
  return {
    read32(address) {
      stepIn('before a register is read');
      return bus.read32(address);
    },
    write32(address, value) {
      bus.write32(address, value);
      stepIn('between stores');
    },
    read64(address, out) {
      stepIn('before a register is read');
      bus.read64(address, out);
    },
    write64(address, lo, hi) {
      bus.write64(address, lo, hi);
      stepIn('between stores');
    },
    write512(address, words) {
      if (!write512(address, words)) bus.write512(address, words);
      stepIn('between stores');
    },
  };
}
