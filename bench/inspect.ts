/**
 * The command on the image that ships, as a process from its start: the median of several runs, for the time that
 * passes and for the memory that it has at the most.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Suite } from './harness.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const IMAGE = `${ROOT}examples/linux-7.2-vtd`;
const RUNS = 9;

/** Makes a process tell its peak memory, in KiB, as the last line of its standard error. */
const TELL_PEAK = `data:text/javascript,process.on('exit',()=>console.error(process.resourceUsage().maxRSS))`;

interface Run {
  readonly seconds: number;
  readonly peak: number;
}

function run(): Run {
  const start = process.hrtime.bigint();
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', TELL_PEAK, `${ROOT}bin/ioasis.js`, 'inspect', '--memory', `${IMAGE}/memory.raw.gz`].concat([
      '--registers',
      `${IMAGE}/registers.json`,
      '--against',
      `${IMAGE}/console.log`,
      '--json',
    ]),
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  return { seconds, peak: Number(stderr.trim().split('\n').at(-1)) / 1024 };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** `ioasis inspect` as a whole process. */
export const inspect: Suite = {
  name: 'inspect',
  cases: function* () {
    run();
    const runs = Array.from({ length: RUNS }, run);
    const name = 'the 256 MiB image, with its log';
    yield {
      name: `${name}: time`,
      unit: 's',
      target: 2,
      measure: () => median(runs.map(({ seconds }) => seconds)),
    };
    yield {
      name: `${name}: peak memory`,
      unit: 'MiB',
      target: 600,
      measure: () => median(runs.map(({ peak }) => peak)),
    };
  },
};
