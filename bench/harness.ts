/**
 * What every benchmark is made of. A suite builds its cases one at a time: a rate (how often a second something
 * can be done) or a figure (bytes, collections, a ratio), each with the target it has to reach and what Linux
 * needs for the same, where that is known.
 *
 * A rate is measured in batches, so that the clock is read once for many operations: the median over at least
 * 20 batches is the result of one run. A run that misses its target is repeated, up to five times, and the best
 * run counts: what else a machine does can only slow a benchmark down. The machine is named with the result, for
 * the figures mean nothing without it.
 */
import { cpus, loadavg } from 'node:os';
import { PerformanceObserver } from 'node:perf_hooks';
import { Bench } from 'tinybench';

export interface Rate {
  readonly name: string;
  /** How many operations one call of `run` does. */
  readonly batch: number;
  /** Does them, on what was made ready before. */
  readonly run: () => void;
  /** Operations a second, at least. */
  readonly target?: number;
  /** What Linux needs for one, in nanoseconds. */
  readonly linux?: number;
}

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly measure: () => number | Promise<number>;
  /** At most so much. */
  readonly target?: number;
  /** The same of Linux, in the same unit. */
  readonly linux?: number;
}

export interface Suite {
  readonly name: string;
  /** Makes the cases, each only when the one before it is done. */
  readonly cases: () => Iterable<Rate | Figure>;
}

/** One line of the result. */
export interface Line {
  readonly name: string;
  readonly reached: string;
  readonly target: string;
  readonly verdict: 'ok' | 'MISSED' | '';
  readonly linux: string;
}

/** The median time of one operation, in nanoseconds. */
export function nanoseconds(rate: Rate): number {
  const bench = new Bench({
    time: 600,
    iterations: 20,
    warmupTime: 300,
    warmupIterations: 5,
    retainSamples: true,
  });
  bench.add(rate.name, rate.run);
  bench.runSync();
  const result = bench.tasks[0]?.result;
  if (result === undefined || !('latency' in result)) throw new Error(`${rate.name} did not run to its end`);
  return (result.latency.p50 * 1e6) / rate.batch;
}

/** How often a run is made before its target counts as missed. */
const RUNS = 5;

/** Measures one case. */
export async function measure(of: Rate | Figure): Promise<Line> {
  if ('measure' in of) {
    const value = await of.measure();
    return {
      name: of.name,
      reached: `${short(value)} ${of.unit}`,
      target: of.target === undefined ? '' : `at most ${short(of.target)}`,
      verdict: verdict(of.target === undefined ? undefined : value <= of.target),
      linux: of.linux === undefined ? '' : `${short(of.linux)} ${of.unit}: ${ratio(of.linux / value)}`,
    };
  }
  let ns = nanoseconds(of);
  const enough = of.target === undefined ? ns : 1e9 / of.target;
  for (let run = 1; run < RUNS && ns > enough; run++) ns = Math.min(ns, nanoseconds(of));
  return {
    name: of.name,
    reached: `${short(1e3 / ns)} M/s (${short(ns)} ns)`,
    target: of.target === undefined ? '' : `${short(of.target / 1e6)} M/s`,
    verdict: verdict(of.target === undefined ? undefined : 1e9 / ns >= of.target),
    linux: of.linux === undefined ? '' : `${short(of.linux)} ns: ${ratio(of.linux / ns)}`,
  };
}

/** Between turns of the event loop the engine ends collections that it has begun, and tells of them. */
async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 10));
}

/**
 * How many garbage collections there are while `run` runs: what was left before, by other cases, is collected first.
 */
export async function collectionsIn(run: () => void): Promise<number> {
  globalThis.gc?.();
  await someTurns();
  let count = 0;
  const observer = new PerformanceObserver((list) => {
    count += list.getEntries().length;
  });
  observer.observe({ entryTypes: ['gc'] });
  run();
  await someTurns();
  observer.disconnect();
  return count;
}

/** The machine, the engine, and how busy the machine is: beyond one runnable task a CPU, figures are too low. */
export function machine(): string {
  const [cpu] = cpus();
  const [load = 0] = loadavg();
  return `${cpu?.model.trim() ?? 'unknown CPU'}, ${cpus().length} CPUs, Node ${process.version}, V8 ${process.versions.v8}, load ${load.toFixed(1)}`;
}

/** Lines as a table. */
export function table(lines: readonly Line[]): string {
  const head = { name: 'case', reached: 'reached', target: 'target', verdict: '', linux: 'Linux' };
  const columns = ['name', 'reached', 'target', 'verdict', 'linux'] as const;
  const rows = [head, ...lines].map((line) => columns.map((column) => line[column]));
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

const ratio = (times: number): string =>
  times >= 1 ? `${short(times)} times faster` : `${short(1 / times)} times slower`;

const verdict = (reached: boolean | undefined): Line['verdict'] => {
  if (reached === undefined) return '';
  return reached ? 'ok' : 'MISSED';
};
