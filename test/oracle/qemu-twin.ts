/** A QEMU of the lab as a twin: steps as qtest commands, sent all at once. */
import { DEVICES, type Device, hex, type OracleMachine, UNIT_BASE } from './machine.js';
import { type Answer, DRAIN_FRAME, type Step, type Twin } from './twin.js';

/** Registers of iommu-testdev, and of edu. */
const TESTDEV = { trigger: 0x0n, low: 0x4n, high: 0x8n, length: 0xcn, result: 0x10n, doorbell: 0x14n };
const EDU = { source: 0x80n, target: 0x88n, count: 0x90n, command: 0x98n };
const EDU_BUFFER = 0x40000n;
const EDU_RUN = 1n;
const EDU_TO_MEMORY = 2n;
/** edu's DMA takes 100 ms of the virtual clock. */
const EDU_NANOSECONDS = 100_000_000;
/** What iommu-testdev says of a write that was blocked. */
const BLOCKED = 0xdead_0002n;
/** ... and of those that were carried out: it finds the pattern where it looks for it, or does not. */
const CARRIED_OUT = [0n, 0xdead_0004n];
const FRAME_BYTES = 4096n;

export class QemuTwin implements Twin {
  readonly #machine: OracleMachine;

  constructor(machine: OracleMachine) {
    this.#machine = machine;
  }

  run(steps: readonly Step[]): Promise<readonly Answer[]> {
    return Promise.all(steps.map((step) => this.#do(step)));
  }

  /** Sets frames to zero again. */
  clear(frames: Iterable<number>): void {
    for (const frame of frames) this.#tell(`memset ${hex(BigInt(frame) * FRAME_BYTES)} 4096 0`);
  }

  async #do(step: Step): Promise<Answer> {
    switch (step.do) {
      case 'store': {
        const bytes = Buffer.from(BigUint64Array.from(step.words).buffer);
        this.#tell(`b64write ${hex(step.address)} ${bytes.length} ${bytes.toString('base64')}`);
        return undefined;
      }
      case 'load':
        return Promise.all(step.frames.map((frame) => this.#load(frame)));
      case 'write':
        this.#tell(
          `write${step.bytes === 4 ? 'l' : 'q'} ${hex(UNIT_BASE + BigInt(step.offset))} ${hex(step.value)}`,
        );
        return undefined;
      case 'read':
        return this.#read(UNIT_BASE + BigInt(step.offset), step.bytes);
      case 'dma': {
        const device = deviceOf(step.device);
        return device.kind === 'edu' ? this.#copyIn(device, step) : this.#writePattern(device, step.address);
      }
      case 'drain':
        return this.#drain(deviceOf(step.device), step.slots);
    }
  }

  #tell(command: string): void {
    this.#machine.qtest.tell(command);
  }

  async #read(address: bigint, bytes: 4 | 8): Promise<bigint> {
    return BigInt(await this.#machine.qtest.ask(`read${bytes === 4 ? 'l' : 'q'} ${hex(address)}`));
  }

  async #load(frame: number): Promise<Uint8Array> {
    const answer = await this.#machine.qtest.ask(
      `b64read ${hex(BigInt(frame) * FRAME_BYTES)} ${FRAME_BYTES}`,
    );
    return Buffer.from(answer, 'base64');
  }

  async #writePattern({ bar }: Device, address: bigint): Promise<boolean> {
    const set = (register: bigint, value: bigint) =>
      this.#tell(`writel ${hex(bar + register)} ${hex(value)}`);
    set(TESTDEV.low, address & 0xffff_ffffn);
    set(TESTDEV.high, address >> 32n);
    set(TESTDEV.length, 4n);
    set(TESTDEV.doorbell, 1n);
    this.#tell(`readl ${hex(bar + TESTDEV.trigger)}`);
    const result = await this.#read(bar + TESTDEV.result, 4);
    if (result === BLOCKED) return false;
    if (CARRIED_OUT.includes(result)) return true;
    throw new Error(`iommu-testdev answers ${hex(result)}`);
  }

  #copyIn({ bar }: Device, { address, slot }: { address: bigint; slot: number }): undefined {
    this.#copy(bar, { from: address, to: EDU_BUFFER + BigInt(slot) * 4n, bytes: 4, command: EDU_RUN });
    return undefined;
  }

  async #drain({ bar }: Device, slots: number): Promise<readonly number[]> {
    const to = BigInt(DRAIN_FRAME) * FRAME_BYTES;
    this.#copy(bar, { from: EDU_BUFFER, to, bytes: slots * 4, command: EDU_RUN | EDU_TO_MEMORY });
    const bytes = await this.#load(DRAIN_FRAME);
    return [...new Uint32Array(bytes.slice(0, slots * 4).buffer)];
  }

  #copy(bar: bigint, copy: { from: bigint; to: bigint; bytes: number; command: bigint }): void {
    const set = (register: bigint, value: bigint) =>
      this.#tell(`writeq ${hex(bar + register)} ${hex(value)}`);
    set(EDU.source, copy.from);
    set(EDU.target, copy.to);
    set(EDU.count, BigInt(copy.bytes));
    set(EDU.command, copy.command);
    this.#tell(`clock_step ${EDU_NANOSECONDS}`);
  }
}

function deviceOf(index: number): Device {
  const device = DEVICES[index];
  if (device === undefined) throw new Error(`there is no device ${index}`);
  return device;
}
