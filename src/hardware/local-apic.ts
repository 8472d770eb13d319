/**
 * A local APIC, as far as messages need it: interrupts on their way to a kernel, pending by vector, delivered one at a
 * time, between the steps of tasks; what runs in a kernel under a spinlock is not interrupted. A vector that is pending
 * is pending once. The host's is one of the machine's engines; a virtual machine's its VMM steps.
 */
import { type Restorable, Words } from '../base/index.js';
import { type Engine, Readiness } from './engine.js';

const VECTORS = 256;
/** Where messages of the interrupt range go (Intel SDM volume 3, 11.11.1): to the first CPU. */
const MESSAGE_ADDRESS = 0xfee0_0000;

export class LocalApic implements Engine, Restorable {
  readonly name = 'interrupts';
  readonly readiness = new Readiness();
  readonly #pending = new Words(VECTORS / 32, 8);
  readonly #handlers = new Map<number, () => void>();

  /** A message arrives. */
  message(_address: number, data: number): void {
    this.readiness.stir();
    const vector = data & (VECTORS - 1);
    this.#pending.set(vector >> 5, (this.#pending.words[vector >> 5] ?? 0) | (1 << (vector & 31)));
  }

  /** Where a message has to be sent to come here with a vector. */
  messageOf(vector: number): { address: number; data: number } {
    return { address: MESSAGE_ADDRESS, data: vector };
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#handlers.set(vector, handler);
  }

  get isReady(): boolean {
    const { words } = this.#pending;
    for (let at = 0; at < VECTORS / 32; at++) if (words[at] !== 0) return true;
    return false;
  }

  /** Delivers the highest vector, as the CPU does. */
  step(): void {
    this.readiness.stir();
    for (let at = VECTORS / 32 - 1; at >= 0; at--) {
      const word = this.#pending.words[at] ?? 0;
      if (word === 0) continue;
      const bit = 31 - Math.clz32(word);
      this.#pending.set(at, word & ~(1 << bit));
      this.#handlers.get(at * 32 + bit)?.();
      return;
    }
  }

  mark(): void {
    this.#pending.mark();
  }

  restore(): void {
    this.#pending.restore();
    this.readiness.stir();
  }
}
