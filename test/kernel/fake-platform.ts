/**
 * A machine for tests of the kernel alone: real memory, configuration spaces as plain bytes, registers that a
 * test supplies, CPUs that only remember what they were told.
 */
import {
  type Chooser,
  type Event,
  firstChooser,
  KeptValue,
  type Restorable,
  TaskSet,
  UndoLog,
} from '../../src/base/index.js';
import { FRAME_BYTES, Memory } from '../../src/hardware/index.js';
import type {
  CpuPort,
  FrameLedger,
  IommuUnit,
  KernelContext,
  Mmio,
  Platform,
} from '../../src/kernel/index.js';
import { Cpus, FIRST_VECTOR, Frames } from '../../src/kernel/index.js';

export class FakeCpu implements CpuPort {
  readonly index: number;
  pageTable = 0;
  flushes = 0;
  fences = 0;
  pasidMsr = 0;

  constructor(index: number) {
    this.index = index;
  }

  setPageTable(frame: number): void {
    this.pageTable = frame;
  }

  flushTlb(): void {
    this.flushes++;
  }

  fence(): void {
    this.fences++;
  }

  readPasidMsr(): number {
    return this.pasidMsr;
  }

  writePasidMsr(value: number): void {
    this.pasidMsr = value;
  }
}

export interface FakeOptions {
  /** Frames of RAM, from frame 256 on. */
  readonly frames?: number;
  readonly cpus?: number;
  readonly chooser?: Chooser;
  readonly mmio?: Mmio;
  readonly pci?: Platform['pci'];
  readonly iommus?: readonly IommuUnit[];
}

const noMmio: Mmio = {
  read32: () => -1,
  write32() {},
  read64(_address, out) {
    out.fill(-1);
  },
  write64() {},
};

export class FakePlatform implements Platform {
  readonly ram: Memory;
  /** Replaced by a test that looks on. */
  memory: Platform['memory'];
  readonly mmio: Mmio;
  readonly pci: Platform['pci'];
  readonly iommus: readonly IommuUnit[];
  readonly cpus: readonly FakeCpu[];
  readonly chooser: Chooser;
  readonly events: Omit<Event, 'step' | 'actor' | 'layer'>[] = [];
  readonly emit: NonNullable<Platform['emit']> = (event) => {
    this.events.push(event);
  };
  /** Cache lines that were written back, in their order. */
  readonly flushed: { address: number; bytes: number }[] = [];
  readonly #kept: Restorable[] = [];
  readonly #handlers = new Map<number, () => void>();

  constructor(options: FakeOptions = {}) {
    const ranges = [{ first: 256, last: 255 + (options.frames ?? 4096) }];
    this.ram = new Memory(ranges);
    this.memory = plainMemory(this.ram, this.flushed);
    this.mmio = options.mmio ?? noMmio;
    this.pci = options.pci ?? { read: () => -1, write() {} };
    this.iommus = options.iommus ?? [];
    this.cpus = Array.from({ length: options.cpus ?? 1 }, (_, index) => new FakeCpu(index));
    this.chooser = options.chooser ?? firstChooser;
    this.keep(this.ram);
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#handlers.set(vector, handler);
  }

  interruptMessage(vector: number): { address: number; data: number } {
    return { address: 0xfee0_0000, data: vector };
  }

  interrupt(vector: number): void {
    this.#handlers.get(vector)?.();
  }

  keep(state: Restorable): void {
    this.#kept.push(state);
  }

  mark(): void {
    for (const state of this.#kept) state.mark();
  }

  restore(): void {
    for (const state of this.#kept) state.restore();
  }
}

function plainMemory(ram: Memory, flushed: { address: number; bytes: number }[]): Platform['memory'] {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const access = (isThere: boolean, address: number): void => {
    if (!isThere) throw new Error(`no memory at ${address}`);
  };
  return {
    ranges: ram.ranges,
    load32(address) {
      access(ram.read(address, bytes.subarray(0, 4)), address);
      return view.getInt32(0, true);
    },
    store32(address, value) {
      view.setInt32(0, value, true);
      access(ram.write(address, bytes.subarray(0, 4)), address);
    },
    load64(address, out) {
      access(ram.read(address, bytes), address);
      out[0] = view.getInt32(0, true);
      out[1] = view.getInt32(4, true);
    },
    store64(address, lo, hi) {
      view.setInt32(0, lo, true);
      view.setInt32(4, hi, true);
      access(ram.write(address, bytes), address);
    },
    read: (address, into) => access(ram.read(address, into), address),
    write: (address, from) => access(ram.write(address, from), address),
    clear: (frame) => access(ram.clear(frame), frame * FRAME_BYTES),
    flush: (address, length) => {
      flushed.push({ address, bytes: length });
    },
  };
}

/** What the parts of a kernel are given, on a fake machine. */
export function fakeContext(
  platform: FakePlatform,
  options: { ledger?: FrameLedger; mayFail?: boolean } = {},
): KernelContext & { readonly tasks: TaskSet } {
  const log = new UndoLog();
  const tasks = new TaskSet();
  platform.keep(log);
  platform.keep(tasks);
  const nextVector = new KeptValue(log, FIRST_VECTOR);
  const frames = new Frames({ platform, log, ...options });
  const cpus = new Cpus({ platform, log }, frames.allocAlways({ kind: 'kernel', use: 'idle page table' }));
  return { name: 'host', platform, log, tasks, nextVector, cpus, frames };
}

/** Runs tasks until none can go on, the first one first; fails if that takes more than `limit` steps. */
export function runAll(tasks: TaskSet, limit = 100_000): void {
  let next = 0;
  const turns: Chooser = { choose: (n) => next++ % n };
  for (let step = 0; tasks.step(turns); step++) {
    if (step > limit)
      throw new Error(`still running: ${tasks.tasks.map(({ name, at }) => `${name} at ${at}`)}`);
  }
}

/** Runs one task to its end, with all that it sets off; what it returned. */
export function finish<T>(tasks: TaskSet, task: Generator<unknown, T, void>): T {
  const results: T[] = [];
  const body = function* (): Generator<never, void, void> {
    results.push((yield* task as Generator<never, T, void>) as T);
  };
  tasks.spawn('test', body());
  runAll(tasks);
  if (results.length === 0) throw new Error('the task sleeps for ever');
  return results[0] as T;
}
