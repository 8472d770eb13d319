/** Meetings: points of a scenario that all who name them come to before any goes on. */
import { type Task, WaitQueue } from '../../base/index.js';
import type { Step } from '../scenario/schema.js';

interface Meeting {
  readonly expected: Set<string>;
  readonly queue: WaitQueue;
}

export class Meetings {
  readonly #meetings = new Map<string, Meeting>();

  constructor(steps: readonly Step[]) {
    for (const step of steps) {
      if (!('meet' in step)) continue;
      const meeting = this.#meetings.get(step.meet) ?? {
        expected: new Set<string>(),
        queue: new WaitQueue(`the meeting ${step.meet}`),
      };
      meeting.expected.add(step.by);
      this.#meetings.set(step.meet, meeting);
    }
  }

  /** Returns when all have come, or have ended. */
  *meet(name: string, actor: string): Task {
    const meeting = this.#meetings.get(name);
    if (meeting === undefined) return;
    this.#came(meeting, actor);
    while (meeting.expected.size > 0) yield meeting.queue;
  }

  /** Nobody waits for who has ended. */
  ended(actor: string): void {
    for (const meeting of this.#meetings.values()) this.#came(meeting, actor);
  }

  #came({ expected, queue }: Meeting, actor: string): void {
    if (expected.delete(actor) && expected.size === 0) queue.wakeAll();
  }
}
