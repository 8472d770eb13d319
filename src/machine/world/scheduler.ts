/**
 * Who goes on: at each step one task that can, or one part of the hardware that is ready; the run's choices say
 * which. Nothing else makes anything go on, but hardware that steps in between two stores of software.
 */
import type { Chooser, TaskSet } from '../../base/index.js';
import type { Engines } from '../../hardware/index.js';

export class Scheduler {
  readonly #tasks: TaskSet;
  readonly #engines: Engines;
  /** Hands a choice that was made here to the set of tasks. */
  readonly #picked = { index: 0, choose: (): number => this.#picked.index };

  constructor(tasks: TaskSet, engines: Engines) {
    this.#tasks = tasks;
    this.#engines = engines;
  }

  /** One step; false if nobody can go on. */
  step(chooser: Chooser): boolean {
    const { runnable } = this.#tasks;
    const { ready } = this.#engines;
    if (runnable + ready === 0) return false;
    const index = chooser.choose(runnable + ready, 'next');
    if (index < runnable) {
      this.#picked.index = index;
      this.#tasks.step(this.#picked);
    } else {
      this.#engines.stepReady(index - runnable);
    }
    return true;
  }
}
