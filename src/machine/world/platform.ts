/**
 * The Platform of the host's kernel, on the simulated hardware. Every store, and every access to a register, is a
 * point where hardware may step in: the run's choices say whether it does, and which part.
 */
import { Bug, type Chooser, type Event, hex, type Restorable, WaitQueue } from '../../base/index.js';
import { ABSENT, FRAME_BYTES } from '../../hardware/index.js';
import type {
  CpuPort,
  IommuUnit,
  Mmio,
  PciConfig,
  PhysicalMemory,
  Platform,
  Vmx,
} from '../../kernel/index.js';
import { cpuPort, vmxOf } from './cpu-port.js';
import type { Hardware } from './hardware.js';

/** What a kernel tells; who and when, the machine knows. */
export type KernelEvent = Omit<Event, 'step' | 'actor' | 'layer'>;

/** Told of what the kernel does. */
export interface PlatformTaps {
  readonly kernel: (event: KernelEvent) => void;
  /** It has stored 8 bytes. */
  readonly stored: (address: number) => void;
}

export class HostPlatform implements Platform {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  readonly cpus: readonly CpuPort[];
  readonly vmx: Vmx;
  readonly pageTableLevels: 4 | 5;
  readonly chooser: Chooser;
  readonly emit: (event: KernelEvent) => void;
  readonly #hardware: Hardware;
  readonly #kept: Restorable[] = [];

  constructor(hardware: Hardware, chooser: Chooser, { kernel, stored }: PlatformTaps) {
    this.#hardware = hardware;
    this.chooser = chooser;
    this.emit = kernel;
    const stepIn = (what: string): void => hardware.engines.maybeStep(chooser, what);
    this.memory = memoryPort(hardware, stepIn, stored);
    this.mmio = mmioPort(hardware, stepIn);
    this.pci = {
      read: (rid, offset, bytes) => hardware.root.readConfig(rid, offset, bytes),
      write: (rid, offset, bytes, value) => hardware.root.writeConfig(rid, offset, bytes, value),
    };
    const progress = new WaitQueue('progress of dmar0');
    hardware.unit.onProgress(() => progress.wakeAll());
    this.iommus = [
      {
        kind: 'vtd',
        registers: hardware.unitRegisters,
        hostAddressWidth: hardware.unit.format.hostAddressWidth,
        progress,
      },
    ];
    this.cpus = hardware.cpus.map(cpuPort);
    this.vmx = vmxOf(hardware.vcpus);
    this.pageTableLevels = hardware.cpuLevels;
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#hardware.interrupts.onInterrupt(vector, handler);
  }

  interruptMessage(vector: number): { readonly address: number; readonly data: number } {
    return this.#hardware.interrupts.messageOf(vector);
  }

  keep(state: Restorable): void {
    this.#kept.push(state);
  }

  /** What the kernel asked to be put back with the machine. */
  get kept(): readonly Restorable[] {
    return this.#kept;
  }
}

function memoryPort(
  { memory, writtenBack }: Hardware,
  stepIn: (what: string) => void,
  stored: (address: number) => void,
): PhysicalMemory {
  const wordAt = (address: number): number => {
    const at = memory.at(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
    if (at === ABSENT) throw new Bug(`the kernel loads from ${hex(address)}, where no memory is`);
    return at;
  };
  const writableAt = (address: number): number => {
    const at = memory.writable(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
    if (at === ABSENT) throw new Bug(`the kernel stores to ${hex(address)}, where no memory is`);
    return at;
  };
  return {
    ranges: memory.ranges,
    load32: (address) => memory.words[wordAt(address)] ?? 0,
    store32(address, value) {
      writtenBack?.storing(address, 4);
      const at = writableAt(address);
      memory.words[at] = value;
      stepIn('between stores');
    },
    load64(address, out) {
      const at = wordAt(address);
      out[0] = memory.words[at] ?? 0;
      out[1] = memory.words[at + 1] ?? 0;
    },
    store64(address, lo, hi) {
      writtenBack?.storing(address, 8);
      const at = writableAt(address);
      memory.words[at] = lo;
      memory.words[at + 1] = hi;
      stored(address);
      stepIn('between stores');
    },
    read(address, into) {
      if (!memory.read(address, into)) throw new Bug(`the kernel reads at ${hex(address)}`);
    },
    write(address, from) {
      writtenBack?.storing(address, from.length);
      if (!memory.write(address, from)) throw new Bug(`the kernel writes at ${hex(address)}`);
      stepIn('between stores');
    },
    clear(frame) {
      writtenBack?.storing(frame * FRAME_BYTES, FRAME_BYTES);
      if (!memory.clear(frame)) throw new Bug(`the kernel clears frame ${hex(frame)}, where no memory is`);
      stepIn('between stores');
    },
    flush(address, bytes) {
      writtenBack?.flush(address, bytes);
      stepIn('between stores');
    },
  };
}

function mmioPort({ bus }: Hardware, stepIn: (what: string) => void): Mmio {
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
      bus.write512(address, words);
      stepIn('between stores');
    },
  };
}
