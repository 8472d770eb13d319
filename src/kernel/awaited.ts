/**
 * What goes through states that others wait for: its fields are put back, and the queue that they sleep on is made when
 * somebody does. A process has several of these, for each of its devices, and hardly any is ever waited for.
 */
import { KeptObject, WaitQueue } from '../base/index.js';

export abstract class Awaited extends KeptObject {
  #changed: WaitQueue | undefined;

  /** What sleepers wait for, in messages. */
  protected abstract get awaited(): string;

  /** Woken when its state has changed. */
  get changed(): WaitQueue {
    this.#changed ??= new WaitQueue(this.awaited);
    return this.#changed;
  }

  /** Its state has changed. */
  wake(): void {
    this.#changed?.wakeAll();
  }
}
