/**
 * A group: the work queues that its engines serve, and the arbiter between them (Intel DSA Architecture
 * Specification, 341204, revision 3.0, 4.1). Each queue may dispatch as many descriptors in a round as its
 * priority says; a round ends when no queue with work has any left.
 */
import type { Restorable } from '../../base/index.js';
import type { WorkQueue } from './work-queue.js';

export class Group implements Restorable {
  #queues: readonly WorkQueue[] = [];
  #next = 0;
  #marked = { queues: this.#queues, next: 0 };

  /** Takes the queues that it serves, as the device is enabled or disabled. */
  setQueues(queues: readonly WorkQueue[]): void {
    this.#queues = queues;
    this.#next = 0;
  }

  /** Whether a queue has a descriptor. */
  get hasWork(): boolean {
    for (const queue of this.#queues) if (queue.occupancy > 0) return true;
    return false;
  }

  /** The queue to dispatch from next; undefined if all are empty. */
  pick(): WorkQueue | undefined {
    const picked = this.#withCredit();
    if (picked !== undefined || !this.hasWork) return picked;
    for (const queue of this.#queues) queue.refillCredits();
    return this.#withCredit();
  }

  #withCredit(): WorkQueue | undefined {
    const count = this.#queues.length;
    for (let i = 0; i < count; i++) {
      const index = (this.#next + i) % count;
      const queue = this.#queues[index];
      if (queue === undefined || queue.occupancy === 0 || queue.credits <= 0) continue;
      queue.spendCredit();
      this.#next = index + 1;
      return queue;
    }
    return undefined;
  }

  mark(): void {
    this.#marked.queues = this.#queues;
    this.#marked.next = this.#next;
  }

  restore(): void {
    this.#queues = this.#marked.queues;
    this.#next = this.#marked.next;
  }
}
