/**
 * All ways through the history of one segment at once. A state says for each candidate whether the segment is
 * unmapped, waits for a flush, or is mapped as the tables have it in the end, or otherwise: two bits each. The
 * states reachable from the start, and those from which the end can be reached, give for each event the
 * candidates that some way through gives it ({@link SegmentStates.narrow}).
 */
import type { CandidateSets } from './candidate-sets.js';
import type { Problem, Segment } from './problem.js';

/** States of one candidate, two bits. */
export const FREE = 0;
export const STALE = 1;
export const MAPPED = 2;
export const MAPPED_OTHERWISE = 3;

/** Candidates that one segment can tell apart: their states fit into a 32-bit word. */
const MOST_LOCALS = 15;
/** States of one segment that are looked at; more are left for when there are fewer candidates. */
const MOST_STATES = 400_000;
const LOW_BITS = 0x5555_5555;

/** One event of a segment, with its candidates as bits: candidate `i` of the segment is bit `2 * i`. */
export interface Step {
  readonly event: number;
  readonly kind: 'map' | 'unmap' | 'flush';
  /** Who may have done it; whose it is, for a flush. */
  readonly allowed: number;
  /** For whom a map is what the tables have in the end. */
  readonly fitting: number;
  /** Who is flushed before the next step. */
  readonly flushedAfter: number;
}

/** A segment, prepared. */
export interface Steps {
  readonly steps: readonly Step[];
  /** The problem's candidate of each bit pair. */
  readonly locals: readonly number[];
  /** Who must be mapped as the tables have it. */
  readonly wanted: number;
  /** Who may end in any state, and needs no flush. */
  readonly gone: number;
  readonly hasFlushes: boolean;
}

/** The end of a flush: those of `mask` that waited for it are free. */
export function flush(state: number, mask: number): number {
  const stale = state & ~(state >>> 1) & LOW_BITS & mask;
  return state & ~stale;
}

/** The state after a step of candidate `local`; -1 if it cannot be. */
export function after(state: number, step: Step, local: number, { gone, hasFlushes }: Steps): number {
  const shift = 2 * local;
  const mine = (state >>> shift) & 3;
  if (step.kind === 'map') {
    if (mine !== FREE) return -1;
    return state | (((step.fitting >>> shift) & 1 ? MAPPED : MAPPED_OTHERWISE) << shift);
  }
  if (mine < MAPPED) return -1;
  const isFree = !hasFlushes || ((gone >>> shift) & 1) === 1;
  return (state & ~(3 << shift)) | ((isFree ? FREE : STALE) << shift);
}

/** Whether a segment may end so. */
export function isEnd(state: number, { wanted, gone }: Steps): boolean {
  const mapped = (state >>> 1) & LOW_BITS & ~gone;
  const otherwise = mapped & state;
  return mapped === wanted && otherwise === 0;
}

/**
 * Prepares a segment: one part for each group of candidates that no event connects with another's, so that what
 * is decided already does not multiply the states of what is not. A part is undefined if it has more candidates
 * than can be told apart.
 */
function prepare(problem: Problem, segment: Segment, sets: CandidateSets): (Steps | undefined)[] {
  const possible = segment.events.map((index) => possibleCandidates(problem, sets, index));
  return groups([...segment.ends.keys()], possible).map((locals) =>
    locals.length > MOST_LOCALS ? undefined : prepareGroup(problem, { segment, sets, locals, possible }),
  );
}

interface Group {
  readonly segment: Segment;
  readonly sets: CandidateSets;
  readonly locals: readonly number[];
  /** The candidates of each event of the segment. */
  readonly possible: readonly (readonly number[])[];
}

