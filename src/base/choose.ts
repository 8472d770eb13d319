/**
 * Whatever could go either way asks `choose(n, what)`: which task goes on, whether a queue's engine steps now,
 * which cached entry is evicted, when a posted write lands, whether an allocation fails. A run is a pure
 * function of the answers; random, fixed, replayed and exhaustive runs differ in who answers.
 */
import { Bug } from './bug.js';
import type { Random } from './random.js';

/** Answers choices. */
export interface Chooser {
  /**
   * An integer from 0 to `n` - 1. Asked also for `n` = 1, which is no choice and is not counted as one.
   *
   * @param n how many ways there are, at least 1
   * @param what names the choice; the same text whenever the same thing is decided
   */
  choose(n: number, what: string): number;
}

/** One choice, as it was made. */
export interface Choice {
  readonly n: number;
  readonly what: string;
  readonly picked: number;
}

/** No `assert`: choices are asked for all the time, and its message would be put together each time. */
function checkWays(n: number, what: string): void {
  if (!Number.isInteger(n) || n < 1) throw new Bug(`a choice of ${n}: ${what}`);
}

function checkPicked(picked: number, n: number, what: string): void {
  if (!Number.isInteger(picked) || picked < 0 || picked >= n) {
    throw new Bug(`${picked} picked of ${n}: ${what}`);
  }
}

/** Every choice takes its first way: the plainest run. */
export const firstChooser: Chooser = {
  choose(n, what) {
    checkWays(n, what);
    return 0;
  },
};

/** Every way is as likely as the others. */
export class RandomChooser implements Chooser {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  choose(n: number, what: string): number {
    checkWays(n, what);
    return n === 1 ? 0 : this.#random.below(n);
  }
}

/** Asks another chooser, and keeps what it answered. */
export class RecordingChooser implements Chooser {
  readonly #inner: Chooser;
  readonly #choices: Choice[] = [];

  constructor(inner: Chooser) {
    this.#inner = inner;
  }

  choose(n: number, what: string): number {
    const picked = this.#inner.choose(n, what);
    checkPicked(picked, n, what);
    if (n > 1) this.#choices.push({ n, what, picked });
    return picked;
  }

  /** The choices so far, oldest first. */
  get choices(): readonly Choice[] {
    return this.#choices;
  }

  /** Forgets all but the first `count` choices. */
  truncate(count: number): void {
    this.#choices.length = Math.min(this.#choices.length, count);
  }
}

/** A run came to another choice than the run that it repeats: the model is not deterministic, or has changed. */
export class ReplayMismatch extends Error {
  override readonly name = 'ReplayMismatch';
}

/**
 * Answers as a recorded run was answered, and throws {@link ReplayMismatch} where this run differs from it. One
 * that stops early goes unnoticed here: ask {@link ReplayChooser.done} at its end.
 */
export class ReplayChooser implements Chooser {
  readonly #recorded: readonly Choice[];
  #next = 0;

  constructor(recorded: readonly Choice[]) {
    this.#recorded = recorded;
  }

  choose(n: number, what: string): number {
    checkWays(n, what);
    if (n === 1) return 0;
    const choice = this.#recorded[this.#next];
    if (choice === undefined) {
      throw new ReplayMismatch(
        `choice ${this.#next} (${what}, ${n} ways) comes after the last that was recorded`,
      );
    }
    if (choice.n !== n || choice.what !== what) {
      throw new ReplayMismatch(
        `choice ${this.#next} is ${what} (${n} ways); recorded was ${choice.what} (${choice.n} ways)`,
      );
    }
    checkPicked(choice.picked, n, what);
    this.#next++;
    return choice.picked;
  }

  /** Whether all that was recorded has been asked for. */
  get done(): boolean {
    return this.#next === this.#recorded.length;
  }
}

/**
 * Goes through every sequence of answers, in lexical order: run, {@link ExhaustiveChooser.advance}, run again,
 * until that says that there are no more. Each run must come to the choices of the run before it, up to the one
 * that is now decided otherwise; else {@link ReplayMismatch}.
 */
export class ExhaustiveChooser implements Chooser {
  readonly #path: { readonly n: number; readonly what: string; picked: number }[] = [];
  #depth = 0;

  choose(n: number, what: string): number {
    checkWays(n, what);
    if (n === 1) return 0;
    const at = this.#path[this.#depth];
    if (at === undefined) {
      this.#path.push({ n, what, picked: 0 });
      this.#depth++;
      return 0;
    }
    if (at.n !== n || at.what !== what) {
      throw new ReplayMismatch(
        `choice ${this.#depth} is ${what} (${n} ways); in the run before it was ${at.what} (${at.n} ways)`,
      );
    }
    this.#depth++;
    return at.picked;
  }

  /** Makes ready for the next run. False if every sequence has been run; it would begin again with the first. */
  advance(): boolean {
    const missed = this.#path[this.#depth];
    if (missed !== undefined) {
      throw new ReplayMismatch(`the run ended before choice ${this.#depth}, ${missed.what}`);
    }
    this.#depth = 0;
    for (let last = this.#path.pop(); last !== undefined; last = this.#path.pop()) {
      if (last.picked + 1 < last.n) {
        last.picked++;
        this.#path.push(last);
        return true;
      }
    }
    return false;
  }
}
