/** Meetings: points of a scenario that all who name them come to before any goes on. */
import { type Task, WaitQueue } from '../../base/index.js';
import type { Step } from '../scenario/schema.js';
import type { Seat } from './turns.js';

interface Meeting {
  readonly expected: Set<string>;
  readonly queue: WaitQueue;
  /** Those of many who have come, and go on one after the other. */
  readonly seats: Seat[];
}

export class Meetings {
  readonly #meetings = new Map<string, Meeting>();

  /** @param actors who does the steps that are written for a name */
  constructor(steps: readonly Step[], actors: ReadonlyMap<string, readonly string[]>) {
    for (const step of steps) {
      if (!('meet' in step)) continue;
      const meeting = this.#meetings.get(step.meet) ?? {
        expected: new Set<string>(),
        queue: new WaitQueue(`the meeting ${step.meet}`),
        seats: [],
      };
      for (const actor of actors.get(step.by) ?? [step.by]) meeting.expected.add(actor);
      this.#meetings.set(step.meet, meeting);
    }
  }

  /** Returns when all have come, or have ended; who has a seat gives it up meanwhile. */
  *meet(name: string, actor: string, seat?: Seat): Task<undefined> {
    const meeting = this.#meetings.get(name);
    if (meeting === undefined) return undefined;
    if (seat !== undefined) {
      seat.leave();
      meeting.seats.push(seat);
    }
    this.#came(meeting, actor);
    if (seat !== undefined) yield* seat.wait();
    else while (meeting.expected.size > 0) yield meeting.queue;
    return undefined;
  }

  /** Nobody waits for who has ended. */
  ended(actor: string): void {
    for (const meeting of this.#meetings.values()) this.#came(meeting, actor);
  }

  #came({ expected, queue, seats }: Meeting, actor: string): void {
    if (!expected.delete(actor) || expected.size > 0) return;
    queue.wakeAll();
    for (const seat of seats.splice(0)) seat.ask();
  }
}