function prepareGroup(problem: Problem, { segment, locals, possible }: Group): Steps {
  const { events, candidates, hasFlushes, wideFlushes } = problem;
  const maskOf = (test: (candidate: number) => boolean): number =>
    locals.reduce((mask, candidate, i) => (test(candidate) ? mask | (1 << (2 * i)) : mask), 0);
  // An event that has no candidate left is in every group, so that no group has a way past it.
  const mine = segment.events
    .map((index, i) => ({ index, who: possible[i] ?? [] }))
    .filter(({ index, who }) => {
      if (who.length === 0) return events[index]?.kind !== 'flush';
      return locals.includes(who[0] ?? -1);
    });
  const steps = mine.flatMap(({ index, who }, i): Step[] => {
    const event = events[index];
    if (event === undefined) return [];
    const next = mine[i + 1]?.index ?? events.length;
    const flushedAfter = maskOf(
      (candidate) => (wideFlushes[candidate]?.[next] ?? 0) > (wideFlushes[candidate]?.[index] ?? 0),
    );
    const offset = event.kind === 'map' ? event.frame - event.page : Number.NaN;
    const fitting = maskOf((candidate) => segment.ends.get(candidate) === offset);
    const allowed = maskOf((candidate) => who.includes(candidate));
    return [{ event: index, kind: event.kind, allowed, fitting, flushedAfter }];
  });
  const wanted = maskOf((candidate) => segment.ends.has(candidate));
  const gone = maskOf((candidate) => candidates[candidate]?.ranges === undefined);
  return { steps, locals, wanted, gone, hasFlushes };
}

function possibleCandidates(problem: Problem, sets: CandidateSets, index: number): readonly number[] {
  if (problem.events[index]?.kind !== 'flush') return sets.of(index);
  const flushed = problem.flushed.get(index);
  return flushed === undefined ? [] : [flushed];
}

/** The groups of candidates that events connect; those that must be mapped are in one even without an event. */
function groups(wanted: readonly number[], possible: readonly (readonly number[])[]): number[][] {
  const groupOf = new Map<number, number[]>();
  const groupWith = (candidate: number): number[] => {
    const group = groupOf.get(candidate) ?? [candidate];
    groupOf.set(candidate, group);
    return group;
  };
  for (const candidate of wanted) groupWith(candidate);
  for (const who of possible) {
    const [first, ...rest] = who;
    if (first === undefined) continue;
    let group = groupWith(first);
    for (const other of rest) {
      const joined = groupWith(other);
      if (joined === group) continue;
      const [into, from] = group.length < joined.length ? [joined, group] : [group, joined];
      into.push(...from);
      for (const candidate of from) groupOf.set(candidate, into);
      group = into;
    }
  }
  const all = [...new Set(groupOf.values())];
  const isOrphan = all.length === 0 && possible.length > 0;
  return isOrphan ? [[]] : all.map((group) => group.sort((a, b) => a - b));
}

/** A set of states: dense where it can be. */
class StateSet {
  readonly #stamps = new Int32Array(1 << 16);
  readonly #rest = new Set<number>();
  #stamp = 0;

  clear(): void {
    this.#stamp++;
    this.#rest.clear();
  }

  has(state: number): boolean {
    return state >>> 16 === 0 ? this.#stamps[state] === this.#stamp : this.#rest.has(state);
  }

  /** Whether it was not there before. */
  add(state: number): boolean {
    if (this.has(state)) return false;
    if (state >>> 16 === 0) this.#stamps[state] = this.#stamp;
    else this.#rest.add(state);
    return true;
  }
}

export class SegmentStates {
  readonly #problem: Problem;
  readonly #sets: CandidateSets;
  #pool = new Int32Array(1 << 12);
  #size = 0;
  readonly #seen = new StateSet();
  readonly #other = new StateSet();
  /** States that were looked at so far, for whoever bounds the work. */
  work = 0;

  constructor(problem: Problem, sets: CandidateSets) {
    this.#problem = problem;
    this.#sets = sets;
  }

