/**
 * A host on a bench: memory, a root complex, a VT-d unit, accelerators, and CPUs just able to run a user's program,
 * with the kernel on top. Hardware may step at each access of software; the run's choices say whether it does.
 */
import {
  type Chooser,
  type Event,
  isRefusal,
  Random,
  RandomChooser,
  type Restorable,
  type Task,
  TaskSet,
  u64,
} from '../../src/base/index.js';
import {
  Bus,
  type CacheSizes,
  Cpu,
  DsaDevice,
  Engines,
  Memory,
  RootComplex,
  VtdUnit,
} from '../../src/hardware/index.js';
import { type IoasidCore, ioasidCreate } from '../../src/ioasid/index.js';
import {
  type FrameLedger,
  type GuestProtections,
  Kernel,
  type Platform,
  type RidDomain,
} from '../../src/kernel/index.js';
import { CAP_REG, ECAP_REG, encode, type Layout } from '../../src/spec/index.js';

/** Where firmware has put things. */
const UNIT_AT = 0xfed9_0000;
const UNIT_SPACING = 0x1000;
const BAR0_AT = 0xfe00_0000;
const BAR2_AT = 0xfa00_0000;
const BAR_SPACING = 0x10_0000;
const FIRST_RID = 0x6a08;
const SECOND_RID = FIRST_RID + 0x100;

function quad<N extends string>(of: Layout<N>, values: Partial<Record<N, number>>): bigint {
  const words = encode(of, values);
  return u64(words[0] ?? 0, words[1] ?? 0);
}

const CAP = {
  ...{ ND: 2, SAGAW: 6, MGAW: 47, FRO: 0x22, PSI: 1, NFR: 7, MAMV: 18, DWD: 1, DRD: 1 },
};
const ECAP = {
  ...{ C: 1, QI: 1, DT: 1, PT: 1, IRO: 0x10, PRS: 1, PSS: 19, PASID: 1, PDS: 1, SMTS: 1, FSTS: 1, SMPWCS: 1 },
};

const RANGES = [{ first: 0x100, last: 0x8ff }];
const LINE_BYTES = 64;
/** What a unit reads and writes as the CPUs see it, snooping or not. */
const QUEUES = ['invalidation queue', 'invalidation status', 'page request queue'];
const NO_SNOOPING = { C: 0, SMPWCS: 0 };

export interface BenchOptions {
  readonly seed?: number;
  readonly devices?: number;
  /** The first covers all but what another does: the second covers the second device. */
  readonly units?: 1 | 2;
  readonly cpus?: number;
  readonly ecap?: Readonly<Record<string, number>>;
  readonly cap?: Readonly<Record<string, number>>;
  /** What the second unit has otherwise. */
  readonly secondCap?: Readonly<Record<string, number>>;
  readonly secondEcap?: Readonly<Record<string, number>>;
  readonly caches?: CacheSizes;
  /** Units that do not snoop: they see memory as it was last written back (but for their queues). */
  readonly snoops?: false;
  readonly ledger?: FrameLedger;
  readonly framesMayFail?: boolean;
  readonly ridDomain?: RidDomain;
  /** How many PASIDs the kernel keeps for its own processes; all, if left out. */
  readonly quota?: number;
  /** Functions that vfio-pci takes, by RID. */
  readonly vfioPci?: readonly number[];
  readonly protections?: Partial<GuestProtections>;
  /** Whether the IOASID core is refused memory. */
  readonly ioasidFaults?: Chooser;
  /** Stands between the kernel and the machine. */
  readonly between?: (platform: Platform, units: readonly VtdUnit[]) => Platform;
}

export class Bench {
  readonly memory = new Memory(RANGES);
  /** What the units see. */
  readonly seen: Memory;
  readonly engines = new Engines();
  readonly tasks = new TaskSet();
  readonly events: Omit<Event, 'step' | 'actor' | 'layer'>[] = [];
  readonly root: RootComplex;
  readonly units: readonly VtdUnit[];
  readonly bus: Bus;
  readonly devices: readonly DsaDevice[];
  readonly cpus: readonly Cpu[];
  readonly ioasids: IoasidCore;
  readonly kernel: Kernel;
  /** Frames of which software has written cache lines back. */
  readonly writtenBack = new Set<number>();
  chooser: Chooser;
  readonly #kept: Restorable[] = [];
  readonly #handlers = new Map<number, () => void>();
  readonly #pending: number[] = [];
  #isInterrupted = false;
  /** Frames that are in both memories, where there are two. */
  readonly #queueFrames = new Set<number>();

