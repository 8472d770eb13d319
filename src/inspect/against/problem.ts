/**
 * The question that an assignment answers, cut into pieces: the page numbers are cut wherever an event or a
 * range of the tables begins or ends, so that within a segment all pages have the same history and the same
 * end. On each segment, every event has to happen in one of the domains, so that in each domain a map finds its
 * pages unmapped and an unmap finds them mapped, a page is mapped again only after its domain was flushed (Linux
 * frees an address only then: drivers/iommu/dma-iommu.c, the flush queue), and the end is what the tables say.
 */
import type { FlushEvent, LogEvent } from './log.js';

/** Pages of a domain that lead to frames. */
export interface TableRange {
  readonly page: number;
  readonly frame: number;
  readonly pages: number;
}

/** A domain that events can happen in. */
export interface Candidate {
  /** The domain id. */
  readonly domain: number;
  /** What the tables say of it, ascending; undefined where they need not say anything, as it is gone. */
  readonly ranges: readonly TableRange[] | undefined;
}

/** Pages with one history and one end. */
export interface Segment {
  readonly page: number;
  readonly pages: number;
  /** Events that touch it, in their order: indices of {@link Problem.events}. */
  readonly events: readonly number[];
  /** Candidates whose tables map it → frame less page. */
  readonly ends: ReadonlyMap<number, number>;
}

export interface Problem {
  readonly events: readonly LogEvent[];
  readonly candidates: readonly Candidate[];
  readonly segments: readonly Segment[];
  /** The candidate that a flush names, by the event's index; absent for domains that are not candidates. */
  readonly flushed: ReadonlyMap<number, number>;
  /** Whether the log has flushes at all: only then do they restrict anything. */
  readonly hasFlushes: boolean;
  /** How many flushes of all pages a candidate had before an event: by candidate, then by event. */
  readonly wideFlushes: readonly Uint32Array[];
  /** First and last segment that an event touches; a first of -1 for none. */
  readonly reach: readonly { readonly first: number; readonly last: number }[];
}

/** More pairs of event and segment than this are not looked at: it is beyond any log that a console prints. */
const MOST_PAIRS = 8_000_000;

/** Cuts the question into segments; undefined if there are too many. */
export function cutProblem(
  events: readonly LogEvent[],
  candidates: readonly Candidate[],
): Problem | undefined {
  const span = spanOf(events, candidates);
  const isWide = (event: FlushEvent): boolean => event.page <= span.first && event.last >= span.last;
  const touching = (event: LogEvent): { first: number; end: number } | undefined => {
    if (event.kind !== 'flush') {
      return event.pages === 0 ? undefined : { first: event.page, end: event.page + event.pages };
    }
    if (isWide(event)) return undefined;
    const first = Math.max(event.page, span.first);
    const end = Math.min(event.last, span.last) + 1;
    return first < end ? { first, end } : undefined;
  };
  const starts = cuts(events, candidates, touching);
  const found = reaches(events, starts, touching);
  if (found === undefined) return undefined;
  const flushes = events.filter((event) => event.kind === 'flush');
  return {
    events,
    candidates,
    segments: segments(starts, found, candidates),
    flushed: flushedCandidates(events, candidates),
    hasFlushes: flushes.length > 0,
    wideFlushes: candidates.map(({ domain }) => wideFlushes(events, domain, isWide)),
    reach: found,
  };
}

type Touching = (event: LogEvent) => { first: number; end: number } | undefined;

/** First and last page that anything but a flush is about. */
function spanOf(
  events: readonly LogEvent[],
  candidates: readonly Candidate[],
): { first: number; last: number } {
  let first = Number.POSITIVE_INFINITY;
  let last = -1;
  const add = ({ page, pages }: { page: number; pages: number }): void => {
    first = Math.min(first, page);
    last = Math.max(last, page + pages - 1);
  };
  for (const event of events) if (event.kind !== 'flush') add(event);
  for (const { ranges } of candidates) ranges?.forEach(add);
  return { first, last };
}

/** Where segments begin, ascending; the last one is where the last of them ends. */
function cuts(
  events: readonly LogEvent[],
  candidates: readonly Candidate[],
  touching: Touching,
): Float64Array {
  const places: number[] = [];
  for (const event of events) {
    const run = touching(event);
    if (run !== undefined) places.push(run.first, run.end);
  }
  for (const { ranges } of candidates) {
    for (const { page, pages } of ranges ?? []) places.push(page, page + pages);
  }
  const sorted = Float64Array.from(places).sort();
  return sorted.filter((place, i) => i === 0 || place !== sorted[i - 1]);
}

/** The last of the ascending `starts` that is not above `page`. */
function indexOf(starts: Float64Array, page: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((starts[middle] ?? 0) <= page) low = middle;
    else high = middle;
  }
  return low;
}

function reaches(
  events: readonly LogEvent[],
  starts: Float64Array,
  touching: Touching,
): { first: number; last: number }[] | undefined {
  let pairs = 0;
  const reach = events.map((event) => {
    const run = touching(event);
    if (run === undefined) return { first: -1, last: -2 };
    const first = indexOf(starts, run.first);
    const last = indexOf(starts, run.end) - 1;
    pairs += last - first + 1;
    return { first, last };
  });
  return pairs > MOST_PAIRS ? undefined : reach;
}

function segments(
  starts: Float64Array,
  reach: readonly { first: number; last: number }[],
  candidates: readonly Candidate[],
): Segment[] {
  const found = Array.from({ length: Math.max(starts.length - 1, 0) }, (_, i) => ({
    page: starts[i] ?? 0,
    pages: (starts[i + 1] ?? 0) - (starts[i] ?? 0),
    events: [] as number[],
    ends: new Map<number, number>(),
  }));
  reach.forEach(({ first, last }, event) => {
    for (let i = first; i <= last; i++) found[i]?.events.push(event);
  });
  candidates.forEach(({ ranges }, candidate) => {
    for (const { page, frame, pages } of ranges ?? []) {
      const end = indexOf(starts, page + pages);
      for (let i = indexOf(starts, page); i < end; i++) found[i]?.ends.set(candidate, frame - page);
    }
  });
  return found;
}

function flushedCandidates(
  events: readonly LogEvent[],
  candidates: readonly Candidate[],
): Map<number, number> {
  const byDomain = new Map<number, number>();
  candidates.forEach(({ domain, ranges }, i) => {
    if (ranges !== undefined) byDomain.set(domain, i);
  });
  const flushed = new Map<number, number>();
  events.forEach((event, i) => {
    const candidate = event.kind === 'flush' ? byDomain.get(event.domain) : undefined;
    if (candidate !== undefined) flushed.set(i, candidate);
  });
  return flushed;
}

function wideFlushes(
  events: readonly LogEvent[],
  domain: number,
  isWide: (event: FlushEvent) => boolean,
): Uint32Array {
  const counts = new Uint32Array(events.length + 1);
  let count = 0;
  events.forEach((event, i) => {
    counts[i] = count;
    if (event.kind === 'flush' && event.domain === domain && isWide(event)) count++;
  });
  counts[events.length] = count;
  return counts;
}
