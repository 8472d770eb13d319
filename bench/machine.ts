/**
 * How often a second a whole machine is put back and run again, and what the scheduler costs. On Node 20, two cores
 * of a shared host: the smallest scenario 4,500 to 7,500 runs a second, `everything` 280 to 450 on one thread (the
 * more, the less ran before it in the same process), 580 on two, start-up included.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { type Task, TaskSet } from '#src/base/index.js';
import { Engines } from '#src/hardware/index.js';
import { parseScenario, Scheduler, seededChooser, World } from '#src/machine/index.js';
import type { Suite } from './harness.js';

function worldOf(name: string): World {
  const scenario = parseScenario(
    readFileSync(new URL(`../../scenarios/${name}.yaml`, import.meta.url), 'utf8'),
  );
  if (Array.isArray(scenario)) throw new Error(`${name} has ${scenario.length} faults`);
  return new World(scenario);
}

/** Runs of one seed after the other. */
function runs(name: string, batch: number): () => void {
  const world = worldOf(name);
  let seed = 0;
  return () => {
    for (let i = 0; i < batch; i++) {
      const { findings } = world.run(seededChooser(++seed));
      if (findings.length > 0) throw new Error(`${name} --seed ${seed} breaks a rule`);
    }
  };
}

/** 500 of them a second in 30 s. */
const SEEDS = 15_000;

/** What a user waits for: on as many threads as there are CPUs. */
function seeds(): number {
  const bin = fileURLToPath(new URL('../../bin/ioasis.js', import.meta.url));
  const begun = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [
    bin,
    'run',
    'everything',
    '--seeds',
    `1..${SEEDS}`,
  ]);
  if (status !== 0) throw new Error(stderr.toString());
  return (performance.now() - begun) / 1000;
}

function* forever(): Task {
  for (;;) yield 'on';
}

/** Steps of four tasks, beside the hardware of `native-sva`, which has nothing to do. */
function steps(batch: number): () => void {
  const { hardware } = worldOf('native-sva');
  const tasks = new TaskSet();
  for (let i = 0; i < 4; i++) tasks.spawn(`task ${i}`, forever());
  const scheduler = new Scheduler(tasks, hardware.scheduled);
  const chooser = seededChooser(1);
  return () => {
    for (let i = 0; i < batch; i++) scheduler.step(chooser);
  };
}

/** What a step costs without hardware. */
function bareSteps(batch: number): () => void {
  const tasks = new TaskSet();
  for (let i = 0; i < 4; i++) tasks.spawn(`task ${i}`, forever());
  const scheduler = new Scheduler(tasks, new Engines());
  const chooser = seededChooser(1);
  return () => {
    for (let i = 0; i < batch; i++) scheduler.step(chooser);
  };
}

export const machineSuite: Suite = {
  name: 'machine',
  *cases() {
    yield { name: 'restore and rerun, smallest', batch: 20, run: runs('smallest', 20), target: 3000 };
    yield { name: 'restore and rerun, native-sva', batch: 5, run: runs('native-sva', 5) };
    yield { name: 'restore and rerun, two-vms-one-swq', batch: 5, run: runs('two-vms-one-swq', 5) };
    yield { name: 'restore and rerun, everything, one thread', batch: 5, run: runs('everything', 5) };
    yield { name: '15,000 seeds of everything, start-up included', unit: 's', measure: seeds, target: 30 };
    yield { name: 'scheduler step, idle hardware', batch: 1000, run: steps(1000), target: 1_000_000 };
    yield { name: 'scheduler step, no hardware', batch: 1000, run: bareSteps(1000) };
  },
};