  constructor(options: BenchOptions = {}) {
    this.chooser = new RandomChooser(new Random(options.seed ?? 1));
    const chooser: Chooser = { choose: (n, what) => this.chooser.choose(n, what) };
    const { memory } = this;
    this.seen = options.snoops === false ? new Memory(RANGES) : memory;
    this.root = new RootComplex({ memory, interrupt: (_address, data) => this.#pending.push(data) });
    this.units = Array.from({ length: options.units ?? 1 }, (_, i) => this.#unit(i, options, chooser));
    this.bus = new Bus(memory, this.root);
    this.units.forEach((unit, i) => {
      this.bus.map(unit, UNIT_AT + i * UNIT_SPACING);
    });
    this.devices = Array.from({ length: options.devices ?? 1 }, (_, i) => this.#plug(i, chooser));
    for (const unit of this.units) for (const engine of unit.engines) this.engines.add(engine);
    for (const device of this.devices) for (const engine of device.running) this.engines.add(engine);
    this.cpus = Array.from({ length: options.cpus ?? 2 }, (_, i) => this.#cpu(i));
    this.#kept.push(
      memory,
      ...(this.seen === memory ? [] : [this.seen]),
      this.root,
      ...this.units,
      ...this.devices,
      ...this.cpus,
      this.tasks,
    );
    const faults = options.ioasidFaults;
    const ioasids = ioasidCreate({ capacity: 0x10_0000, ...(faults && { faults }) });
    if (isRefusal(ioasids)) throw new Error(ioasids.why);
    this.#kept.push(ioasids);
    this.ioasids = ioasids;
    const { tasks } = this;
    const { ledger, framesMayFail = false, ridDomain = 'blocked' } = options;
    const direct = this.#platform(chooser);
    const platform = options.between?.(direct, this.units) ?? direct;
    this.kernel = new Kernel({
      name: 'host',
      platform,
      tasks,
      ioasids,
      ...(options.quota !== undefined && { quota: options.quota }),
      ...(options.vfioPci && { vfioPci: options.vfioPci }),
      ...(options.protections && { protections: options.protections }),
      framesMayFail,
      ridDomain,
      ledger: this.#ledger(ledger),
    });
    const booted = this.run(this.kernel.boot());
    if (booted !== undefined) throw new Error(booted.why);
  }

  /** Hardware may do a step, and an interrupt be taken. */
  step(): void {
    this.engines.maybeStep(this.chooser, 'hardware');
    if (this.#isInterrupted) return;
    this.#isInterrupted = true;
    for (let data = this.#pending.shift(); data !== undefined; data = this.#pending.shift()) {
      this.#handlers.get(data)?.();
    }
    this.#isInterrupted = false;
  }

  /** Runs everything until nothing can go on. */
  runAll(limit = 200_000): void {
    for (let steps = 0; ; steps++) {
      if (steps > limit) {
        throw new Error(
          `still running: ${this.tasks.tasks.map(({ name, at }) => `${name} at ${at}`).join('; ')}`,
        );
      }
      this.step();
      if (!this.tasks.step(this.chooser) && this.engines.ready === 0 && this.#pending.length === 0) return;
    }
  }

  /** Runs everything for some steps. */
  some(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.step();
      this.tasks.step(this.chooser);
    }
  }

  /** All of memory. */
  bytes(): Uint8Array {
    const [range] = this.memory.ranges;
    const bytes = new Uint8Array(range === undefined ? 0 : (range.last - range.first + 1) * 4096);
    this.memory.read((range?.first ?? 0) * 4096, bytes);
    return bytes;
  }

  /** Runs a task, and all that it sets off, to the end; what it returned. */
  run<T>(task: Task<T>): T {
    const results: T[] = [];
    const body = function* (): Task {
      results.push(yield* task);
    };
    this.tasks.spawn('test', body());
    this.runAll();
    const [result] = results;
    if (results.length === 0) {
      throw new Error(
        `sleeps for ever: ${this.tasks.tasks.map(({ name, at }) => `${name} at ${at}`).join('; ')}`,
      );
    }
    return result as T;
  }

  mark(): void {
    for (const state of this.#kept) state.mark();
  }

  restore(): void {
    for (const state of this.#kept) state.restore();
    this.#pending.length = 0;
  }

  #unit(index: number, options: BenchOptions, chooser: Chooser): VtdUnit {
    const unit = new VtdUnit({
      name: `dmar${index}`,
      cap: quad(CAP_REG, { ...CAP, ...options.cap, ...(index === 1 && options.secondCap) }),
      ecap: quad(ECAP_REG, {
        ...ECAP,
        ...(options.snoops === false && NO_SNOOPING),
        ...options.ecap,
        ...(index === 1 && options.secondEcap),
      }),
      ...(options.caches && { caches: options.caches }),
      ...{ memory: this.seen, chooser, downstream: this.root.downstream },
    });
    this.root.addIommu(unit, index === 1 ? [SECOND_RID] : undefined);
    return unit;
  }

  /** Notes which frames hold queues. */
  #ledger(ledger: FrameLedger | undefined): FrameLedger {
    return {
      owned: (frame, owner) => {
        if (owner.kind === 'kernel' && QUEUES.some((each) => owner.use.startsWith(each))) {
          this.#queueFrames.add(frame);
        }
        ledger?.owned(frame, owner);
      },
      freed: (frame) => ledger?.freed(frame),
    };
  }

  /** Writes lines back. */
  #writeBack(address: number, length: number): void {
    if (this.seen === this.memory) return;
    const first = address - (address % LINE_BYTES);
    const bytes = new Uint8Array(Math.ceil((address + length - first) / LINE_BYTES) * LINE_BYTES);
    this.memory.read(first, bytes);
    this.seen.write(first, bytes);
  }

  /** After a store: what goes into a queue is seen at once. */
  #stored(address: number, bytes: number): void {
    if (this.#queueFrames.has(Math.floor(address / 4096))) this.#writeBack(address, bytes);
    this.step();
  }

  /** Before a load: what a unit wrote into a queue is there. */
  #loading(address: number): void {
    if (this.seen === this.memory || !this.#queueFrames.has(Math.floor(address / 4096))) return;
    const bytes = new Uint8Array(8);
    const at = address - (address % 8);
    this.seen.read(at, bytes);
    this.memory.write(at, bytes);
  }

  #cpu(index: number): Cpu {
    const cpu = new Cpu({ index, memory: this.memory, bus: this.bus });
    cpu.cpl = 3;
    this.engines.add(cpu.posted);
    return cpu;
  }

  #plug(index: number, chooser: Chooser): DsaDevice {
    const rid = FIRST_RID + index * 0x100;
    const device = new DsaDevice({ rid, upstream: this.root, chooser }, { name: `dsa${index}` });
    this.root.attach(device);
    this.root.writeConfig(rid, 0x10, 4, BAR0_AT + index * BAR_SPACING);
    this.root.writeConfig(rid, 0x18, 4, BAR2_AT + index * BAR_SPACING);
    return device;
  }

  #platform(chooser: Chooser): Platform {
    const { bus, memory, root } = this;
    const after = (): void => this.step();
    return {
      memory: {
        ranges: memory.ranges,
        load32: (address) => {
          this.#loading(address);
          return bus.read32(address);
        },
        load64: (address, out) => {
          this.#loading(address);
          bus.read64(address, out);
        },
        store32: (address, value) => {
          bus.write32(address, value);
          this.#stored(address, 4);
        },
        store64: (address, lo, hi) => {
          bus.write64(address, lo, hi);
          this.#stored(address, 8);
        },
        read: (address, into) => void memory.read(address, into),
        write(address, from) {
          memory.write(address, from);
          after();
        },
        clear(frame) {
          memory.clear(frame);
          after();
        },
        flush: (address, length) => {
          this.writtenBack.add(Math.floor(address / 4096));
          this.#writeBack(address, length);
          after();
        },
      },
      mmio: {
        read32(address) {
          after();
          return bus.read32(address);
        },
        write32(address, value) {
          bus.write32(address, value);
          after();
        },
        read64(address, out) {
          after();
          bus.read64(address, out);
        },
        write64(address, lo, hi) {
          bus.write64(address, lo, hi);
          after();
        },
        write512(address, words) {
          bus.write512(address, words);
          after();
        },
      },
      pci: {
        read: (rid, offset, bytes) => root.readConfig(rid, offset, bytes),
        write: (rid, offset, bytes, value) => root.writeConfig(rid, offset, bytes, value),
      },
      iommus: this.units.map((_, i) => ({
        kind: 'vtd',
        registers: UNIT_AT + i * UNIT_SPACING,
        hostAddressWidth: 48,
        ...(i === 1 && { rids: [SECOND_RID] }),
      })),
      cpus: this.cpus,
      chooser,
      emit: (event) => void this.events.push(event),
      onInterrupt: (vector, handler) => void this.#handlers.set(vector, handler),
      interruptMessage: (vector) => ({ address: 0xfee0_0000, data: vector }),
      keep: (state) => void this.#kept.push(state),
    };
  }
}
