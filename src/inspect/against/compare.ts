/**
 * Compares what a kernel's log says was mapped with what the tables say is mapped. The log names no device, so
 * an assignment of its events to the tables' domains is sought; what none explains is a difference. The log ends
 * before the tables are read: what a few events after its end explain is told apart (late.ts).
 *
 * Left out: rights, which the log does not have, and machines with several units, whose events the log mixes:
 * then, as wherever the log or the search is not complete, the verdict is never better than unknown.
 */
import { hex } from '../../base/index.js';
import { bdf } from '../bdf.js';
import type { Survey } from '../survey-types.js';
import { type Assignment, assignEvents, type Fault, MOST_WORK } from './assignment.js';
import { type Domains, findDomains, type Holder, type TableDomain } from './domains.js';
import { lateFaults } from './late.js';
import type { KernelLog } from './log.js';
import { type Candidate, cutProblem, type Problem } from './problem.js';

/** A run of pages, as far as it is known whose they are and where they lead. */
export interface Place {
  readonly page: number;
  readonly pages: number;
  /** What the tables, or else the event, lead the first page to. */
  readonly frame: number | undefined;
  readonly domain: number | undefined;
  readonly holder: Holder | undefined;
}

/** Something that no assignment explains. */
export interface Difference extends Partial<Place> {
  /** The event, by its line in the log; undefined where it is an entry of the tables. */
  readonly line: number | undefined;
  readonly text: string | undefined;
  readonly why: string;
}

/** What can only have changed after the log ended. */
export interface LateChange extends Place {
  readonly change: 'mapped' | 'unmapped';
  /** The event whose mapping is no more; undefined for what was mapped. */
  readonly line: number | undefined;
}

export interface AgainstReport {
  /** 'unknown': the log is not complete, something could not be compared, or the search hit its bound. */
  readonly verdict: 'pass' | 'fail' | 'unknown';
  readonly events: { readonly map: number; readonly unmap: number; readonly flush: number };
  /** How many maps and unmaps happened in each domain of the tables. */
  readonly assigned: readonly { readonly domain: number; readonly holder: Holder; readonly events: number }[];
  /** Maps and unmaps in domains that are gone. */
  readonly elsewhere: number;
  readonly late: readonly LateChange[];
  readonly differences: readonly Difference[];
  /** Why it is not certain, one sentence each. */
  readonly doubts: readonly string[];
}

/** Compares; `mostWork` bounds the search. */
export function compareWithLog(survey: Survey, log: KernelLog, mostWork = MOST_WORK): AgainstReport {
  const domains = findDomains(survey, log);
  const certain = knownDifferences(domains, log);
  const doubts = log.gaps.map(({ why }) => why);
  const solved = solve(domains, log, mostWork);
  if (solved === undefined) doubts.push('The log and the tables are too large to compare.');
  const late = solved === undefined ? new Set<Fault>() : lateFaults(solved.problem, solved.assignment);
  const faults = solved?.assignment.faults.filter((fault) => !late.has(fault)) ?? [];
  if (faults.length > 0 && solved?.assignment.isProven === false) {
    doubts.push('The search hit its bound: an assignment that it did not find may explain more.');
  }
  const found = solved === undefined ? [] : merged(faults).map((run) => describe(run, solved, log));
  const isFailed = certain.length > 0 || (found.length > 0 && doubts.length === 0);
  doubts.push(...domains.notCompared);
  const owned = solved === undefined ? new Map<number, number>() : countOwned(solved);
  const count = (kind: string): number => log.events.filter((event) => event.kind === kind).length;
  return {
    verdict: isFailed ? 'fail' : doubts.length > 0 ? 'unknown' : 'pass',
    events: { map: count('map'), unmap: count('unmap'), flush: count('flush') },
    assigned: domains.tables.map(({ domain, holder }) => ({
      domain,
      holder,
      events: owned.get(domain) ?? 0,
    })),
    elsewhere: owned.get(ELSEWHERE) ?? 0,
    late: solved === undefined ? [] : lateChanges(late, solved.problem),
    differences: [...certain, ...found],
    doubts,
  };
}

/** What the tables and the log's account of domains say without any search. */
function knownDifferences({ disagreements, missing }: Domains, log: KernelLog): Difference[] {
  return [
    ...disagreements.map(({ domain, holder, other, range }) => ({
      ...range,
      domain,
      holder,
      line: undefined,
      text: undefined,
      why: `${nameOf(other)} has the same domain id, and does not map this so`,
    })),
    ...missing.map(({ line, domain }) => ({
      domain,
      line,
      text: log.text(line),
      why: `no entry of the tables names domain ${domain}`,
    })),
  ];
}

/** `00:03.0`, or `00:03.0 PASID 5`. */
export const nameOf = ({ rid, pasid }: Holder): string =>
  pasid === 0 ? bdf(rid) : `${bdf(rid)} PASID ${pasid}`;

