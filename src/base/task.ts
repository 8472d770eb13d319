/**
 * Tasks: what runs interleaved. Code that may sleep is a generator that yields where it may be preempted; code
 * under a spinlock is a plain function. A task yields a label (it may be preempted here) or a {@link WaitQueue}
 * (it sleeps until that is woken). The end of a task is no point of choice.
 *
 * What a task throws comes out of the {@link TaskSet.step} that ran it; the task has ended then, and the set can
 * go on. Left out: priorities, time slices and waking one sleeper of several.
 */
import { assert, Bug } from './bug.js';
import type { Chooser } from './choose.js';
import { takeOut } from './take-out.js';
import type { Restorable } from './words.js';

/** What a task yields: a label that names the point, or the queue that it sleeps on. */
export type Pause = string | WaitQueue;

/** Code that may be preempted at each `yield`. Call it from another by `yield*`. */
export type Task<T = void> = Generator<Pause, T, void>;

function* nothing(): Task {}

/** A task that has nothing to do, and comes to `value`. */
export function* ended<T>(value: T): Task<T> {
  yield* nothing();
  return value;
}

/** What all generators resume by: asked of each for itself, it would be looked up each time. */
const { next: resume } = nothing();

/** Let a task come to the sleepers of its queue, and go, and nobody outside this file. */
let fallAsleep: (queue: WaitQueue, task: Running) => void;
let getUp: (queue: WaitQueue, task: Running) => void;

/** Where tasks sleep until somebody wakes them, as on the kernel's wait queues: test the condition again after. */
export class WaitQueue {
  readonly #what: string;
  readonly #of: { readonly name: string } | undefined;
  /** Undefined while nobody sleeps: there are many queues, and few sleepers. */
  #sleepers: Running[] | undefined;

