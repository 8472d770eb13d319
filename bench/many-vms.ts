/**
 * What a virtual machine costs, from ten to a thousand of them: the scenario `many-vms`, each size in a process of its
 * own, with the time of its boot and of its run, and the memory that it takes at most.
 *
 *     npm run bench -- many-vms               what one more costs, from 10 to 100
 *     node build/bench/many-vms.js            10, 30, 100, 300 and 1000 virtual machines
 *     node build/bench/many-vms.js 10 20      these
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseScenario, seededChooser, World } from '#src/machine/index.js';
import type { Suite } from './harness.js';

const SIZES = [10, 30, 100, 300, 1000];
const ONE = '--one';
const FEW = 10;
const MANY = 100;

/** What one size comes to. */
interface Cost {
  readonly vms: number;
  readonly boot: number;
  readonly run: number;
  readonly steps: number;
  readonly pasids: number;
  /** Of the processor, all threads together, in ms: what else the machine does is not in it. */
  readonly cpu: number;
  /** KiB, at most. */
  readonly memory: number;
}

function measured(vms: number): Cost {
  const text = readFileSync(new URL('../../scenarios/many-vms.yaml', import.meta.url), 'utf8');
  const scenario = parseScenario(text.replace(/count: 1000\n/, `count: ${vms}\n`));
  if (Array.isArray(scenario)) throw new Error(`many-vms has ${scenario.length} faults`);
  const start = performance.now();
  const world = new World(scenario, { isForOneRun: true });
  const booted = performance.now();
  const { end, steps, findings, mostPasids } = world.run(seededChooser(1));
  const ended = performance.now();
  if (end !== 'ended' || findings.length > 0) throw new Error(`${vms}: ${end}, ${JSON.stringify(findings)}`);
  const { maxRSS: memory, userCPUTime, systemCPUTime } = process.resourceUsage();
  const cpu = (userCPUTime + systemCPUTime) / 1000;
  return { vms, boot: booted - start, run: ended - booted, steps, pasids: mostPasids, cpu, memory };
}

function apart(vms: number): Cost {
  // As `ioasis run` does of a machine that is not recorded.
  const args = [
    ...['min', 'max'].map((size) => `--${size}-semi-space-size=128`),
    '--max-old-space-size=4096',
    fileURLToPath(import.meta.url),
    ONE,
    String(vms),
  ];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Cost;
}

function line({ vms, boot, run, steps, pasids, cpu, memory }: Cost): string {
  const cells = [
    `${vms} VMs`,
    `${pasids} PASIDs`,
    `boot ${(boot / 1000).toFixed(1)} s`,
    `run ${(run / 1000).toFixed(1)} s`,
    `${(steps / vms).toFixed(0)} steps a VM`,
    `${((boot + run) / vms).toFixed(1)} ms a VM`,
    `${(cpu / vms).toFixed(1)} ms CPU a VM`,
    `${(memory / 1024).toFixed(0)} MiB`,
    `${(memory / vms).toFixed(0)} KiB a VM`,
  ];
  return cells
    .map((cell) => cell.padEnd(18))
    .join('')
    .trimEnd();
}

const seconds = ({ boot, run }: Cost): number => (boot + run) / 1000;

export const manyVms: Suite = {
  name: 'many-vms',
  *cases() {
    let few: Cost | undefined;
    let many: Cost | undefined;
    const between = (cost: (of: Cost) => number): number => {
      few ??= apart(FEW);
      many ??= apart(MANY);
      return (cost(many) - cost(few)) / (MANY - FEW);
    };
    // A thousand of them in 30 s and 4 GiB.
    const time = () => between(seconds) * 1000;
    yield { name: 'a VM with 100 PASIDs more, from 10 to 100', unit: 'ms', measure: time, target: 30 };
    const memory = () => between((of) => of.memory) / 1024;
    yield { name: 'the same, memory', unit: 'MiB', measure: memory, target: 4 };
  },
};

const [script, first, ...rest] = process.argv.slice(1);
if (script !== fileURLToPath(import.meta.url)) {
  // A suite among others.
} else if (first === ONE) {
  console.log(JSON.stringify(measured(Number(rest[0]))));
} else {
  const sizes = first === undefined ? SIZES : [first, ...rest].map(Number);
  for (const vms of sizes) console.log(line(apart(vms)));
}
