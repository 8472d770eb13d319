/**
 * The batch that an engine works on: its descriptor, put aside while those of its list are worked on, and what has
 * come of them (Intel DSA Architecture Specification, 341204, revision 3.0, 3.8 and 8.3.2). Their order is that of
 * the list; a real engine works on several at once, so that without fences they may end in another.
 */
import type { Restorable } from '../../base/index.js';
import { DSA_BATCH } from '../../spec/index.js';
import { DESCRIPTOR_WORDS } from './work-queue.js';

const { COUNT } = DSA_BATCH;

const none = () => ({
  isOpen: false,
  /** How many descriptors are done; the index of the one that is worked on. */
  index: 0,
  hasFailed: false,
  /** Whether the record of one is in the event log. */
  hasLost: false,
});

export class Batch implements Restorable {
  readonly now = none();
  readonly #descriptor = new Int32Array(DESCRIPTOR_WORDS);
  readonly #marked = { now: none(), descriptor: this.#descriptor.slice() };

  /** Begins with a batch descriptor that has passed its checks. */
  open(descriptor: Int32Array): void {
    this.#descriptor.set(descriptor);
    this.now.isOpen = true;
    this.now.index = 0;
    this.now.hasFailed = false;
    this.now.hasLost = false;
  }

  /** Puts the batch descriptor where descriptors are worked on. */
  present(into: Int32Array): void {
    into.set(this.#descriptor);
  }

  /** One of the list is done. */
  advance(isSuccess: boolean): void {
    this.now.index++;
    if (!isSuccess) this.now.hasFailed = true;
  }

  /** Whether all of the list are done. */
  get isOver(): boolean {
    return this.now.index === COUNT.get(this.#descriptor, 0);
  }

  close(): void {
    this.now.isOpen = false;
  }

  mark(): void {
    Object.assign(this.#marked.now, this.now);
    this.#marked.descriptor.set(this.#descriptor);
  }

  restore(): void {
    Object.assign(this.now, this.#marked.now);
    this.#descriptor.set(this.#marked.descriptor);
  }
}
