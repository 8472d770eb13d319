/**
 * A host of ours whose unit, devices and addresses are those of the lab's QEMU, with the kernel's own driver on it,
 * and a recording of all that its kernel and its devices do to memory and to the unit's registers.
 *
 * Of the orders that there may be, it has one that QEMU has too: the unit has done what is in its queue before the
 * write of the tail returns, and no cache loses anything by itself. Devices make their DMA wherever hardware may step
 * in, also between two stores of the kernel's.
 */
import { type Chooser, Random } from '../../src/base/index.js';
import {
  COMPLETION,
  type MemoryRequest,
  NO_PASID,
  RIGHT,
  type RootComplex,
  type VtdUnit,
} from '../../src/hardware/index.js';
import {
  type IommuDevice,
  PciDevice,
  type PhysicalMemory,
  type Platform,
  type RidDomain,
} from '../../src/kernel/index.js';
import { type Access, RecordedPlatform } from '../../src/machine/index.js';
import { CAP_REG, ECAP_REG, type Layout, wordsOf } from '../../src/spec/index.js';
import { Bench } from '../native-sva/machine.js';
import { type LiteralRequest, literalTranslation } from '../vtd/literal-translation.js';
import { must } from '../vtd-driver/lab.js';
import { DmaDevice } from './dma-device.js';
import type { Tables } from './legal.js';
import { DEVICES, UNIT_BASE } from './machine.js';
import { type Expected, theirOutcomes } from './quirks.js';
import { PATTERN } from './twin.js';

const PAGE_BYTES = 4096;

/** A DMA of 4 bytes, as it went: a write of {@link PATTERN} or a read, and what the unit says of it. */
export interface Dma {
  readonly did: 'dma';
  /** By its place in {@link DEVICES}. */
  readonly device: number;
  readonly address: number;
  /** Where in memory the bytes went or came from; undefined if it was blocked. */
  readonly at: number | undefined;
  /** What was read; 0 if it was blocked. */
  readonly value: number;
  /** FSTS, and the fault record, after it. */
  readonly status: bigint;
  readonly record: readonly [bigint, bigint];
  readonly request: LiteralRequest;
  /** If it was blocked, what QEMU may answer by the tables as they were then. */
  readonly expected: readonly Expected[];
}

/** What happened, or what was about to be done. */
export type Recorded = Access | Dma | { readonly did: 'note'; readonly text: string };

/** Registers of the unit; the fault record is where QEMU has it. */
const [RTADDR, FSTS, IQT, FRCD] = [0x20, 0x34, 0x88, 0x220];
/** A context entry may be cached, or not. */
const CIRCUMSTANCES = { hasTransientMappings: false, isContextCached: true };

export class RecordedHost {
  readonly recording: Recorded[] = [];
  readonly bench: Bench;
  readonly devices: readonly DmaDevice[];
  /** What answers the choices of a run. */
  readonly random: Random;
  /** The frame that the last DMA went to. */
  #moved = -1;
  /** What stood in words of memory that were stored to since the unit was last done with its queue. */
  readonly #changed = new Map<number, bigint>();
  readonly #unit: { readonly cap: bigint; readonly ecap: bigint; readonly isScalable: boolean };

  constructor({ cap, ecap }: { cap: bigint; ecap: bigint }, seed: number) {
    this.#unit = { cap, ecap, isScalable: ((ecap >> 43n) & 1n) === 1n };
    this.random = new Random(seed);
    this.bench = new Bench({
      ...{ devices: 0, cap: fieldsOf(CAP_REG, cap), ecap: fieldsOf(ECAP_REG, ecap) },
      between: (platform, units) => this.#between(platform, units),
    });
    const { bench } = this;
    bench.root.audit = (_request, frame) => {
      this.#moved = frame;
    };
    this.devices = DEVICES.map(
      (_, index) =>
        new DmaDevice(
          index,
          (page, n) => this.#dma(index, page, n),
          (page) => this.#isHeld(index, page),
        ),
    );
    for (const each of this.devices) {
      bench.root.attach(each);
      bench.engines.add(each);
    }
    bench.chooser = this.#chooser;
  }

