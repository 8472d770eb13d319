/**
 * Tasks: what runs interleaved. Code that may sleep is a generator that yields where it may be preempted; code
 * under a spinlock is a plain function. A task yields a label (it may be preempted here) or a {@link WaitQueue}
 * (it sleeps until that is woken). The end of a task is no point of choice.
 */
import { assert } from './bug.js';
import type { Chooser } from './choose.js';

/** What a task yields: a label that names the point, or the queue that it sleeps on. */
export type Pause = string | WaitQueue;

/** Code that may be preempted at each `yield`. Call it from another by `yield*`. */
export type Task<T = void> = Generator<Pause, T, void>;

/** Where tasks sleep until somebody wakes them, as on the kernel's wait queues: test the condition again after. */
export class WaitQueue {
  readonly name: string;
  readonly #sleepers: Running[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Makes all sleepers runnable, in the order in which they fell asleep. */
  wakeAll(): void {
    for (const sleeper of this.#sleepers) sleeper.wake();
    this.#sleepers.length = 0;
  }

  /** How many sleep here. */
  get length(): number {
    return this.#sleepers.length;
  }

  /** @internal */
  add(sleeper: Running): void {
    this.#sleepers.push(sleeper);
  }

  /** @internal */
  remove(sleeper: Running): void {
    const at = this.#sleepers.indexOf(sleeper);
    if (at >= 0) this.#sleepers.splice(at, 1);
  }
}

/** A task in a {@link TaskSet}, as others see it. */
export interface TaskHandle {
  readonly id: number;
  readonly name: string;
  /** The label of its last `yield`, or the name of the queue on which it sleeps. */
  readonly at: string;
  readonly state: 'runnable' | 'sleeping' | 'ended';
}

class Running implements TaskHandle {
  readonly id: number;
  readonly name: string;
  readonly body: Task<unknown>;
  readonly #set: Running[];
  #queue: WaitQueue | undefined;
  #ended = false;
  #at = 'start';

  constructor(id: number, name: string, body: Task<unknown>, runnable: Running[]) {
    this.id = id;
    this.name = name;
    this.body = body;
    this.#set = runnable;
  }

  get state(): TaskHandle['state'] {
    if (this.#ended) return 'ended';
    return this.#queue === undefined ? 'runnable' : 'sleeping';
  }

  get at(): string {
    return this.#queue?.name ?? this.#at;
  }

  wake(): void {
    this.#queue = undefined;
    this.#set.push(this);
  }

  /** Runs to the next pause; false if it can't go on from there by itself. */
  step(): boolean {
    const { done, value } = this.body.next();
    if (done === true) {
      this.#ended = true;
      return false;
    }
    if (typeof value === 'string') {
      this.#at = value;
      return true;
    }
    this.#queue = value;
    value.add(this);
    return false;
  }

  kill(): void {
    this.#queue?.remove(this);
    this.#queue = undefined;
    this.#ended = true;
    this.body.return(undefined);
  }
}

/**
 * A set of tasks, run one step at a time by a chooser. Runnable tasks stand in the order in which they became
 * runnable, so that equal choices give equal runs.
 */
export class TaskSet {
  readonly #runnable: Running[] = [];
  readonly #all = new Map<number, Running>();
  #nextId = 1;

  /** Adds a task; it runs when it is first chosen. */
  spawn(name: string, body: Task<unknown>): TaskHandle {
    const task = new Running(this.#nextId++, name, body, this.#runnable);
    this.#all.set(task.id, task);
    this.#runnable.push(task);
    return task;
  }

  /** How many could go on now. */
  get runnable(): number {
    return this.#runnable.length;
  }

  /** The tasks that have not ended, oldest first. */
  get tasks(): readonly TaskHandle[] {
    return [...this.#all.values()];
  }

  /** Lets one runnable task, which `chooser` picks, run to its next pause. False if there is none. */
  step(chooser: Chooser): boolean {
    const count = this.#runnable.length;
    if (count === 0) return false;
    const index = chooser.choose(count, 'task');
    const task = this.#runnable[index];
    assert(task !== undefined, `task ${index} of ${count}`);
    if (!task.step()) {
      this.#runnable.splice(this.#runnable.indexOf(task), 1);
      if (task.state === 'ended') this.#all.delete(task.id);
    }
    return true;
  }

  /** Ends a task where it stands; its `finally` blocks run, and may not yield. */
  kill(handle: TaskHandle): void {
    const task = this.#all.get(handle.id);
    if (task === undefined) return;
    const at = this.#runnable.indexOf(task);
    if (at >= 0) this.#runnable.splice(at, 1);
    this.#all.delete(task.id);
    task.kill();
  }
}
