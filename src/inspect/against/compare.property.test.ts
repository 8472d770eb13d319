/**
 * The comparison against simulated kernels: what a simulation wrote is always explained, and whether a log with
 * a fault is explained is what trying all assignments one by one says.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../base/index.js';
import type { DeviceSurvey, MappedRange, Survey } from '../survey-types.js';
import { compareWithLog } from './compare.js';
import { type KernelLog, type LogEvent, parseLog } from './log.js';

const PAGES = 6;
const DOMAINS = [2, 3];

interface Run {
  events: LogEvent[];
  /** Of each domain: page → frame. */
  tables: Map<number, Map<number, number>>;
}

/** A kernel with a few domains on a few pages: maps what is free, unmaps what it mapped, flushes now and then. */
function simulate(seed: number, steps: number): Run {
  const random = new Random(seed);
  const tables = new Map(DOMAINS.map((domain) => [domain, new Map<number, number>()]));
  const stale = new Map(DOMAINS.map((domain) => [domain, new Set<number>()]));
  const events: LogEvent[] = [];
  for (let line = 1; line <= steps; line++) {
    const domain = DOMAINS[random.below(DOMAINS.length)] ?? 0;
    const [table, waiting] = [
      tables.get(domain) ?? new Map<number, number>(),
      stale.get(domain) ?? new Set<number>(),
    ];
    const page = random.below(PAGES);
    const pages = 1 + random.below(PAGES - page);
    const run = Array.from({ length: pages }, (_, i) => page + i);
    const kind = random.below(5);
    if (kind === 4) {
      const isAll = random.below(2) === 0;
      const [first, last] = isAll ? [0, 2 ** 52 - 1] : [page, page + pages - 1];
      for (const each of [...waiting]) if (each >= first && each <= last) waiting.delete(each);
      events.push({ kind: 'flush', line, page: first, last, domain });
    } else if (kind < 2 && run.every((each) => table.has(each))) {
      for (const each of run) table.delete(each);
      for (const each of run) waiting.add(each);
      events.push({ kind: 'unmap', line, page, pages });
    } else if (run.every((each) => !table.has(each) && !waiting.has(each))) {
      const frame = 16 + random.below(4);
      run.forEach((each, i) => {
        table.set(each, frame + i);
      });
      events.push({ kind: 'map', line, page, pages, frame });
    }
  }
  return { events, tables };
}

function print(events: readonly LogEvent[]): KernelLog {
  const hex = (page: number): string => `0x${(BigInt(page) * 4096n).toString(16).padStart(16, '0')}`;
  const texts = events.map((event) => {
    if (event.kind === 'flush') {
      const last = (BigInt(event.last) * 4096n + 4095n).toString(16);
      const range = `[${(hex(event.page)).replace(/0x0*(?=.)/, '0x')}-0x${last}]`;
      return `cache_tag_flush_range: dmar0 dmar0[0] type iotlb did ${event.domain} ${range} addr 0x0 mask 0x34`;
    }
    const size = event.pages * 4096;
    const range = `iova=${hex(event.page)} - ${hex(event.page + event.pages)}`;
    return event.kind === 'map'
      ? `map: IOMMU: ${range} paddr=${hex(event.frame)} size=${size}`
      : `unmap: IOMMU: ${range} size=${size} unmapped_size=${size}`;
  });
  const lines = texts.map((text, i) => `          insmod-108     [000] .....     1.${100000 + i}: ${text}\r`);
  const log = parseLog(['==TRACE\r', '# tracer: nop\r', ...lines, '==READY\r', ''].join('\n'));
  if (!('events' in log)) throw log;
  return log;
}

function surveyOf(tables: Run['tables']): Survey {
  const devices = [...tables].map(([domain, table]): DeviceSurvey => {
    const ranges: MappedRange[] = [];
    for (const [page, frame] of [...table].sort(([a], [b]) => a - b)) {
      ranges.push({ page, frame, pages: 1, rights: 3 });
    }
    const pasid = { pasid: 0, translation: 'second-stage', domain, canExecute: false } as const;
    return { rid: 8 * domain, pasids: [{ ...pasid, root: domain, secondRoot: undefined, ranges }] };
  });
  return { devices, problems: [], tables: new Map() };
}

