/**
 * A recording of what a kernel does to its machine: every store and load of memory, every access to a register, in
 * their order, with what was answered. It is taken at the Platform, so a kernel without its hardware can be played
 * again from it on another machine that has the same memory and registers at the same addresses.
 *
 * Left out: configuration space, what CPUs are told, lines that are written back; what hardware writes by itself.
 */
import { type Chooser, type Restorable, u64 } from '../../base/index.js';
import {
  type CpuPort,
  type IommuUnit,
  type Mmio,
  PAGE_BYTES,
  type PciConfig,
  type PhysicalMemory,
  type Platform,
} from '../../kernel/index.js';

/** Stores of memory are `store`; `write` and `read` are of registers. Values are unsigned, of so many bytes. */
export type Access =
  | { readonly did: 'store'; readonly address: number; readonly data: Uint8Array }
  | {
      readonly did: 'load' | 'write' | 'read';
      readonly address: number;
      readonly bytes: 4 | 8;
      readonly value: bigint;
    };

/** Takes the accesses: a store or a write before hardware can act on it, a load or a read with its answer. */
export type AccessSink = (access: Access) => void;

/** A Platform whose accesses are told to a sink, and go on to `inner` as they are. */
export class RecordedPlatform implements Required<Platform> {
  readonly memory: PhysicalMemory;
  readonly mmio: Mmio;
  readonly pci: PciConfig;
  readonly iommus: readonly IommuUnit[];
  readonly hotPlug: Platform['hotPlug'];
  readonly cpus: readonly CpuPort[];
  readonly pageTableLevels: 4 | 5;
  readonly vmx: Platform['vmx'];
  readonly chooser: Chooser;
  readonly emit: Platform['emit'];
  readonly #inner: Platform;

  constructor(inner: Platform, sink: AccessSink) {
    this.#inner = inner;
    this.memory = recordedMemory(inner.memory, sink);
    this.mmio = recordedMmio(inner.mmio, sink);
    this.pci = inner.pci;
    this.iommus = inner.iommus;
    this.hotPlug = inner.hotPlug;
    this.cpus = inner.cpus;
    this.pageTableLevels = inner.pageTableLevels ?? 4;
    this.vmx = inner.vmx;
    this.chooser = inner.chooser;
    this.emit = inner.emit;
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#inner.onInterrupt(vector, handler);
  }

  interruptMessage(vector: number): { readonly address: number; readonly data: number } {
    return this.#inner.interruptMessage(vector);
  }

  keep(state: Restorable): void {
    this.#inner.keep(state);
  }
}

function recordedMemory(inner: PhysicalMemory, sink: AccessSink): PhysicalMemory {
  return {
    ranges: inner.ranges,
    load32(address) {
      const value = inner.load32(address);
      sink({ did: 'load', address, bytes: 4, value: unsigned(value) });
      return value;
    },
    store32(address, value) {
      sink({ did: 'store', address, data: bytesOf(value) });
      inner.store32(address, value);
    },
    load64(address, out) {
      inner.load64(address, out);
      sink({ did: 'load', address, bytes: 8, value: u64(out[0] ?? 0, out[1] ?? 0) });
    },
    store64(address, lo, hi) {
      sink({ did: 'store', address, data: bytesOf(lo, hi) });
      inner.store64(address, lo, hi);
    },
    read: (address, into) => inner.read(address, into),
    write(address, from) {
      sink({ did: 'store', address, data: from.slice() });
      inner.write(address, from);
    },
    clear(frame) {
      sink({ did: 'store', address: frame * PAGE_BYTES, data: new Uint8Array(PAGE_BYTES) });
      inner.clear(frame);
    },
    flush: (address, bytes) => inner.flush(address, bytes),
  };
}

function recordedMmio(inner: Mmio, sink: AccessSink): Mmio {
  return {
    read32(address) {
      const value = inner.read32(address);
      sink({ did: 'read', address, bytes: 4, value: unsigned(value) });
      return value;
    },
    write32(address, value) {
      sink({ did: 'write', address, bytes: 4, value: unsigned(value) });
      inner.write32(address, value);
    },
    read64(address, out) {
      inner.read64(address, out);
      sink({ did: 'read', address, bytes: 8, value: u64(out[0] ?? 0, out[1] ?? 0) });
    },
    write64(address, lo, hi) {
      sink({ did: 'write', address, bytes: 8, value: u64(lo, hi) });
      inner.write64(address, lo, hi);
    },
  };
}

const unsigned = (word: number): bigint => BigInt(word >>> 0);
const bytesOf = (...words: number[]): Uint8Array => new Uint8Array(Int32Array.from(words).buffer);