  get isScalable(): boolean {
    return this.#unit.isScalable;
  }

  /** Has the kernel find a device. */
  plug(index: number, rid: RidDomain): IommuDevice {
    const { kernel } = this.bench;
    const pci = new PciDevice(kernel.context, DEVICES[index]?.rid ?? 0);
    return must(this.bench.run(kernel.iommu.add(pci, rid)));
  }

  note(text: string): void {
    this.recording.push({ did: 'note', text });
  }

  /** A frame of its own, with data in it. */
  dataFrame(): number {
    const frame = must(this.bench.kernel.context.frames.alloc({ kind: 'kernel', use: 'data' }));
    this.tag(frame);
    return frame;
  }

  /** Has each word of a frame say where it is. */
  tag(frame: number): void {
    const first = 0x4000_0000 + frame * PAGE_BYTES;
    const words = Uint32Array.from({ length: PAGE_BYTES / 4 }, (_, i) => first + i * 4);
    this.bench.kernel.context.platform.memory.write(frame * PAGE_BYTES, new Uint8Array(words.buffer));
  }

  /** The frames that were written, by whomever. */
  get written(): readonly number[] {
    const found = new Set<number>();
    for (const each of this.recording) {
      if (each.did === 'dma' && each.at !== undefined) found.add(Math.floor(each.at / PAGE_BYTES));
      if (each.did !== 'store') continue;
      const last = each.address + each.data.length - 1;
      for (let at = each.address; at <= last; at += PAGE_BYTES) found.add(Math.floor(at / PAGE_BYTES));
      found.add(Math.floor(last / PAGE_BYTES));
    }
    return [...found].sort((a, b) => a - b);
  }

  frame(frame: number): Uint8Array {
    const bytes = new Uint8Array(PAGE_BYTES);
    this.bench.memory.read(frame * PAGE_BYTES, bytes);
    return bytes;
  }

  /** A register of the unit's, as it is now. */
  register(offset: number, bytes: 4 | 8): bigint {
    const [unit] = this.bench.units;
    const words = new BigUint64Array(1);
    const halves = new Int32Array(words.buffer);
    if (bytes === 8) unit?.read64(offset, halves);
    else halves[0] = unit?.read32(offset) ?? 0;
    return words[0] ?? 0n;
  }

  /**
   * Whether a device has to wait, because two answers are right, and all that follows would hang on which it is: while
   * a fault of its own is on record, which QEMU does not count again; while entries on the way of its request have
   * changed and are not invalidated; and while QEMU, by its quirk, still uses an entry that is not present.
   */
  #isHeld(index: number, page: number): boolean {
    const upper = this.register(FRCD + 8, 8);
    const request = this.#literal(index, page * PAGE_BYTES);
    if (upper >> 63n === 1n && (upper & 0xffffn) === request.rid) return true;
    let isOpen = false;
    const tables = this.#tables;
    const read = (address: bigint): bigint | undefined => {
      const word = tables.read(address);
      const old = this.#changed.get(Number(address));
      if (old !== undefined && old !== word && (this.#isCachingMode || (old & 3n) !== 0n)) isOpen = true;
      return word;
    };
    literalTranslation({ ...tables, read }, request);
    if (isOpen) return true;
    const expected = theirOutcomes(tables, request, CIRCUMSTANCES);
    const isPresentCached = ({ quirks }: Expected): boolean => quirks.includes('pasid-present-cached');
    const usual = expected.filter((each) => !isPresentCached(each)).map(({ outcome }) => outcome.record);
    return expected.some((each) => isPresentCached(each) && !usual.includes(each.outcome.record));
  }

  #literal(index: number, address: number): LiteralRequest {
    const { rid = 0, isReader = false } = this.devices[index] ?? {};
    return {
      ...{ rid: BigInt(rid), pasid: undefined, address: BigInt(address) },
      ...{ access: isReader ? 'r' : 'w', isPrivileged: false },
    };
  }