  /** The parts of a segment, as its candidates are now. */
  prepare(segment: Segment): (Steps | undefined)[] {
    this.work += segment.events.length * this.#sets.candidates;
    return prepare(this.#problem, segment, this.#sets);
  }

  /**
   * Takes away from each event of a segment the candidates that no way through the segment gives it.
   *
   * @param changed is told of each event that lost some
   * @returns whether there is a way through; undefined if there are too many states to say
   */
  narrow(segment: Segment, changed: (event: number) => void): boolean | undefined {
    let isPossible: boolean | undefined = true;
    for (const part of this.prepare(segment)) {
      const layers = part === undefined ? undefined : this.#forward(part);
      if (part === undefined || layers === undefined) isPossible = undefined;
      else if (!this.#backward(part, layers, changed)) return false;
    }
    return isPossible;
  }

  /** Fills the pool with the states before each step, and after the last; where each of these begins. */
  #forward(all: Steps): number[] | undefined {
    this.#size = 0;
    this.#push(0);
    const layers = [0];
    for (const step of all.steps) {
      const from = layers[layers.length - 1] ?? 0;
      const to = this.#size;
      layers.push(to);
      this.#seen.clear();
      for (let i = from; i < to; i++) this.#follow(this.#pool[i] ?? 0, step, all);
      this.work += (to - from) * all.locals.length;
      if (this.#size > MOST_STATES) return undefined;
    }
    layers.push(this.#size);
    return layers;
  }

  #follow(state: number, step: Step, all: Steps): void {
    if (step.kind === 'flush') {
      const next = flush(state, step.allowed | step.flushedAfter);
      if (this.#seen.add(next)) this.#push(next);
      return;
    }
    for (let rest = step.allowed; rest !== 0; rest &= rest - 1) {
      const next = after(state, step, lowest(rest), all);
      if (next === -1) continue;
      const flushed = flush(next, step.flushedAfter);
      if (this.#seen.add(flushed)) this.#push(flushed);
    }
  }

  #backward(all: Steps, layers: readonly number[], changed: (event: number) => void): boolean {
    let live = this.#seen;
    let next = this.#other;
    live.clear();
    let isPossible = false;
    const count = all.steps.length;
    for (let i = layers[count] ?? 0; i < this.#size; i++) {
      const state = this.#pool[i] ?? 0;
      if (isEnd(state, all) && live.add(state)) isPossible = true;
    }
    if (!isPossible) return false;
    for (let i = count - 1; i >= 0; i--) {
      const step = all.steps[i];
      if (step === undefined) continue;
      next.clear();
      let supported = 0;
      for (let at = layers[i] ?? 0; at < (layers[i + 1] ?? 0); at++) {
        const state = this.#pool[at] ?? 0;
        const by = this.#supporters(state, step, live, all);
        if (by !== 0) next.add(state);
        supported |= by;
      }
      if (step.kind !== 'flush') this.#restrict(step, supported, all.locals, changed);
      [live, next] = [next, live];
    }
    return true;
  }

  /** Who can do the step so that the end can be reached; any bit for a flush. */
  #supporters(state: number, step: Step, live: StateSet, all: Steps): number {
    if (step.kind === 'flush') return live.has(flush(state, step.allowed | step.flushedAfter)) ? 1 : 0;
    let by = 0;
    for (let rest = step.allowed; rest !== 0; rest &= rest - 1) {
      const next = after(state, step, lowest(rest), all);
      if (next !== -1 && live.has(flush(next, step.flushedAfter))) by |= rest & -rest;
    }
    return by;
  }

  #restrict(
    step: Step,
    supported: number,
    locals: readonly number[],
    changed: (event: number) => void,
  ): void {
    const lost = step.allowed & ~supported;
    if (lost === 0) return;
    for (let rest = lost; rest !== 0; rest &= rest - 1) {
      const candidate = locals[lowest(rest)];
      if (candidate !== undefined) this.#sets.remove(step.event, candidate);
    }
    changed(step.event);
  }

  #push(state: number): void {
    if (this.#size === this.#pool.length) {
      const wider = new Int32Array(this.#size * 2);
      wider.set(this.#pool);
      this.#pool = wider;
    }
    this.#pool[this.#size++] = state;
  }
}

/** The number of the lowest bit pair. */
const lowest = (mask: number): number => (31 - Math.clz32(mask & -mask)) >>> 1;