interface Solved {
  readonly problem: Problem;
  readonly assignment: Assignment;
}

/**
 * Searches among the domains that map something or were flushed first: any other one can only have mapped what
 * it unmapped at the very end of the log. Those come in where there are faults without them.
 */
function solve({ tables, gone }: Domains, log: KernelLog, mostWork: number): Solved | undefined {
  const flushed = new Set(log.events.flatMap((event) => (event.kind === 'flush' ? [event.domain] : [])));
  const likely = tables.filter(({ domain, ranges }) => ranges.length > 0 || flushed.has(domain));
  const solveWith = (some: readonly TableDomain[]): Solved | undefined => {
    const candidates: Candidate[] = [...some, ...gone];
    const problem = cutProblem(log.events, candidates);
    return problem && { problem, assignment: assignEvents(problem, mostWork) };
  };
  const first = solveWith(likely);
  const count = first?.assignment.faults.length ?? 0;
  if (first === undefined || count === 0 || likely.length === tables.length) return first;
  const second = solveWith(tables);
  if (second === undefined) return undefined;
  if (second.assignment.faults.length < count) return second;
  const { isProven } = second.assignment;
  return { problem: first.problem, assignment: { ...first.assignment, isProven } };
}

const ELSEWHERE = -1;

/** Maps and unmaps by their domain. */
function countOwned({ problem, assignment }: Solved): Map<number, number> {
  const counts = new Map<number, number>();
  assignment.owners.forEach((owner) => {
    const candidate = problem.candidates[owner];
    if (candidate === undefined) return;
    const domain = candidate.ranges === undefined ? ELSEWHERE : candidate.domain;
    counts.set(domain, (counts.get(domain) ?? 0) + 1);
  });
  return counts;
}

/** Faults of one kind, of one event and candidate, on segments next to each other. */
interface Run {
  readonly fault: Fault;
  pages: number;
}

function merged(faults: readonly Fault[]): Run[] {
  const runs: Run[] = [];
  /** The run that may go on, by what it is of. */
  const open = new Map<string, Run>();
  for (const fault of [...faults].sort((a, b) => a.segment.page - b.segment.page)) {
    const { kind, event, candidate, segment } = fault;
    const offset = kind === 'entry' ? segment.ends.get(candidate ?? -1) : undefined;
    const key = [kind, event, candidate, offset].join();
    const run = open.get(key);
    if (run !== undefined && run.fault.segment.page + run.pages === segment.page) {
      run.pages += segment.pages;
    } else {
      const next = { fault, pages: segment.pages };
      open.set(key, next);
      runs.push(next);
    }
  }
  return runs;
}

function lateChanges(late: Iterable<Fault>, problem: Problem): LateChange[] {
  return merged([...late]).map((run) => {
    const line = run.fault.event === undefined ? undefined : problem.events[run.fault.event]?.line;
    const change = run.fault.kind === 'left' ? 'unmapped' : 'mapped';
    return { ...placeOf(run, problem), change, line };
  });
}

function placeOf({ fault, pages }: Run, { events, candidates }: Problem): Place {
  const { page, ends } = fault.segment;
  const candidate = fault.candidate === undefined ? undefined : candidates[fault.candidate];
  const event = fault.event === undefined ? undefined : events[fault.event];
  const mapped = event?.kind === 'map' ? event.frame - event.page : undefined;
  const offset = ends.get(fault.candidate ?? -1) ?? mapped;
  return {
    page,
    pages,
    frame: offset === undefined ? undefined : page + offset,
    domain: candidate?.domain,
    holder: (candidate as TableDomain | undefined)?.holder,
  };
}

/** A fault as a difference: an event where there is one to blame, else the entry. */
function describe(run: Run, { problem }: Solved, log: KernelLog): Difference {
  const place = placeOf(run, problem);
  const { kind, event: index } = run.fault;
  const event = index === undefined ? undefined : problem.events[index];
  const line = event?.line;
  const text = line === undefined ? undefined : log.text(line);
  return { ...place, line, text, why: whyOf(kind, place, { isMap: event?.kind === 'map' }) };
}

function whyOf(kind: Fault['kind'], { domain, frame }: Place, { isMap }: { isMap: boolean }): string {
  switch (kind) {
    case 'event':
      return isMap
        ? 'every domain that could have mapped this has it mapped already, or has it otherwise in the end'
        : 'it was not mapped in any domain that could have unmapped it';
    case 'unflushed':
      return `domain ${domain} maps this again, and was not flushed since it was unmapped`;
    case 'left':
      return `nothing in the log unmaps it, and the tables of domain ${domain} do not have it`;
    case 'entry':
      return `the tables of domain ${domain} have it, and the log does not`;
    case 'frame':
      return `the tables of domain ${domain} lead it to ${hex(BigInt(frame ?? 0) * 4096n)}`;
    case 'unknown':
      return 'too many domains have events or entries here to tell them apart';
  }
}
