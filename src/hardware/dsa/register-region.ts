/**
 * BAR0: the registers, which of them software may write in which state (Intel DSA Architecture Specification,
 * 341204, revision 3.0, tables 9-4 and 9-7), and what is read from the state of the queues. The page at F000H
 * behaves as a portal of a queue that is disabled.
 */
import {
  DSA_BAR0_BYTES,
  DSA_DEVICE_STATE,
  DSA_STRIDE,
  DSA_TABLE,
  DSA_WQ_STATE,
  DSA_WQCFG,
  type RegisterFile,
} from '../../spec/index.js';
import type { MmioRegion } from '../pci/ports.js';
import type { Interrupts } from './interrupts.js';
import type { WorkQueue } from './work-queue.js';

/** What the registers need of their device. */
export interface RegisterHost {
  readonly registers: RegisterFile;
  readonly interrupts: Interrupts;
  readonly queues: readonly WorkQueue[];
  readonly options: { readonly groups: number };
  readonly deviceState: number;
}

const GENCFG = 0x80;
const EVLCFG = 0xe0;
const EVLCFG_BYTES = 16;
/** Bytes of a WQCFG: the sizes, the threshold, the occupancy interrupt, the state. */
const SIZE_AT = DSA_WQCFG.SIZE.low / 8;
const THRESHOLD_AT = DSA_WQCFG.THRESHOLD.low / 8;
const STATUS_AT = (DSA_WQCFG.OCCUPANCY.low / 8) | 0;
const STATUS_WORD = STATUS_AT / 4;
/** The fields of occupancy interrupts, which the device does not have. */
const OCCUPANCY_INTERRUPT_AT = [DSA_WQCFG.OCC_INT_HANDLE.low / 8, DSA_WQCFG.OCC_LIMIT.low / 8];

export class RegisterRegion implements MmioRegion {
  readonly name: string;
  readonly bytes = DSA_BAR0_BYTES;
  readonly #host: RegisterHost;
  readonly #status = new Int32Array(DSA_WQCFG.bytes / 4);

  constructor(name: string, host: RegisterHost) {
    this.name = name;
    this.#host = host;
  }

  read32(offset: number): number {
    const { registers, interrupts } = this.#host;
    if (offset === DSA_TABLE.MSIX_PBA || offset === DSA_TABLE.MSIX_PBA + 4)
      return interrupts.readPending(offset);
    const ims = this.#imsWordAt(offset);
    if (ims >= 0) return interrupts.ims.read(ims);
    const queue = this.#queueAt(offset);
    if (queue === undefined || (offset - DSA_TABLE.WQCFG) % DSA_STRIDE.WQCFG !== STATUS_AT) {
      return registers.read32(offset);
    }
    DSA_WQCFG.OCCUPANCY.set(this.#status, 0, queue.occupancy);
    DSA_WQCFG.STATE.set(this.#status, 0, queue.state);
    return this.#status[STATUS_WORD] ?? 0;
  }

  write32(offset: number, value: number): void {
    const ims = this.#imsWordAt(offset);
    if (ims >= 0) this.#host.interrupts.writeIms(ims, value);
    else if (this.#isWritable(offset)) this.#host.registers.write32(offset, value);
  }

  read64(offset: number, out: Int32Array): void {
    const high = this.read32(offset + 4);
    out[0] = this.read32(offset);
    out[1] = high;
  }

  write64(offset: number, lo: number, hi: number): void {
    if (this.#queueAt(offset) !== undefined || this.#imsWordAt(offset) >= 0) {
      this.write32(offset, lo);
      this.write32(offset + 4, hi);
    } else if (this.#isWritable(offset)) this.#host.registers.write64(offset, lo, hi);
  }

  /** There is no portal here. */
  write512(): void {}
  enqueue(): boolean {
    return false;
  }

  #queueAt(offset: number): WorkQueue | undefined {
    const index = Math.floor((offset - DSA_TABLE.WQCFG) / DSA_STRIDE.WQCFG);
    return index < 0 ? undefined : this.#host.queues[index];
  }

  /** The word of interrupt message storage at an offset; negative, if there is none. */
  #imsWordAt(offset: number): number {
    const bytes = offset - DSA_TABLE.IMS;
    return bytes < this.#host.interrupts.ims.entries * DSA_STRIDE.IMS ? bytes / 4 : -1;
  }

  #isWritable(offset: number): boolean {
    const isDisabled = this.#host.deviceState === DSA_DEVICE_STATE.DISABLED;
    const queue = this.#queueAt(offset);
    if (queue !== undefined) {
      const at = (offset - DSA_TABLE.WQCFG) % DSA_STRIDE.WQCFG;
      if (at === SIZE_AT) return isDisabled;
      if (OCCUPANCY_INTERRUPT_AT.includes(at)) return false;
      return at === THRESHOLD_AT || at === STATUS_AT || queue.state === DSA_WQ_STATE.DISABLED;
    }
    const groups = this.#host.options.groups * DSA_STRIDE.GRPCFG;
    const isGroup = offset >= DSA_TABLE.GRPCFG && offset < DSA_TABLE.GRPCFG + groups;
    const isEventLog = offset >= EVLCFG && offset < EVLCFG + EVLCFG_BYTES;
    return isDisabled || !(isGroup || isEventLog || offset === GENCFG);
  }
}
