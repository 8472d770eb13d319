/**
 * What a few events after the log's end explain. A network driver renews a buffer for every packet: it unmaps
 * one and maps another, at an address that was free. So a domain's faults are late changes if
 * - the log shows the domain at work (it has unmapped something there),
 * - as many pages were unmapped as were mapped, and few of them,
 * - what was unmapped was all of what one event mapped,
 * - what was mapped lies where the domain's own past has left an address free (Linux hands out freed addresses
 *   again first, then new ones from the top down).
 */
import type { Assignment, Fault } from './assignment.js';
import type { Problem, Segment } from './problem.js';

/** Pages of a domain that are taken for late changes at most, mapped and unmapped ones each. */
export const MOST_LATE = 16;

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
    const ends = faults.filter(({ kind }) => kind === 'left');
    const left = wholes(problem, ends);
    const entries = past.likely(faults.filter(({ kind }) => kind === 'entry'));
    const pages = pagesOf(left);
    if (!past.hasUnmapped || pages > MOST_LATE || pages !== pagesOf(entries)) continue;
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
  readonly #isOwner: (event: number) => boolean;
  readonly hasUnmapped: boolean;
  /** The lowest page that the domain's events were about. */
  readonly #lowest: number;

  constructor(problem: Problem, { owners }: Assignment, candidate: number) {
    this.#problem = problem;
    this.#isOwner = (event) => owners[event] === candidate;
    const mine = problem.events.filter((_, i) => this.#isOwner(i));
    this.hasUnmapped = mine.some(({ kind }) => kind === 'unmap');
    this.#lowest = mine.reduce((lowest, { page }) => Math.min(lowest, page), Number.POSITIVE_INFINITY);
  }

  /** Those of the entries that lie where new mappings would. */
  likely(entries: readonly Fault[]): Fault[] {
    let lowest = this.#lowest;
    const downwards = [...entries].sort((a, b) => b.segment.page - a.segment.page);
    return downwards.filter(({ segment }) => {
      const isNext = segment.page + segment.pages === lowest;
      if (isNext) lowest = segment.page;
      return isNext || this.#isFreed(segment);
    });
  }

  /** Whether the domain has unmapped a segment last. A driver may map the same buffer there again. */
  #isFreed(segment: Segment): boolean {
    const { events } = this.#problem;
    const mine = segment.events.filter((i) => events[i]?.kind !== 'flush' && this.#isOwner(i));
    return events[mine[mine.length - 1] ?? -1]?.kind === 'unmap';
  }
}
