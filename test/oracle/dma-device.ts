/**
 * A function of our host that makes single DMAs, as the device of QEMU's in its place does: it has no registers, and
 * a test tells it where to go. It answers nothing, for it caches no translations.
 */
import { ConfigSpace, type Engine, type MmioRegion, type PciFunction } from '../../src/hardware/index.js';
import { DEVICES } from './machine.js';

export class DmaDevice implements PciFunction, Engine {
  readonly name: string;
  readonly rid: number;
  readonly bars: readonly MmioRegion[] = [];
  readonly isReader: boolean;
  #pages: number[] = [];
  #count = 0;
  readonly #send: (page: number, count: number) => void;
  readonly #isHeld: (page: number) => boolean;
  readonly #config = new ConfigSpace({ vendor: 0x8086, device: 1, classCode: 0x088000 });

  /** @param isHeld whether it has to wait with a DMA to a page */
  constructor(index: number, send: (page: number, count: number) => void, isHeld: (page: number) => boolean) {
    const { rid = 0, kind } = DEVICES[index] ?? {};
    this.name = `device ${index}`;
    this.rid = rid;
    this.isReader = kind === 'edu';
    this.#send = send;
    this.#isHeld = isHeld;
  }

  /** Makes a DMA to each of these pages, one after the other, when it comes to it. */
  go(pages: readonly number[]): void {
    this.#pages.push(...pages);
  }

  get isReady(): boolean {
    const [next] = this.#pages;
    return next !== undefined && !this.#isHeld(next);
  }

  step(): void {
    const page = this.#pages.shift();
    if (page !== undefined) this.#send(page, this.#count++);
  }

  readConfig(offset: number, bytes: number): number {
    return this.#config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.#config.write(offset, bytes, value);
  }

  invalidateDeviceTlb(): void {}

  pageGroupResponse(): void {}
}
