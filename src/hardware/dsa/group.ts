/**
 * A group: the work queues that its engines serve, and the arbiter between them (Intel DSA Architecture
 * Specification, 341204, revision 3.0, 4.1). Each queue may dispatch as many descriptors in a round as its
 * priority says; a round ends when no queue with work has any left. Which of those that may is next, the specification
 * leaves open.
 */
import type { Chooser, Restorable } from '../../base/index.js';
import type { WorkQueue } from './work-queue.js';

export class Group implements Restorable {
  readonly #what: string;
  readonly #chooser: Chooser;
  #queues: readonly WorkQueue[] = [];
  #next = 0;
  #marked = { queues: this.#queues, next: 0 };

  /** @param chooser decides which queue is next; its first answer goes round */
  constructor(name: string, chooser: Chooser) {
    this.#what = `${name}: which queue is next`;
    this.#chooser = chooser;
  }

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
    let ways = 0;
    for (const queue of this.#queues) if (mayDispatch(queue)) ways++;
    if (ways === 0) return undefined;
    let passed = ways === 1 ? 0 : this.#chooser.choose(ways, this.#what);
    const count = this.#queues.length;
    for (let i = 0; i < count; i++) {
      const index = (this.#next + i) % count;
      const queue = this.#queues[index];
      if (queue === undefined || !mayDispatch(queue) || passed-- > 0) continue;
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

const mayDispatch = (queue: WorkQueue): boolean => queue.occupancy > 0 && queue.credits > 0;
