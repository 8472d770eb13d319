/**
 * The domains that the events of a log can have happened in: those that the tables name, and those that the log
 * took back from their last device, whose end nobody can see. What the tables and the log's own account of
 * domains say differently is found here already.
 *
 * Not compared: what `iommu:map` does not make. That is a guest's first stage (nested), and the page tables of
 * processes, which Linux gives to devices under domain id 1 (FLPT_DEFAULT_DID, drivers/iommu/intel/pasid.h).
 */
import { bdf } from '../bdf.js';
import type { MappedRange, PasidSurvey, Survey } from '../survey-types.js';
import type { DomainEvent, KernelLog } from './log.js';
import type { Candidate, TableRange } from './problem.js';

/** One PASID of one device that has a domain. */
export interface Holder {
  readonly rid: number;
  readonly pasid: number;
}

/** A domain of the tables. */
export interface TableDomain extends Candidate {
  readonly ranges: readonly TableRange[];
  /** The first of those that have it: what is said of the domain is said with this one's name. */
  readonly holder: Holder;
}

/** Pages that two holders of one domain see differently. */
export interface Disagreement {
  readonly domain: number;
  readonly holder: Holder;
  readonly other: Holder;
  readonly range: TableRange;
}

export interface Domains {
  readonly tables: readonly TableDomain[];
  /** Domains whose end is not in the tables. */
  readonly gone: readonly Candidate[];
  readonly disagreements: readonly Disagreement[];
  /** Domains that the log has, and the tables should. */
  readonly missing: readonly DomainEvent[];
  /** What was not compared, one sentence each. */
  readonly notCompared: readonly string[];
}

const PROCESS_DOMAIN = 1;

/** Finds all domains. */
export function findDomains(survey: Survey, log: KernelLog): Domains {
  const tables = new Map<number, TableDomain>();
  const known = new Set<number>();
  const disagreements: Disagreement[] = [];
  const notCompared: string[] = [];
  for (const { rid, pasids } of survey.devices) {
    for (const survey of pasids) {
      known.add(survey.domain);
      const why = whyNotCompared(survey);
      if (why !== undefined) notCompared.push(`${bdf(rid)} PASID ${survey.pasid} is not compared: ${why}.`);
      if (why !== undefined || survey.translation === 'pass-through') continue;
      const holder = { rid, pasid: survey.pasid };
      const ranges = withoutRights(survey.ranges);
      const first = tables.get(survey.domain);
      if (first === undefined) tables.set(survey.domain, { domain: survey.domain, ranges, holder });
      else disagreements.push(...disagree(first, { holder, ranges }));
    }
  }
  const { gone, missing } = ended(log.domains, known);
  return { tables: [...tables.values()], gone, disagreements, missing, notCompared };
}

function whyNotCompared({ translation, pasid, domain }: PasidSurvey): string | undefined {
  if (translation === 'nested') return 'its first stage is of a guest, which the log does not know';
  const isProcess = translation === 'first-stage' && pasid !== 0 && domain === PROCESS_DOMAIN;
  return isProcess ? 'its tables are those of a process, which the log does not know' : undefined;
}

/** Ranges that differ in their rights only are one here. */
function withoutRights(ranges: readonly MappedRange[]): TableRange[] {
  const merged: { page: number; frame: number; pages: number }[] = [];
  for (const { page, frame, pages } of ranges) {
    const last = merged[merged.length - 1];
    if (last !== undefined && last.page + last.pages === page && last.frame + last.pages === frame) {
      last.pages += pages;
    } else {
      merged.push({ page, frame, pages });
    }
  }
  return merged;
}

/** Pages that are not the same in two holders' tables. */
function disagree(
  first: TableDomain,
  second: { readonly holder: Holder; readonly ranges: readonly TableRange[] },
): Disagreement[] {
  const named = (holder: Holder, other: Holder) => (range: TableRange) => ({
    domain: first.domain,
    holder,
    other,
    range,
  });
  return [
    ...without(second.ranges, first.ranges).map(named(second.holder, first.holder)),
    ...without(first.ranges, second.ranges).map(named(first.holder, second.holder)),
  ];
}

/** The parts of ascending `ranges` that `others` does not hold with the same frames. */
function without(ranges: readonly TableRange[], others: readonly TableRange[]): TableRange[] {
  const left: TableRange[] = [];
  let from = 0;
  for (const { page, frame, pages } of ranges) {
    const end = page + pages;
    let at = page;
    const keep = (to: number): void => {
      if (to > at) left.push({ page: at, frame: frame + (at - page), pages: to - at });
    };
    while (from < others.length && endOf(others[from]) <= page) from++;
    for (let i = from; at < end; i++) {
      const other = others[i];
      if (other === undefined || other.page >= end) break;
      if (other.frame - other.page !== frame - page) continue;
      keep(Math.max(other.page, at));
      at = Math.max(at, Math.min(endOf(other), end));
    }
    keep(end);
  }
  return left;
}

const endOf = (range: TableRange | undefined): number => (range === undefined ? 0 : range.page + range.pages);

function ended(
  events: readonly DomainEvent[],
  known: ReadonlySet<number>,
): { gone: Candidate[]; missing: DomainEvent[] } {
  const gone: Candidate[] = [];
  const alive = new Map<number, DomainEvent>();
  for (const event of events) {
    if (event.kind === 'assign') {
      if (!alive.has(event.domain)) alive.set(event.domain, event);
    } else {
      alive.delete(event.domain);
      gone.push({ domain: event.domain, ranges: undefined });
    }
  }
  const missing = [...alive.values()].filter(({ domain }) => !known.has(domain));
  return { gone: [...gone, ...missing.map(({ domain }) => ({ domain, ranges: undefined }))], missing };
}
