/**
 * A guest's tasks, as part of the host's one set of them: nothing in a guest runs but on a vCPU, and when the VMM
 * stops its vCPUs, everything stands where it is. Then they are dropped, without another line of theirs: what a
 * dead guest would tidy up goes with its memory.
 *
 * An instruction that a vCPU is in the middle of comes to its end first, as it does before a real one exits. Vcpus that
 * are only to pause stand still in the same way, and go on where they were.
 */
import type { Restorable, Task, TaskHandle, TaskSet } from '../base/index.js';
import { WaitQueue } from '../base/index.js';
import type { Spawner } from '../kernel/index.js';

/** What a guest's tasks need to know of a vCPU. */
export interface Runner {
  readonly isInInstruction: boolean;
}

type State = 'running' | 'paused' | 'stopping' | 'stopped';

export class GuestTasks implements Spawner, Restorable {
  readonly #name: string;
  readonly #tasks: TaskSet;
  #runners: readonly Runner[];
  #markedRunners: readonly Runner[];
  readonly #live = new Set<TaskHandle>();
  #state: State = 'running';
  #marked: State = 'running';
  /** Nobody wakes it: who sleeps here is dropped. */
  readonly #halted: WaitQueue;
  /** Woken when it goes on. */
  readonly #resumed: WaitQueue;

  /** @param runners the vCPUs, at most 32; they may come later */
  constructor(name: string, tasks: TaskSet, runners: readonly Runner[]) {
    this.#name = name;
    this.#tasks = tasks;
    this.#runners = runners;
    this.#markedRunners = runners;
    this.#halted = new WaitQueue(`${name} is stopped`);
    this.#resumed = new WaitQueue(`${name} is paused`);
  }

  /** Whether the guest goes on: false from the moment that it is stopped. */
  get isRunning(): boolean {
    return this.#state === 'running';
  }

  spawn(name: string, body: Task<unknown>): TaskHandle {
    const guarded = this.#guard(body, () => this.#live.delete(handle));
    const handle = this.#tasks.spawn(`${this.#name}: ${name}`, guarded);
    this.#live.add(handle);
    return handle;
  }

  /** From now on nothing goes on but instructions that are under way. */
  stop(): void {
    if (this.isLive) this.#state = 'stopping';
  }

  /** The same for a while. */
  pause(): void {
    if (this.#state === 'running') this.#state = 'paused';
  }

  /** They go on. */
  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'running';
    this.#resumed.wakeAll();
  }

  /** While they are paused: from now on these run them. */
  seat(runners: readonly Runner[]): void {
    this.#runners = runners;
  }

  /** Whether they go on, or may. */
  get isLive(): boolean {
    return this.#state === 'running' || this.#state === 'paused';
  }

  /** Drops all of them where they stand. A task that calls this is not one of them. */
  drop(): void {
    this.#state = 'stopped';
    for (const handle of this.#live) this.#tasks.kill(handle);
    this.#live.clear();
  }

  mark(): void {
    this.#marked = this.#state;
    this.#markedRunners = this.#runners;
  }

  /** The set of tasks has dropped them. */
  restore(): void {
    this.#state = this.#marked;
    this.#runners = this.#markedRunners;
    this.#live.clear();
  }

  /** The vCPUs that are in an instruction, a bit each. */
  get #inInstructions(): number {
    let bits = 0;
    for (let i = 0; i < this.#runners.length; i++)
      if (this.#runners[i]?.isInInstruction === true) bits |= 1 << i;
    return bits;
  }

  /** The vCPU that has begun one since; a step begins one at most. */
  #begun(before: number): Runner | undefined {
    const begun = this.#inInstructions & ~before;
    return begun === 0 ? undefined : this.#runners[31 - Math.clz32(begun)];
  }

  /** Kept apart from the body, whose `finally` blocks a kill of this one does not run. */
  *#guard(body: Task<unknown>, ended: () => void): Task {
    /** The vCPU that is in an instruction of this task. */
    let own: Runner | undefined;
    for (;;) {
      if (own?.isInInstruction !== true) {
        own = undefined;
        // What comes when all has been dropped (an interrupt that was on its way) does not begin.
        if (this.#state === 'stopped') break;
        if (this.#state !== 'running') {
          yield this.#state === 'paused' ? this.#resumed : this.#halted;
          continue;
        }
      }
      const before = this.#inInstructions;
      const { done, value } = body.next();
      own ??= this.#begun(before);
      if (done === true) break;
      yield value;
    }
    ended();
  }
}
