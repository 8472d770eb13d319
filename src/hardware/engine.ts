/**
 * The parts of the hardware that go on by themselves: a work queue's engine, an invalidation queue, a posted
 * write on its way. Each does one small step at a time, when the run's choices say so; nothing else drives it.
 */
import type { Chooser } from '../base/index.js';

/**
 * Whether a part is ready, as it was when it was asked last: that is asked all the time, between any two stores of
 * software, and seldom changes.
 */
export class Readiness {
  isKnown = false;
  isReady = false;
  /** The sets that the part is in: what they know of all their parts follows from this. */
  readonly #sets: Engines[] = [];

  /** Something has come that may have changed it. */
  stir(): void {
    if (!this.isKnown) return;
    this.isKnown = false;
    for (const set of this.#sets) set.stir();
  }

  /** From now on a set goes by it. */
  concerns(set: Engines): void {
    this.#sets.push(set);
  }
}

/** A part that goes on by itself. */
export interface Engine {
  /** Names it in choices and events: `dsa0 engine 1`. */
  readonly name: string;
  /** Whether a step would do anything now. */
  readonly isReady: boolean;
  /** Stirred by whatever may change that, its own steps too; a part without is asked each time. */
  readonly readiness?: Readiness;
  /** One small step: what happens in it, happens at once. Never asked of an engine that is not ready. */
  step(): void;
}

/** Several engines, by number among those that are ready. */
export interface EngineGroup {
  /** How many could go on now. */
  readonly ready: number;
  /** Lets the `index`-th of those that are ready do a step. */
  stepReady(index: number): void;
}

/**
 * Engines of which few are ready at a time, and which tell when that changes: the others cost nothing, however many
 * they are.
 */
export class QuietEngines implements EngineGroup {
  readonly #numbers = new Map<Engine, number>();
  /** Those that are ready, in the order in which all were added. */
  readonly #ready: Engine[] = [];

  add(engine: Engine): void {
    this.#numbers.set(engine, this.#numbers.size);
  }

  /** An engine may have become ready, or may be ready no more. */
  changed(engine: Engine): void {
    const at = this.#ready.indexOf(engine);
    if (engine.isReady === at >= 0) return;
    if (at >= 0) {
      this.#ready.splice(at, 1);
      return;
    }
    const number = this.#numberOf(engine);
    const after = this.#ready.findIndex((other) => this.#numberOf(other) > number);
    this.#ready.splice(after < 0 ? this.#ready.length : after, 0, engine);
  }

  get ready(): number {
    return this.#ready.length;
  }

  stepReady(index: number): void {
    this.#ready[index]?.step();
  }

  #numberOf(engine: Engine): number {
    return this.#numbers.get(engine) ?? -1;
  }
}

/** One of a machine's engines. */
class Member {
  readonly engine: Engine;
  readonly #readiness: Readiness;
  /** Whether it says when that may have changed. */
  readonly #tells: boolean;

  constructor(engine: Engine) {
    this.engine = engine;
    this.#readiness = engine.readiness ?? new Readiness();
    this.#tells = engine.readiness !== undefined;
  }

  get isReady(): boolean {
    const readiness = this.#readiness;
    if (readiness.isKnown) return readiness.isReady;
    readiness.isReady = this.engine.isReady;
    readiness.isKnown = this.#tells;
    return readiness.isReady;
  }
}

/** All engines of a machine. */
export class Engines implements EngineGroup {
  readonly #members: Member[] = [];
  readonly #groups: EngineGroup[] = [];
  /** How many members are ready, while none of them may have changed. */
  #count = 0;
  #isCounted = false;
  /** Whether all members say when they may have changed. */
  #allTell = true;

  add(engine: Engine): void {
    this.#members.push(new Member(engine));
    if (engine.readiness === undefined) this.#allTell = false;
    else engine.readiness.concerns(this);
    this.stir();
  }

  /** A member may have become ready, or may be ready no more. */
  stir(): void {
    this.#isCounted = false;
  }

  /** Adds engines that count after those that stand alone. */
  addGroup(group: EngineGroup): void {
    this.#groups.push(group);
  }

  /** How many could go on now. */
  get ready(): number {
    if (!this.#isCounted) this.#countReady();
    let count = this.#count;
    for (const group of this.#groups) count += group.ready;
    return count;
  }

  /** Lets the `index`-th of those that are ready do a step. */
  stepReady(index: number): void {
    let left = index;
    for (const member of this.#members) {
      if (member.isReady && left-- === 0) {
        member.engine.step();
        return;
      }
    }
    for (const group of this.#groups) {
      if (left < group.ready) {
        group.stepReady(left);
        return;
      }
      left -= group.ready;
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

  #countReady(): void {
    let count = 0;
    for (const member of this.#members) if (member.isReady) count++;
    this.#count = count;
    this.#isCounted = this.#allTell;
  }
}
