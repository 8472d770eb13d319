/**
 * Finds for each event the domain that it happened in, so that as little as possible is left unexplained.
 *
 * Segments that share events hang together; each such component is searched for itself. What no way through a
 * segment allows is taken away from its events until nothing changes (arc consistency); then the first segment
 * that is undecided is given its cheapest way, and if that leads nowhere, its events are decided one by one,
 * going back over every decision. A component without a solution has its failing segment set aside, and is
 * searched again without; what was set aside gets the way with the fewest faults at last. The work is bounded:
 * where the bound was hit, faults are not proven.
 */
import { assert } from '../../base/index.js';
import { CandidateSets } from './candidate-sets.js';
import type { Problem, Segment } from './problem.js';
import { cheapestPath, type PathFault } from './segment-path.js';
import { SegmentStates } from './segment-states.js';

/** A fault, and the segment that it is on. */
export interface Fault extends PathFault {
  readonly segment: Segment;
}

export interface Assignment {
  /** The candidate of each event; -1 for flushes, and where it does not matter or nobody explains it. */
  readonly owners: Int32Array;
  readonly faults: readonly Fault[];
  /** Whether it is certain that no assignment is without faults. Of no meaning if there are none. */
  readonly isProven: boolean;
}

/** States looked at before the search makes do with what it has: a few seconds. */
export const MOST_WORK = 60_000_000;

/** Searches; `mostWork` bounds the states that are looked at. */
export function assignEvents(problem: Problem, mostWork = MOST_WORK): Assignment {
  const search = new Search(problem, mostWork);
  for (const component of components(problem)) search.solve(component);
  return search.result();
}

/** Segments `first` to `last`. */
interface Component {
  readonly first: number;
  readonly last: number;
}

/** An event reaches segments next to each other, so components are runs of segments. */
function components({ segments, reach }: Problem): Component[] {
  const lastOf = new Int32Array(segments.length).map((_, i) => i);
  for (const { first, last } of reach) {
    if (first >= 0) lastOf[first] = Math.max(lastOf[first] ?? 0, last);
  }
  const found: Component[] = [];
  for (let first = 0; first < segments.length; ) {
    let last = first;
    for (let i = first; i <= last; i++) last = Math.max(last, lastOf[i] ?? 0);
    found.push({ first, last });
    first = last + 1;
  }
  return found;
}

/** A decision that may have to be taken back. */
interface Decision {
  readonly mark: number;
  readonly segment: number;
  /** All of a segment's events at once; then one event as `candidate`, and as anything else. */
  stage: 'path' | 'is' | 'is-not';
  event: number;
  candidate: number;
}

/** How far from an event its neighbours are asked for a hint. */
const HINT_DISTANCE = 32;

class Search {
  readonly #problem: Problem;
  readonly #mostWork: number;
  readonly #sets: CandidateSets;
  readonly #states: SegmentStates;
  readonly #setAside = new Set<number>();
  /** By what tells them apart: one fault may be come upon more than once. */
  readonly #faults = new Map<string, Fault>();
  readonly #queue: number[] = [];
  readonly #queued: Uint8Array;
  #isProven = false;
  #isBounded = false;
  /** Whether candidates were taken away by decisions too: what fails then proves nothing by itself. */
  #isDeciding = false;

  constructor(problem: Problem, mostWork: number) {
    this.#problem = problem;
    this.#mostWork = mostWork;
    this.#sets = new CandidateSets(problem.events.length, problem.candidates.length);
    this.#states = new SegmentStates(problem, this.#sets);
    this.#queued = new Uint8Array(problem.segments.length);
  }

