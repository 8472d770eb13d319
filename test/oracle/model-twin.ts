/**
 * Our model of the machine as a twin: memory, a VT-d unit with the same capabilities behind a root complex, and
 * requests as the devices send them. New for each case.
 */
import { firstChooser } from '../../src/base/index.js';
import {
  COMPLETION,
  Memory,
  type MemoryRequest,
  NO_PASID,
  RIGHT,
  RootComplex,
  VtdUnit,
} from '../../src/hardware/index.js';
import { FakeFunction } from '../hardware/fake-function.js';
import { STATUS_FRAME } from './layout.js';
import { DEVICES, HOLE, RAM_FRAMES } from './machine.js';
import { type Answer, DRAIN_FRAME, PATTERN, type Step, type Twin } from './twin.js';

const PAGE_BYTES = 4096n;
const SLOTS = 1024;

export class ModelTwin implements Twin {
  readonly memory = new Memory([
    { first: 0, last: HOLE.first - 1 },
    { first: HOLE.end, last: RAM_FRAMES - 1 },
  ]);
  /** Frames that were written, by whomever. */
  readonly touched = new Set<number>([0, STATUS_FRAME, DRAIN_FRAME]);
  readonly #rootComplex = new RootComplex({ memory: this.memory, interrupt: () => {} });
  readonly #unit: VtdUnit;
  readonly #buffers = DEVICES.map(() => new Uint32Array(SLOTS));
  readonly #data = new Uint8Array(Uint32Array.of(PATTERN).buffer);
  readonly #halves = new Int32Array(2);

  constructor({ cap, ecap }: { cap: bigint; ecap: bigint }) {
    this.#unit = new VtdUnit({
      ...{ name: 'dmar0', cap, ecap, memory: this.memory },
      ...{ downstream: this.#rootComplex.downstream, chooser: firstChooser },
    });
    this.#rootComplex.addIommu(this.#unit);
    for (const { rid } of DEVICES) this.#rootComplex.attach(new FakeFunction(rid, this.#rootComplex));
    this.#rootComplex.audit = ({ rights }, frame) => {
      if ((rights & RIGHT.WRITE) !== 0) this.touched.add(frame);
    };
  }

  async run(steps: readonly Step[]): Promise<readonly Answer[]> {
    return steps.map((step) => this.#do(step));
  }

  #do(step: Step): Answer {
    switch (step.do) {
      case 'store':
        this.#store(step.address, step.words);
        return undefined;
      case 'load':
        return step.frames.map((frame) => this.#load(frame));
      case 'write':
        if (step.bytes === 4) this.#unit.write32(step.offset, Number(BigInt.asIntN(32, step.value)));
        else this.#unit.write64(step.offset, low(step.value), low(step.value >> 32n));
        for (const engine of this.#unit.engines) while (engine.isReady) engine.step();
        return undefined;
      case 'read':
        return this.#read(step.offset, step.bytes);
      case 'dma':
        return this.#dma(step);
      case 'drain':
        return [...(this.#buffers[step.device] ?? []).slice(0, step.slots)];
    }
  }

  #store(address: bigint, words: readonly bigint[]): void {
    const bytes = new Uint8Array(BigUint64Array.from(words).buffer);
    if (!this.memory.write(Number(address), bytes)) throw new Error(`no memory at 0x${address.toString(16)}`);
    const last = address + BigInt(bytes.length - 1);
    for (let page = address / PAGE_BYTES; page <= last / PAGE_BYTES; page++) this.touched.add(Number(page));
  }

  #load(frame: number): Uint8Array {
    const bytes = new Uint8Array(Number(PAGE_BYTES));
    this.memory.read(frame * Number(PAGE_BYTES), bytes);
    return bytes;
  }

  #read(offset: number, bytes: 4 | 8): bigint {
    if (bytes === 4) return BigInt.asUintN(32, BigInt(this.#unit.read32(offset)));
    this.#unit.read64(offset, this.#halves);
    const [lo = 0, hi = 0] = this.#halves;
    return BigInt.asUintN(32, BigInt(lo)) | (BigInt.asUintN(32, BigInt(hi)) << 32n);
  }

  #dma({ device, address, slot }: { device: number; address: bigint; slot: number }): Answer {
    const { rid = 0, kind } = DEVICES[device] ?? {};
    const request: MemoryRequest = {
      ...{ rid, pasid: NO_PASID, page: Number(address / PAGE_BYTES), offset: Number(address % PAGE_BYTES) },
      ...{ length: 4, isTranslated: false, rights: RIGHT.USER | (kind === 'edu' ? RIGHT.READ : RIGHT.WRITE) },
    };
    if (kind !== 'edu') return this.#rootComplex.write(request, this.#data, 0) === COMPLETION.SUCCESS;
    const read = new Uint8Array(4);
    this.#rootComplex.read(request, read, 0);
    (this.#buffers[device] ?? new Uint32Array(SLOTS))[slot] = new Uint32Array(read.buffer)[0] ?? 0;
    return undefined;
  }
}

const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
