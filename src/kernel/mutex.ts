/**
 * A lock that may be held over a sleep. A task that is killed while it holds one gives it back in its `finally`;
 * one that a restore drops does not, and need not: the lock is put back too.
 */
import { Bug, KeptValue, type Task, type UndoLog, WaitQueue } from '../base/index.js';

export class Mutex {
  readonly #waiters: WaitQueue;
  readonly #held: KeptValue<boolean>;
  readonly #what: string;
  readonly #of: { readonly name: string } | undefined;

  /** @param of whose lock it is, as {@link WaitQueue} has it */
  constructor(log: UndoLog, what: string, of?: { readonly name: string }) {
    this.#what = what;
    this.#of = of;
    this.#waiters = new WaitQueue('lock', this);
    this.#held = new KeptValue(log, false);
  }

  get name(): string {
    return this.#of === undefined ? this.#what : `${this.#what} ${this.#of.name}`;
  }

  /** Sleeps until the lock is free, and takes it. */
  *lock(): Task {
    while (this.#held.value) yield this.#waiters;
    this.#held.value = true;
  }

  /** Takes the lock if it is free: whether that was so. It spares a task where nobody waits. */
  tryLock(): boolean {
    if (this.#held.value) return false;
    this.#held.value = true;
    return true;
  }

  unlock(): void {
    if (!this.#held.value) throw new Bug(`${this.#waiters.name} is given back twice`);
    this.#held.value = false;
    this.#waiters.wakeAll();
  }
}