  result(): Assignment {
    const owners = new Int32Array(this.#problem.events.length).fill(-1);
    this.#problem.events.forEach((event, i) => {
      if (event.kind !== 'flush') owners[i] = this.#sets.only(i);
    });
    for (const event of this.#nowhere()) owners[event] = -1;
    return { owners, faults: [...this.#faults.values()], isProven: this.#isProven };
  }

  /** Searches one component to its end. */
  solve(component: Component): void {
    const start = this.#sets.mark();
    let failing = this.#attempt(component);
    if (failing !== undefined) {
      this.#sets.backTo(start);
      this.#setAsideHopeless(component);
      failing = this.#attempt(component);
    }
    while (failing !== undefined) {
      this.#isProven = true;
      this.#setAside.add(failing);
      this.#sets.backTo(start);
      this.#checkWork();
      failing = this.#attempt(component);
    }
    this.#settle(component);
  }

  /** Sets aside every segment that is beyond explanation by itself. */
  #setAsideHopeless({ first, last }: Component): void {
    for (let i = first; i <= last; i++) {
      const mark = this.#sets.mark();
      if (this.#states.narrow(this.#segment(i), () => undefined) === false) {
        this.#setAside.add(i);
        this.#isProven = true;
      }
      this.#sets.backTo(mark);
    }
  }

  /** Decides all events of a component; otherwise the segment that cannot be explained. */
  #attempt(component: Component): number | undefined {
    for (let i = component.first; i <= component.last; i++) this.#enqueue(i);
    const failing = this.#propagate();
    if (failing !== undefined) return failing;
    this.#isDeciding = true;
    const undecidable = this.#decide(component);
    this.#isDeciding = false;
    return undecidable;
  }