  static {
    fallAsleep = (queue, task) => {
      if (queue.#sleepers === undefined) queue.#sleepers = [task];
      else queue.#sleepers.push(task);
    };
    getUp = (queue, task) => {
      if (queue.#sleepers !== undefined) remove(queue.#sleepers, task);
    };
  }

  /** @param of whose queue it is: its name is asked for when somebody wants to know, and not kept for each queue */
  constructor(what: string, of?: { readonly name: string }) {
    this.#what = what;
    this.#of = of;
  }

  get name(): string {
    return this.#of === undefined ? this.#what : `${this.#what} ${this.#of.name}`;
  }

  /** Makes all sleepers runnable, in the order in which they fell asleep. */
  wakeAll(): void {
    const sleepers = this.#sleepers;
    if (sleepers === undefined) return;
    this.#sleepers = undefined;
    for (const sleeper of sleepers) sleeper.wake();
  }

  /** How many sleep here. */
  get length(): number {
    return this.#sleepers?.length ?? 0;
  }
}

/** A task in a {@link TaskSet}, as others see it. */
export interface TaskHandle {
  /** Counts from 1 in its set. */
  readonly id: number;
  readonly name: string;
  /** Where it stands: the label, or the name of the queue, of its last `yield`; `start` before the first. */
  readonly at: string;
  /** A task is `runnable` also while it runs. */
  readonly state: 'runnable' | 'sleeping' | 'ended';
}

class Running implements TaskHandle {
  readonly id: number;
  readonly name: string;
  /** Its last. */
  #pause: Pause = 'start';
  state: TaskHandle['state'] = 'runnable';
  readonly #body: Task<unknown>;
  /** Of its set: where it goes when it is woken. */
  readonly #runnable: Running[];
  #queue: WaitQueue | undefined;
  /** The tasks of its set that have not ended stand in a row, oldest first. */
  before: Running | undefined;
  after: Running | undefined;

  constructor(id: number, { name, body }: { name: string; body: Task<unknown> }, runnable: Running[]) {
    this.id = id;
    this.name = name;
    this.#body = body;
    this.#runnable = runnable;
  }

  get at(): string {
    return typeof this.#pause === 'string' ? this.#pause : this.#pause.name;
  }

  wake(): void {
    this.#queue = undefined;
    this.state = 'runnable';
    this.#runnable.push(this);
  }

  /** Runs to the next pause. */
  step(): void {
    let pause: Pause | undefined;
    try {
      const result = resume.call(this.#body);
      if (result.done !== true) pause = result.value;
    } finally {
      if (pause === undefined) this.state = 'ended';
    }
    if (pause === undefined) return;
    this.#pause = pause;
    if (typeof pause !== 'string') this.#sleep(pause);
  }

  /** Ends it where it stands, without another line of it. */
  drop(): void {
    const queue = this.#queue;
    if (queue !== undefined) getUp(queue, this);
    this.#queue = undefined;
    this.state = 'ended';
  }

  kill(): void {
    this.drop();
    if (this.#body.return(undefined).done !== true) throw new Bug(`${this.name} yields while it is killed`);
  }

  #sleep(queue: WaitQueue): void {
    this.state = 'sleeping';
    this.#queue = queue;
    fallAsleep(queue, this);
  }
}

/**
 * A set of tasks, run one step at a time by a chooser. Runnable tasks stand in the order in which they became
 * runnable, so that equal choices give equal runs.
 *
 * A task that has begun cannot be put back (nothing copies a generator): the set is marked while it is empty, and
 * a restore empties it.
 */
export class TaskSet implements Restorable {
  readonly #runnable: Running[] = [];
  #oldest: Running | undefined;
  #newest: Running | undefined;
  #nextId = 1;
  #markedNextId = 0;
  #current: Running | undefined;

  /** Adds a task; it runs when it is first chosen. */
  spawn(name: string, body: Task<unknown>): TaskHandle {
    const task = new Running(this.#nextId++, { name, body }, this.#runnable);
    task.before = this.#newest;
    if (this.#newest === undefined) this.#oldest = task;
    else this.#newest.after = task;
    this.#newest = task;
    this.#runnable.push(task);
    return task;
  }

  /** How many could go on now. */
  get runnable(): number {
    return this.#runnable.length;
  }

  /** The task that runs; undefined between steps. */
  get current(): TaskHandle | undefined {
    return this.#current;
  }

  /** The tasks that have not ended, oldest first. */
  get tasks(): readonly TaskHandle[] {
    const all: Running[] = [];
    for (let task = this.#oldest; task !== undefined; task = task.after) all.push(task);
    return all;
  }

  /**
   * Lets one runnable task, which `chooser` picks, run to its next pause. False if there is none. Throws what the
   * task throws, which has ended it.
   */
  step(chooser: Chooser): boolean {
    assert(this.#current === undefined, 'a step within a step of the same set');
    const count = this.#runnable.length;
    if (count === 0) return false;
    const index = chooser.choose(count, 'task');
    const task = this.#runnable[index];
    if (task === undefined) throw new Bug(`task ${index} of ${count}`);
    this.#current = task;
    try {
      task.step();
    } finally {
      this.#current = undefined;
      if (task.state !== 'runnable') remove(this.#runnable, task);
      if (task.state === 'ended') this.#takeOut(task);
    }
    return true;
  }

  /**
   * Ends a task where it stands; its `finally` blocks run, and may not yield (a `Bug`); what they throw comes out
   * of here. A task that has not begun has none to run. Nothing happens to one that has ended. A task cannot kill
   * itself (a `Bug`): it returns.
   */
  kill(handle: TaskHandle): void {
    if (handle.state === 'ended') return;
    const task = this.#find(handle);
    assert(task !== undefined, 'a task of another set is killed');
    assert(task !== this.#current, 'a task kills itself');
    remove(this.#runnable, task);
    this.#takeOut(task);
    task.kill();
  }

  mark(): void {
    assert(this.#oldest === undefined, 'a mark while there are tasks');
    this.#markedNextId = this.#nextId;
  }

  /** Drops every task where it stands. Their `finally` blocks do not run: what they would tidy up is put back too. */
  restore(): void {
    assert(this.#markedNextId > 0, 'restore without a mark');
    assert(this.#current === undefined, 'restore within a step');
    for (let task = this.#oldest; task !== undefined; task = task.after) task.drop();
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#runnable.length = 0;
    this.#nextId = this.#markedNextId;
  }

  #find(handle: TaskHandle): Running | undefined {
    let task = this.#oldest;
    while (task !== undefined && task !== handle) task = task.after;
    return task;
  }

  #takeOut(task: Running): void {
    const { before, after } = task;
    if (before === undefined) this.#oldest = after;
    else before.after = after;
    if (after === undefined) this.#newest = before;
    else after.before = before;
  }
}

function remove(from: Running[], task: Running): void {
  const at = from.indexOf(task);
  if (at >= 0) takeOut(from, at);
}
