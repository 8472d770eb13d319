/**
 * What a few events after the log's end explain. A network driver renews a buffer for every packet: it unmaps
 * one and maps another, at an address that was free. So a domain's faults are late changes if
 * - the log shows the domain at work (it has unmapped something there),
 * - as many pages were unmapped as were mapped, and few of them; or more were mapped, where the log ends between an
 *   unmap and its map, so that the domain holds no more than it held a little before,
 * - what was unmapped was all of what one event mapped,
 * - what was mapped lies where the domain's own past has left an address free (Linux hands out freed addresses
 *   again first, then new ones from the top down). If it leads where it led before it was unmapped, it looks like
 *   what a bad unmap leaves behind: then something must have gone for it.
 */
import type { Assignment, Fault } from './assignment.js';
import type { LogEvent, MappingEvent } from './log.js';
import type { Problem, Segment } from './problem.js';

/** Pages of a domain that are taken for late changes at most, mapped and unmapped ones each. */
export const MOST_LATE = 16;

/** Own events that a domain has done a little before: for each of the late changes an unmap and a map. */
const RECENT = 2 * MOST_LATE;

/** The faults that are late changes. */
export function lateFaults(problem: Problem, assignment: Assignment): ReadonlySet<Fault> {
  const late = new Set<Fault>();
  const byCandidate = new Map<number, Fault[]>();
  for (const fault of assignment.faults) {
    if (fault.candidate === undefined) continue;
    const faults = byCandidate.get(fault.candidate) ?? [];
    faults.push(fault);
    byCandidate.set(fault.candidate, faults);
  }
  for (const [candidate, faults] of byCandidate) {
    const past = new Past(problem, assignment, candidate);
    if (!past.hasUnmapped) continue;
    const ends = faults.filter(({ kind }) => kind === 'left');
    const left = wholes(problem, ends);
    const likely = past.likely(faults.filter(({ kind }) => kind === 'entry'));
    const entries = past.withoutStale(likely, pagesOf(left));
    const surplus = pagesOf(entries) - pagesOf(left);
    // What is gone and not explained may be what left the room.
    const room = left.length === ends.length ? past.room : 0;
    if (surplus < 0 || surplus > room || pagesOf(entries) > MOST_LATE) continue;
    for (const fault of [...left, ...entries]) late.add(fault);
  }
  return late;
}

const pagesOf = (faults: readonly Fault[]): number =>
  faults.reduce((pages, { segment }) => pages + segment.pages, 0);

/** The faults of those events of which all that they mapped is among the faults. */
function wholes({ events }: Problem, faults: readonly Fault[]): Fault[] {
  const pages = new Map<number, number>();
  for (const { event = -1, segment } of faults) pages.set(event, (pages.get(event) ?? 0) + segment.pages);
  return faults.filter(({ event: index = -1 }) => {
    const event = events[index];
    return event?.kind === 'map' && pages.get(index) === event.pages;
  });
}

/** What the log says of one domain. */
class Past {
  readonly #problem: Problem;
  readonly #candidate: number;
  readonly #isOwner: (event: number) => boolean;
  readonly hasUnmapped: boolean;
  /** How many pages it held a little before, beyond those that it holds at the end. */
  readonly room: number;
  /** The lowest page that the domain's events were about. */
  readonly #lowest: number;

  constructor(problem: Problem, { owners }: Assignment, candidate: number) {
    this.#problem = problem;
    this.#candidate = candidate;
    this.#isOwner = (event) => owners[event] === candidate;
    const mine = problem.events.filter(
      (event, i): event is MappingEvent => event.kind !== 'flush' && this.#isOwner(i),
    );
    this.hasUnmapped = mine.some(({ kind }) => kind === 'unmap');
    this.room = roomOf(mine.slice(-RECENT));
    this.#lowest = mine.reduce((lowest, { page }) => Math.min(lowest, page), Number.POSITIVE_INFINITY);
  }

  /** Those of the entries that lie where new mappings would. */
  likely(entries: readonly Fault[]): Fault[] {
    let lowest = this.#lowest;
    const downwards = [...entries].sort((a, b) => b.segment.page - a.segment.page);
    return downwards.filter(({ segment }) => {
      const isNext = segment.page + segment.pages === lowest;
      if (isNext) lowest = segment.page;
      return isNext || this.#last(segment)?.kind === 'unmap';
    });
  }

  /** The entries but for those that lead where they led before, unless no more of these came than `left` pages. */
  withoutStale(entries: readonly Fault[], left: number): readonly Fault[] {
    const isStale = ({ segment }: Fault): boolean => {
      const map = this.#last(segment, 'map');
      return map?.kind === 'map' && segment.ends.get(this.#candidate) === map.frame - map.page;
    };
    const stale = entries.filter(isStale);
    return pagesOf(stale) <= left ? entries : entries.filter((entry) => !stale.includes(entry));
  }

  /** What the domain did with a segment last, or what of one kind. */
  #last(segment: Segment, kind?: MappingEvent['kind']): LogEvent | undefined {
    const { events } = this.#problem;
    const isIt = (i: number): boolean =>
      kind === undefined ? events[i]?.kind !== 'flush' : events[i]?.kind === kind;
    const index = segment.events.findLast((i) => isIt(i) && this.#isOwner(i));
    return index === undefined ? undefined : events[index];
  }
}

/** How many pages more than after the last of these events were held before one of them. */
function roomOf(events: readonly MappingEvent[]): number {
  let [held, most] = [0, 0];
  for (const { kind, pages } of events) {
    held += kind === 'map' ? pages : -pages;
    most = Math.max(most, held);
  }
  return most - held;
}
