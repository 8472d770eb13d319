/**
 * The Platform of a guest's kernel: what its VMM shows it. Memory is the VMM's, registers trap, and the CPUs are the
 * vCPUs that KVM gave. As on the host, every store and every access to a register is a point where hardware may
 * step in: the run's choices say whether it does, and which part.
 *
 * A guest's kernel that stores outside of its RAM is a guest's mistake, not ours: the store is lost, loads give all
 * ones.
 */
import { Bug, type Chooser, type Restorable } from '../base/index.js';
import { ABSENT, FRAME_BYTES } from '../hardware/index.js';
import type {
  CpuPort,
  HotPlugController,
  IommuUnit,
  Mmio,
  PciConfig,
  PhysicalMemory,
  Platform,
  VcpuPort,
} from '../kernel/index.js';
import type { GuestBus } from './bus.js';
import type { GuestInterrupts } from './interrupts.js';
import type { GuestRam } from './memory.js';

/** The machine that a VMM has built: what accesses of the guest's kernel meet. */
export interface GuestMachine {
  readonly ram: GuestRam;
  readonly bus: GuestBus;
  /** In the order in which the guest counts them. */
  readonly vcpus: readonly VcpuPort[];
  /** MOVDIR64B of the guest's kernel. */
  readonly write512: (address: number, words: Int32Array) => void;
}

/** What a guest's kernel sees, and who is told. */
export interface GuestPlatformOptions {
  readonly machine: GuestMachine;
  readonly interrupts: GuestInterrupts;
  readonly iommus: readonly IommuUnit[];
  readonly hotPlug: HotPlugController;
  readonly chooser: Chooser;
  /** Lets hardware step in, or not. */
  readonly stepIn: (what: string) => void;
  /** Told of each store of 8 bytes: the host's address. */
  readonly stored: ((address: number) => void) | undefined;
  readonly emit: Platform['emit'];
}

export class GuestPlatform implements Platform, Restorable {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  readonly hotPlug: HotPlugController;
  readonly cpus: readonly CpuPort[];
  readonly chooser: Chooser;
  readonly emit: Platform['emit'];
  /** What the kernel asked to be put back with the machine. */
  readonly kept: Restorable[] = [this];
  readonly #interrupts: GuestInterrupts;
  readonly #on: Seat;
  #marked: GuestMachine;

  constructor(options: GuestPlatformOptions) {
    const { machine, interrupts, iommus, chooser, emit } = options;
    const { ram, bus, vcpus, write512 } = machine;
    const on: Seat = { ram, bus, vcpus, write512 };
    this.#on = on;
    this.#marked = machine;
    this.memory = memoryPort(on, options);
    this.mmio = mmioPort(on, options);
    this.pci = {
      read: (rid, offset, bytes) => on.bus.config.read(rid, offset, bytes),
      write: (rid, offset, bytes, value) => on.bus.config.write(rid, offset, bytes, value),
    };
    this.iommus = iommus;
    this.hotPlug = options.hotPlug;
    this.cpus = vcpus.map((_, index) => cpuPort(on, index));
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

  /** The guest stands still, and goes on on a machine that has taken over what this one was. */
  move(to: GuestMachine): void {
    const { ram, bus, vcpus, write512 } = to;
    Object.assign(this.#on, { ram, bus, vcpus, write512 });
  }

  mark(): void {
    this.#marked = { ...this.#on };
  }

  restore(): void {
    this.move(this.#marked);
  }
}

/** The machine that the guest is on now: a guest's kernel keeps its ports whichever that is. */
type Seat = { -readonly [K in keyof GuestMachine]: GuestMachine[K] };

function cpuPort(on: Seat, index: number): CpuPort {
  const port = (): CpuPort => {
    const vcpu = on.vcpus[index];
    if (vcpu === undefined) throw new Bug(`no vCPU ${index}`);
    return vcpu.cpu;
  };
  return {
    index,
    setPageTable: (frame) => port().setPageTable(frame),
    flushTlb: () => port().flushTlb(),
    fence: () => port().fence(),
    readPasidMsr: () => port().readPasidMsr(),
    writePasidMsr: (value) => port().writePasidMsr(value),
  };
}

function memoryPort(
  on: Seat,
  { stepIn, stored }: Pick<GuestPlatformOptions, 'stepIn' | 'stored'>,
): PhysicalMemory {
  const readable = (address: number): number =>
    on.ram.at(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  const writable = (address: number): number =>
    on.ram.writable(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  return {
    ranges: on.ram.ranges,
    load32(address) {
      const at = readable(address);
      return at === ABSENT ? -1 : (on.ram.words[at] ?? 0);
    },
    store32(address, value) {
      const at = writable(address);
      if (at !== ABSENT) on.ram.words[at] = value;
      stepIn('between stores');
    },
    load64(address, out) {
      const at = readable(address);
      const { words } = on.ram;
      out[0] = at === ABSENT ? -1 : (words[at] ?? 0);
      out[1] = at === ABSENT ? -1 : (words[at + 1] ?? 0);
    },
    store64(address, lo, hi) {
      const at = writable(address);
      if (at !== ABSENT) {
        const { words } = on.ram;
        words[at] = lo;
        words[at + 1] = hi;
        stored?.(on.ram.hostFrame(Math.floor(address / FRAME_BYTES)) * FRAME_BYTES + (address % FRAME_BYTES));
      }
      stepIn('between stores');
    },
    read(address, into) {
      if (!on.ram.read(address, into)) into.fill(0xff);
    },
    write(address, from) {
      on.ram.write(address, from);
      stepIn('between stores');
    },
    clear(frame) {
      on.ram.clear(frame);
      stepIn('between stores');
    },
    // A guest that has to write lines back is told so by its virtual unit; hardware's own memory is coherent.
    flush: () => stepIn('between stores'),
  };
}

/** An access may step hardware before it is made: a posted write of the vCPU's lands no later than a read. */
function mmioPort(on: Seat, { stepIn }: Pick<GuestPlatformOptions, 'stepIn'>): Mmio {
  return {
    read32(address) {
      stepIn('before a register is read');
      return on.bus.read32(address);
    },
    write32(address, value) {
      on.bus.write32(address, value);
      stepIn('between stores');
    },
    read64(address, out) {
      stepIn('before a register is read');
      on.bus.read64(address, out);
    },
    write64(address, lo, hi) {
      on.bus.write64(address, lo, hi);
      stepIn('between stores');
    },
    write512(address, words) {
      on.write512(address, words);
      stepIn('between stores');
    },
  };
}
