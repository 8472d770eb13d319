/**
 * Turns: of those who do the same steps by the thousand, some act at once, and the others wait, first come, first
 * served. So a run of many costs what its steps cost, and not what it costs to let all try in vain.
 */
import { type Task, WaitQueue } from '../../base/index.js';

/** One who waits for a turn, has one, or is away. */
export class Seat {
  readonly #turns: Turns;
  readonly #queue = new WaitQueue('its turn');
  #hasTurn = false;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** Asks for a turn. */
  ask(): void {
    this.#turns.ask(this);
  }

  /** Returns once it has one. */
  *wait(): Task {
    while (!this.#hasTurn) yield this.#queue;
  }

  /** Gives its turn to the next, if it has one. */
  leave(): void {
    if (!this.#hasTurn) return;
    this.#hasTurn = false;
    this.#turns.left();
  }

  /** Has its turn from now on. */
  begin(): void {
    this.#hasTurn = true;
    this.#queue.wakeAll();
  }
}

export class Turns {
  #free: number;
  #waiting: Seat[] = [];
  /** Those before it have had theirs. */
  #next = 0;

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  seat(): Seat {
    return new Seat(this);
  }

  ask(seat: Seat): void {
    if (this.#free > 0) {
      this.#free--;
      seat.begin();
    } else {
      this.#waiting.push(seat);
    }
  }

  left(): void {
    const next = this.#waiting[this.#next];
    if (next === undefined) {
      this.#free++;
      this.#waiting = [];
      this.#next = 0;
      return;
    }
    this.#next++;
    next.begin();
  }
}
