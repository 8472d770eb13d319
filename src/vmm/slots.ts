/**
 * The hot-plug controller of a virtual machine, as its guest sees it: a bit a slot for what has come, and for what is
 * to go or has gone; and what the guest writes when it has let go of that (`HOT_PLUG`). A guest that writes of what was
 * not asked for is not heard.
 */
import { KeptValue, type UndoLog } from '../base/index.js';
import type { MmioRegion } from '../hardware/index.js';
import { HOT_PLUG, HOT_PLUG_BYTES } from '../spec/index.js';

const SLOTS = 32;

export interface SlotOptions {
  readonly name: string;
  /** Sends an interrupt message to the guest. */
  readonly message: (address: number, data: number) => void;
  /** The guest has let go of what is in a slot. */
  readonly ejected: (slot: number) => void;
}

interface Message {
  readonly address: number;
  readonly data: number;
}

export interface SlotState {
  /** A bit for each slot. */
  readonly up: number;
  readonly down: number;
  /** What its guest is told by. */
  readonly message: Message | undefined;
}

export class SlotController implements MmioRegion {
  readonly name: string;
  readonly bytes = HOT_PLUG_BYTES;
  readonly #options: SlotOptions;
  readonly #up: KeptValue<number>;
  readonly #down: KeptValue<number>;
  readonly #message: KeptValue<Message | undefined>;

  constructor(log: UndoLog, options: SlotOptions) {
    this.name = `${options.name} slots`;
    this.#options = options;
    this.#up = new KeptValue(log, 0);
    this.#down = new KeptValue(log, 0);
    this.#message = new KeptValue<Message | undefined>(log, undefined);
  }

  /** What the guest wants to be told by. */
  readonly route = (message: Message): void => {
    this.#message.value = message;
  };

  /** A device has come into a slot. */
  come(slot: number): void {
    this.#up.value |= 1 << slot;
    this.#notify();
  }

  /** The guest is to let go of a slot; whether there is still a device in it, it finds out. */
  go(slot: number): void {
    this.#up.value &= ~(1 << slot);
    this.#down.value |= 1 << slot;
    this.#notify();
  }

  /** Whether the guest has not let go of a slot yet. */
  isAsked(slot: number): boolean {
    return (this.#down.value & (1 << slot)) !== 0;
  }

  save(): SlotState {
    return { up: this.#up.value, down: this.#down.value, message: this.#message.value };
  }

  load({ up, down, message }: SlotState): void {
    this.#up.value = up;
    this.#down.value = down;
    this.#message.value = message;
  }

  read32(offset: number): number {
    if (offset === HOT_PLUG.UP) {
      const up = this.#up.value;
      this.#up.value = 0;
      return up;
    }
    if (offset === HOT_PLUG.DOWN) return this.#down.value;
    return offset === HOT_PLUG.REMOVABLE ? -1 : 0;
  }

  write32(offset: number, value: number): void {
    if (offset !== HOT_PLUG.EJECT) return;
    const ejected = value & this.#down.value;
    this.#down.value &= ~ejected;
    for (let slot = 0; slot < SLOTS; slot++) if ((ejected & (1 << slot)) !== 0) this.#options.ejected(slot);
  }

  read64(offset: number, out: Int32Array): void {
    out[0] = this.read32(offset);
    out[1] = this.read32(offset + 4);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.write32(offset, lo);
    this.write32(offset + 4, hi);
  }

  write512(): void {}

  enqueue(): boolean {
    return false;
  }

  #notify(): void {
    const message = this.#message.value;
    if (message !== undefined) this.#options.message(message.address, message.data);
  }
}