  get #isCachingMode(): boolean {
    return ((this.#unit.cap >> 7n) & 1n) === 1n;
  }

  get #chooser(): Chooser {
    const isUnitReady = (): boolean =>
      this.bench.units.some(({ engines }) => engines.some((each) => each.isReady));
    return {
      choose: (n, what) => {
        // What caches ask is answered by the first: nothing goes that has not to.
        if (what.startsWith('dmar0')) return 0;
        // The unit's is the first of the engines.
        return what === 'hardware' && isUnitReady() ? 1 : this.random.below(n);
      },
    };
  }

  #between(platform: Platform, units: readonly VtdUnit[]): Platform {
    const { mmio } = platform;
    const goOn = (): void => {
      for (const { engines } of units) for (const engine of engines) while (engine.isReady) engine.step();
    };
    const write32: typeof mmio.write32 = (address, value) => {
      mmio.write32(address, value);
      goOn();
    };
    const write64: typeof mmio.write64 = (address, lo, hi) => {
      mmio.write64(address, lo, hi);
      goOn();
      if (address === Number(UNIT_BASE) + IQT) this.#changed.clear();
    };
    return new RecordedPlatform({ ...platform, mmio: { ...mmio, write32, write64 } }, (access) => {
      this.recording.push(access);
      if (access.did === 'store') this.#keep(platform.memory, access.address, access.data.length);
    });
  }

  /** Keeps what a store is about to change, as it was when the queue was last done. */
  #keep(memory: PhysicalMemory, first: number, bytes: number): void {
    const word = new BigUint64Array(1);
    const halves = new Int32Array(word.buffer);
    for (let at = first - (first % 8); at < first + bytes; at += 8) {
      if (this.#changed.has(at)) continue;
      memory.load64(at, halves);
      this.#changed.set(at, word[0] ?? 0n);
    }
  }

  #dma(device: number, page: number, count: number): void {
    const { root } = this.bench;
    const { rid = 0, isReader = false } = this.devices[device] ?? {};
    // Its own place in the page: where it lands shows whose it is.
    const offset = ((count * DEVICES.length + device) * 4) % PAGE_BYTES;
    const request: MemoryRequest = {
      ...{ rid, pasid: NO_PASID, page, offset, length: 4, isTranslated: false },
      rights: RIGHT.USER | (isReader ? RIGHT.READ : RIGHT.WRITE),
    };
    const { passed, value } = this.#carryOut(root, request);
    const literal = this.#literal(device, page * PAGE_BYTES + offset);
    this.recording.push({
      ...{ did: 'dma', device, address: page * PAGE_BYTES + offset, value },
      at: passed ? this.#moved * PAGE_BYTES + offset : undefined,
      status: this.register(FSTS, 4),
      record: [this.register(FRCD, 8), this.register(FRCD + 8, 8)],
      request: literal,
      expected: passed ? [] : theirOutcomes(this.#tables, literal, CIRCUMSTANCES),
    });
  }

  /** The tables as they are. */
  get #tables(): Tables {
    const { isScalable, cap, ecap } = this.#unit;
    const { memory } = this.bench;
    const bytes = new Uint8Array(8);
    return {
      ...{ isScalable, cap, ecap, hostAddressWidth: ((cap >> 16n) & 0x3fn) + 1n },
      root: (this.register(RTADDR, 8) >> 12n) << 12n,
      read: (address) =>
        memory.read(Number(address), bytes) ? new DataView(bytes.buffer).getBigUint64(0, true) : undefined,
    };
  }

  #carryOut(root: RootComplex, request: MemoryRequest): { passed: boolean; value: number } {
    const data = new Uint32Array(1);
    const bytes = new Uint8Array(data.buffer);
    if ((request.rights & RIGHT.WRITE) !== 0) {
      data[0] = PATTERN;
      return { passed: root.write(request, bytes, 0) === COMPLETION.SUCCESS, value: 0 };
    }
    const passed = root.read(request, bytes, 0) === COMPLETION.SUCCESS;
    return { passed, value: passed ? (data[0] ?? 0) : 0 };
  }
}

/** Every field of a register, as it is in a value. */
function fieldsOf<N extends string>(layout: Layout<N>, value: bigint): Record<string, number> {
  const words = wordsOf(value);
  return Object.fromEntries(layout.fields.map((field) => [field.name, field.get(words, 0)]));
}
