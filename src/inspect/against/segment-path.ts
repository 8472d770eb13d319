/**
 * The cheapest way through the history of one segment. What cannot be explained costs far more than all else
 * together, so that a way with the fewest faults is found; after that, an event rather belongs to the candidate
 * that its neighbours in the log belong to.
 */
import { after, flush, MAPPED, MAPPED_OTHERWISE, STALE, type Step, type Steps } from './segment-states.js';

/** What is wrong on a segment. */
export type FaultKind =
  /** The event finds its pages in the wrong state in every domain. */
  | 'event'
  /** The event maps what its domain unmapped and did not flush since. */
  | 'unflushed'
  /** The event's mapping is the last, and the tables have none. */
  | 'left'
  /** The tables have a mapping that the log leaves unmapped. */
  | 'entry'
  /** The tables have another frame than the event mapped last. */
  | 'frame'
  /** Too many domains share the segment to say anything. */
  | 'unknown';

export interface PathFault {
  readonly kind: FaultKind;
  /** Of the problem; absent for 'entry'. */
  readonly event?: number;
  /** Of the problem; absent for 'event'. */
  readonly candidate?: number;
}

export interface SegmentPath {
  /** Who each step belongs to: candidates of the problem, -1 for nobody. Flushes have -1. */
  readonly choices: readonly number[];
  readonly faults: readonly PathFault[];
  /** Ways that were looked at. */
  readonly work: number;
}

export interface PathOptions {
  /** The candidate that an event should rather belong to; -1 for none. */
  readonly hint: (event: number) => number;
  /** Whether faults are allowed. */
  readonly mayFail: boolean;
}

const FAULT = 2 ** 32;
/** An event that belongs to nobody is a little worse than a fault that says where. */
const NOBODY = FAULT + 0.5;
const UNFLUSHED = FAULT + 0.9;
/** States kept after each step: the cheapest. */
const MOST_KEPT = 1024;

/** The ways to one state after one step: the cheapest, and where it came from. */
interface Way {
  readonly state: number;
  readonly cost: number;
  readonly from: Way | undefined;
  /** A bit pair's number, or -1. */
  readonly local: number;
  readonly isUnflushed: boolean;
}

/** Finds the cheapest way; undefined if there is none (which cannot be if faults are allowed). */
export function cheapestPath(all: Steps, options: PathOptions): SegmentPath | undefined {
  let ways: Way[] = [{ state: 0, cost: 0, from: undefined, local: -1, isUnflushed: false }];
  let work = 0;
  const count = all.steps.length;
  for (let i = 0; i < count; i++) {
    const step = all.steps[i];
    if (step === undefined) continue;
    const next = new Map<number, Way>();
    const hint = step.kind === 'flush' ? -1 : options.hint(step.event);
    // Of two events that cannot both be, the map that came first was left behind, or the unmap that came last.
    const late = step.kind === 'map' ? i / count : 1 - i / count;
    for (const way of ways) expand(way, { step, hint, late, mayFail: options.mayFail }, all, next);
    work += ways.length * (all.locals.length + 1);
    ways = [...next.values()];
    if (ways.length > MOST_KEPT) {
      ways = ways.sort((a, b) => a.cost - b.cost || a.state - b.state).slice(0, MOST_KEPT);
    }
  }
  const best = cheapestEnd(ways, all, options.mayFail);
  return best === undefined ? undefined : { ...traced(best, all), work };
}

interface Move {
  readonly step: Step;
  readonly hint: number;
  readonly late: number;
  readonly mayFail: boolean;
}

function expand(way: Way, { step, hint, late, mayFail }: Move, all: Steps, next: Map<number, Way>): void {
  const reach = (state: number, extra: number, how: { local: number; isUnflushed: boolean }): void => {
    const flushed = flush(state, step.flushedAfter);
    const cost = way.cost + extra;
    const known = next.get(flushed);
    if (known === undefined || cost < known.cost)
      next.set(flushed, { state: flushed, cost, from: way, ...how });
  };
  if (step.kind === 'flush') {
    reach(flush(way.state, step.allowed), 0, { local: -1, isUnflushed: false });
    return;
  }
  all.locals.forEach((candidate, local) => {
    if (((step.allowed >>> (2 * local)) & 1) === 0) return;
    const preference = hint === -1 || hint === candidate ? 0 : 1;
    const state = after(way.state, step, local, all);
    if (state !== -1) reach(state, preference, { local, isUnflushed: false });
    const isStale = ((way.state >>> (2 * local)) & 3) === STALE;
    if (mayFail && step.kind === 'map' && isStale) {
      const flushed = way.state & ~(3 << (2 * local));
      reach(after(flushed, step, local, all), UNFLUSHED + preference, { local, isUnflushed: true });
    }
  });
  if (mayFail) reach(way.state, NOBODY + late / 4, { local: -1, isUnflushed: false });
}

function cheapestEnd(ways: readonly Way[], all: Steps, mayFail: boolean): Way | undefined {
  let best: Way | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const way of ways) {
    const faults = all.locals.filter((_, local) => endFault(way.state, local, all) !== undefined).length;
    const cost = way.cost + faults * FAULT;
    if ((faults === 0 || mayFail) && cost < least) {
      best = way;
      least = cost;
    }
  }
  return best;
}

function endFault(
  state: number,
  local: number,
  { wanted, gone }: Steps,
): 'left' | 'entry' | 'frame' | undefined {
  const shift = 2 * local;
  const mine = (state >>> shift) & 3;
  if ((wanted >>> shift) & 1) {
    if (mine === MAPPED_OTHERWISE) return 'frame';
    return mine === MAPPED ? undefined : 'entry';
  }
  return mine >= MAPPED && ((gone >>> shift) & 1) === 0 ? 'left' : undefined;
}

/** Walks back from the end. */
function traced(end: Way, all: Steps): { choices: number[]; faults: PathFault[] } {
  const choices: number[] = [];
  const faults: PathFault[] = [];
  /** The last map of each candidate, unless it was unmapped after. */
  const lastStep = new Map<number, Step>();
  let way: Way | undefined = end;
  for (let i = all.steps.length - 1; i >= 0 && way !== undefined; i--) {
    const step = all.steps[i];
    if (step === undefined) continue;
    const { local, isUnflushed }: Way = way;
    const candidate = local === -1 ? -1 : (all.locals[local] ?? -1);
    choices.push(candidate);
    if (step.kind !== 'flush' && local === -1) faults.push({ kind: 'event', event: step.event });
    if (isUnflushed) faults.push({ kind: 'unflushed', event: step.event, candidate });
    if (local !== -1 && !lastStep.has(local)) lastStep.set(local, step);
    way = way.from;
  }
  all.locals.forEach((candidate, local) => {
    const kind = endFault(end.state, local, all);
    if (kind === undefined) return;
    const event = lastStep.get(local)?.event;
    faults.push(kind === 'entry' || event === undefined ? { kind, candidate } : { kind, event, candidate });
  });
  return { choices: choices.reverse(), faults };
}