/** Whether any of all assignments explains everything. */
function isExplained({ events, tables }: Run): boolean {
  const movable = events.filter(({ kind }) => kind !== 'flush').length;
  for (let choice = 0; choice < DOMAINS.length ** movable; choice++) {
    if (explains(events, tables, choice)) return true;
  }
  return false;
}

function explains(events: readonly LogEvent[], tables: Run['tables'], choice: number): boolean {
  const hasFlushes = events.some(({ kind }) => kind === 'flush');
  const now = new Map(DOMAINS.map((domain) => [domain, new Map<number, number | 'stale'>()]));
  let rest = choice;
  for (const event of events) {
    if (event.kind === 'flush') {
      const state = now.get(event.domain) ?? new Map();
      for (const [page, at] of state)
        if (at === 'stale' && page >= event.page && page <= event.last) state.delete(page);
      continue;
    }
    const state = now.get(DOMAINS[rest % DOMAINS.length] ?? 0) ?? new Map();
    rest = Math.floor(rest / DOMAINS.length);
    for (let i = 0; i < event.pages; i++) {
      const page = event.page + i;
      const at = state.get(page);
      if (event.kind === 'map') {
        if (at !== undefined) return false;
        state.set(page, event.frame + i);
      } else {
        if (typeof at !== 'number') return false;
        if (hasFlushes) state.set(page, 'stale');
        else state.delete(page);
      }
    }
  }
  return DOMAINS.every((domain) => {
    const mapped = [...(now.get(domain) ?? [])].filter(([, at]) => at !== 'stale');
    const table = tables.get(domain) ?? new Map();
    return mapped.length === table.size && mapped.every(([page, at]) => table.get(page) === at);
  });
}

/** Spoils one thing; which, the seed says. */
function spoil({ events, tables }: Run, seed: number): Run {
  const random = new Random(seed);
  const domain = DOMAINS[random.below(DOMAINS.length)] ?? 0;
  const table = new Map(tables.get(domain));
  const page = random.below(PAGES);
  const spoilt = [...events];
  const at = random.below(Math.max(events.length, 1));
  const event = events[at];
  switch (random.below(4)) {
    case 0:
      table.delete(page);
      break;
    case 1:
      table.set(page, 16 + random.below(8));
      break;
    case 2:
      spoilt.splice(at, 1);
      break;
    default:
      if (event?.kind === 'map') spoilt[at] = { ...event, frame: event.frame + 1 };
  }
  return { events: spoilt, tables: new Map([...tables, [domain, table]]) };
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

describe('a simulated kernel', () => {
  test('leaves no difference', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 0, max: 120 }), (seed, steps) => {
        const { events, tables } = simulate(seed, steps);
        const report = compareWithLog(surveyOf(tables), print(events));
        expect(report).toMatchObject({ verdict: 'pass', differences: [], late: [], doubts: [] });
      }),
      { numRuns: 300 },
    );
  });

  test('is never found wrong by a search that may not work', () => {
    let unknown = 0;
    fc.assert(
      fc.property(seeds, (seed) => {
        const { events, tables } = simulate(seed, 200);
        const { verdict } = compareWithLog(surveyOf(tables), print(events), 0);
        expect(verdict).not.toBe('fail');
        if (verdict === 'unknown') unknown++;
      }),
      { numRuns: 200 },
    );
    expect(unknown).toBeGreaterThan(0);
  });

  test('with something spoilt, is explained just where some assignment explains it', () => {
    let explained = 0;
    let unexplained = 0;
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 14 }), (seed, steps) => {
        const run = spoil(simulate(seed, steps), seed);
        const report = compareWithLog(surveyOf(run.tables), print(run.events));
        const isClean = report.differences.length === 0 && report.late.length === 0;
        expect(isClean).toBe(isExplained(run));
        expect(report.verdict).toBe(report.differences.length === 0 ? 'pass' : 'fail');
        if (isClean) explained++;
        else unexplained++;
      }),
      { numRuns: 600 },
    );
    expect(Math.min(explained, unexplained)).toBeGreaterThan(50);
  });
});
