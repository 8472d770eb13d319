/**
 * A lock that may be held over a sleep. A task that is killed while it holds one gives it back in its `finally`;
 * one that a restore drops does not, and need not: the lock is put back too.
 */
import { Bug, Kept, type Task, type UndoLog, WaitQueue } from '../base/index.js';

export class Mutex extends Kept {
  /** Made when somebody has to wait. */
  #waiters: WaitQueue | undefined;
  #isHeld = false;
  readonly #what: string;
  readonly #of: { readonly name: string } | undefined;

  /** @param of whose lock it is, as {@link WaitQueue} has it */
  constructor(log: UndoLog, what: string, of?: { readonly name: string }) {
    super(log);
    this.#what = what;
    this.#of = of;
  }

  get name(): string {
    return this.#of === undefined ? this.#what : `${this.#what} ${this.#of.name}`;
  }

  /** Sleeps until the lock is free, and takes it. */
  *lock(): Task {
    while (this.#isHeld) {
      this.#waiters ??= new WaitQueue('lock', this);
      yield this.#waiters;
    }
    this.#setHeld(true);
  }

  /** Takes the lock if it is free: whether that was so. It spares a task where nobody waits. */
  tryLock(): boolean {
    if (this.#isHeld) return false;
    this.#setHeld(true);
    return true;
  }

  unlock(): void {
    if (!this.#isHeld) throw new Bug(`lock ${this.name} is given back twice`);
    this.#setHeld(false);
    this.#waiters?.wakeAll();
  }

  protected override saved(): () => void {
    const wasHeld = this.#isHeld;
    return () => {
      this.#isHeld = wasHeld;
    };
  }

  #setHeld(isHeld: boolean): void {
    this.changing();
    this.#isHeld = isHeld;
  }
}
