/**
 * The parts of the hardware that go on by themselves: a work queue's engine, an invalidation queue, a posted
 * write on its way. Each does one small step at a time, when the run's choices say so; nothing else drives it.
 */
import type { Chooser } from '../base/index.js';

/** A part that goes on by itself. */
export interface Engine {
  /** Names it in choices and events: `dsa0 engine 1`. */
  readonly name: string;
  /** Whether a step would do anything now. */
  readonly isReady: boolean;
  /** One small step: what happens in it, happens at once. Never asked of an engine that is not ready. */
  step(): void;
}

/** All engines of a machine. */
export class Engines {
  readonly #engines: Engine[] = [];

  add(engine: Engine): void {
    this.#engines.push(engine);
  }

  /** How many could go on now. */
  get ready(): number {
    let count = 0;
    for (const engine of this.#engines) if (engine.isReady) count++;
    return count;
  }

  /** Lets the `index`-th of those that are ready do a step. */
  stepReady(index: number): void {
    let left = index;
    for (const engine of this.#engines) {
      if (engine.isReady && left-- === 0) {
        engine.step();
        return;
      }
    }
  }

  /**
   * Where hardware may step in between two stores of software: one engine does a step, or none does.
   *
   * @param what names the point, as in {@link Chooser.choose}
   */
  maybeStep(chooser: Chooser, what: string): void {
    const { ready } = this;
    if (ready === 0) return;
    const picked = chooser.choose(ready + 1, what);
    if (picked > 0) this.stepReady(picked - 1);
  }
}