  #decide({ first, last }: Component): number | undefined {
    const decisions: Decision[] = [];
    for (let at = first; ; ) {
      while (at <= last && (this.#setAside.has(at) || this.#undecided(at) === -1)) at++;
      if (at > last) return undefined;
      this.#checkWork();
      decisions.push({ mark: this.#sets.mark(), segment: at, stage: 'path', event: -1, candidate: -1 });
      let failing = this.#tryPath(at);
      while (failing !== undefined) {
        this.#checkWork();
        if (this.#isBounded) {
          this.#setAside.add(failing);
          failing = undefined;
          continue;
        }
        const decision = decisions[decisions.length - 1];
        if (decision === undefined) return failing;
        at = decision.segment;
        if (decision.stage === 'is-not') decisions.pop();
        else failing = this.#next(decision);
      }
    }
  }

  /** Gives a segment its cheapest way; the segment that fails by it. */
  #tryPath(at: number): number | undefined {
    for (const part of this.#states.prepare(this.#segment(at))) {
      if (part === undefined) return at;
      const path = cheapestPath(part, { hint: this.#hint, mayFail: false });
      this.#states.work += path?.work ?? part.steps.length;
      if (path === undefined) return at;
      part.steps.forEach(({ event, kind }, i) => {
        if (kind !== 'flush') this.#fix(event, path.choices[i] ?? -1);
      });
    }
    return this.#propagate();
  }

  /** Takes a decision back, and takes the next one in its place. */
  #next(decision: Decision): number | undefined {
    this.#sets.backTo(decision.mark);
    if (decision.stage === 'path') {
      decision.stage = 'is';
      decision.event = this.#undecided(decision.segment);
      assert(decision.event !== -1, 'a decision about a segment that is decided');
      const hint = this.#hint(decision.event);
      const isPossible = hint !== -1 && this.#sets.has(decision.event, hint);
      decision.candidate = isPossible ? hint : (this.#sets.of(decision.event)[0] ?? -1);
      this.#fix(decision.event, decision.candidate);
    } else {
      decision.stage = 'is-not';
      this.#sets.remove(decision.event, decision.candidate);
      this.#enqueueEvent(decision.event);
    }
    return this.#propagate();
  }

  /** Narrows until nothing changes; the segment that has no way through any more. */
  #propagate(): number | undefined {
    let failing: number | undefined;
    for (let i = 0; i < this.#queue.length; i++) {
      const at = this.#queue[i] ?? 0;
      this.#queued[at] = 0;
      if (failing !== undefined || this.#setAside.has(at)) continue;
      const isPossible = this.#states.narrow(this.#segment(at), (event) => this.#enqueueEvent(event, at));
      if (isPossible !== false) continue;
      if (!this.#isBounded) {
        failing = at;
        continue;
      }
      this.#setAside.add(at);
      this.#isProven ||= !this.#isDeciding;
    }
    this.#queue.length = 0;
    return failing;
  }

  /** Once there was too much work, whatever fails is set aside at once, and nothing is gone back on. */
  #checkWork(): void {
    this.#isBounded ||= this.#states.work > this.#mostWork;
  }

  /** Says what is wrong on each segment, now that events are decided as far as they have to be. */
  #settle({ first, last }: Component): void {
    const order = [...this.#setAside].filter((i) => i >= first && i <= last).sort((a, b) => a - b);
    const aside = new Set(order);
    for (let i = first; i <= last; i++) if (!aside.has(i)) order.push(i);
    for (const at of order) {
      const segment = this.#segment(at);
      if (!aside.has(at) && this.#states.narrow(segment, () => undefined) === true) continue;
      for (const part of this.#states.prepare(segment)) {
        const path = part && cheapestPath(part, { hint: this.#hint, mayFail: true });
        if (part === undefined || path === undefined) {
          this.#addFault({ segment, kind: 'unknown' });
          continue;
        }
        part.steps.forEach(({ event }, i) => {
          const candidate = path.choices[i] ?? -1;
          if (candidate !== -1) this.#fix(event, candidate);
        });
        for (const fault of path.faults) this.#addFault({ ...fault, segment });
      }
      this.#clearQueue();
    }
  }

  #addFault(fault: Fault): void {
    const { segment, kind, event, candidate } = fault;
    const key = [segment.page, kind, event, candidate].join();
    if (!this.#faults.has(key)) this.#faults.set(key, fault);
  }

  /** The candidate of the decided event that is nearest in the log. */
  readonly #hint = (event: number): number => {
    const { events } = this.#problem;
    for (let distance = 1; distance <= HINT_DISTANCE; distance++) {
      for (const near of [event - distance, event + distance]) {
        const kind = events[near]?.kind;
        const only = kind === undefined || kind === 'flush' ? -1 : this.#sets.only(near);
        if (only !== -1) return only;
      }
    }
    return -1;
  };

  /** The events that are faults on all segments that they reach. */
  #nowhere(): number[] {
    const counts = new Map<number, number>();
    for (const { kind, event } of this.#faults.values()) {
      if (kind === 'event' && event !== undefined) counts.set(event, (counts.get(event) ?? 0) + 1);
    }
    const isWhole = (event: number, count: number): boolean => {
      const { first, last } = this.#problem.reach[event] ?? { first: 0, last: -1 };
      return count === last - first + 1;
    };
    return [...counts].filter(([event, count]) => isWhole(event, count)).map(([event]) => event);
  }

  /** The first event of a segment that has several candidates; -1 for none. */
  #undecided(at: number): number {
    const { events } = this.#problem;
    const found = this.#segment(at).events.find(
      (i) => events[i]?.kind !== 'flush' && this.#sets.count(i) > 1,
    );
    return found ?? -1;
  }

  #fix(event: number, candidate: number): void {
    if (this.#sets.count(event) === 1 && this.#sets.has(event, candidate)) return;
    this.#sets.fix(event, candidate);
    this.#enqueueEvent(event);
  }

  #enqueueEvent(event: number, but = -1): void {
    const { first, last } = this.#problem.reach[event] ?? { first: 0, last: -1 };
    for (let i = first; i <= last; i++) if (i !== but) this.#enqueue(i);
  }

  #enqueue(at: number): void {
    if (this.#queued[at] === 1) return;
    this.#queued[at] = 1;
    this.#queue.push(at);
  }

  #clearQueue(): void {
    for (const at of this.#queue) this.#queued[at] = 0;
    this.#queue.length = 0;
  }

  #segment(at: number): Segment {
    const segment = this.#problem.segments[at];
    assert(segment !== undefined, `segment ${at}`);
    return segment;
  }
}
