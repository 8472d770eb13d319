/** `ioasis run`: builds a machine from a scenario, runs it by a seed, tells what happens, and judges it. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { type Event, TRACE_VERSION } from '../base/index.js';
import { EnvironmentError, InputError, reasonOf } from '../inspect/index.js';
import { moodOf, type RunResult, recordedRun, replayDifference, World } from '../machine/index.js';
import { EXIT, EXIT_CODES } from './exit.js';
import { runApart } from './large/apart.js';
import {
  documentEvents,
  documentHead,
  documentOutcome,
  documentPasids,
  type RunDocument,
} from './run-document.js';
import { judged, type Replayed } from './run-judge.js';
import { mapText } from './run-map.js';
import { failingSeedText, headText, usersOf, verdictText } from './run-text.js';
import { type NamedScenario, readScenario, shippedScenarios } from './scenario-file.js';
import { jobsFor, runHere, runOnThreads } from './seeds/many.js';
import { type Failing, placed, type Range } from './seeds/one.js';
import { storyLine } from './story/line.js';
import { paintFor, progressOf } from './terminal.js';

interface Options {
  readonly seed?: number;
  readonly seeds?: Range;
  readonly jobs?: number;
  readonly json?: boolean;
  readonly trace?: string;
  readonly quiet?: boolean;
  readonly tables?: boolean;
}

const DEFAULT_SEED = 1;

const EXAMPLES = (): string => `
Scenarios that ship with ioasis: ${shippedScenarios().join(', ')}

Examples:
  the path of a PASID from a process in a virtual machine to a byte in memory, told as it happens
    $ ioasis run two-vms-one-swq
  the same processes in another order, without the story
    $ ioasis run two-vms-one-swq --seed 7 --quiet
  five hundred orders: only what goes wrong is told
    $ ioasis run two-vms-one-swq --seeds 1..500
  the same without virtual machines
    $ ioasis run native-sva
  your own scenario; editors complete and check it with schema/scenario.schema.json
    $ ioasis run my.yaml --trace my.jsonl

${EXIT_CODES}`;

/** The command; `done` is told the exit code. */
export function runCommand(done: (code: number) => void): Command {
  return new Command('run')
    .description('Runs a scenario: a machine with devices and processes, by a seed, and judges it by rules.')
    .argument('<scenario>', 'a YAML file, or the name of a scenario that ships with ioasis')
    .option('--seed <n>', `decides every order; the scenario's, or ${DEFAULT_SEED}, if left out`, seedOption)
    .option('--seeds <a..b>', 'all seeds from a to b; tells only of those that fail', rangeOption)
    .option('--jobs <n>', 'threads that run them; as many as there are CPUs, if left out', jobsOption)
    .option('--json', 'one JSON document, after schema/run.schema.json')
    .option('--trace <file>', 'writes what happens as JSON Lines, whole or not at all')
    .option('--quiet', 'no story: the map of PASIDs and the verdicts only')
    .option('--tables', 'the map shows entries as they lie in memory, too')
    .addHelpText('after', EXAMPLES)
    .action(async (given: string, options: Options) => {
      done(await run(given, options));
    });
}

async function run(given: string, options: Options): Promise<number> {
  const usage = (what: string): InputError => new InputError('command line', what);
  if (options.seeds !== undefined && options.seed !== undefined) {
    throw usage('--seed is one seed, --seeds are many: give one of them');
  }
  if (options.seeds === undefined && options.jobs !== undefined) throw usage('--jobs goes with --seeds');
  if (options.seeds !== undefined && options.trace !== undefined) throw usage('--trace goes with one seed');
  const named = readScenario(given);
  if (named === undefined) return EXIT.INPUT;
  const { seeds } = options;
  return seeds === undefined ? runOne(named, options) : runMany(named, seeds, options);
}

/** What has come of one run, and what of running it again. */
interface Whole {
  readonly result: RunResult & { readonly events: readonly Event[] };
  readonly replay: Replayed;
}

async function runOne({ name, scenario }: NamedScenario, options: Options): Promise<number> {
  const seed = options.seed ?? scenario.choices.seed ?? DEFAULT_SEED;
  const isStory = options.json !== true && options.quiet !== true;
  const isRecorded = scenario.choices.recorded;
  const paint = paintFor();
  const print = (text: string): void => {
    process.stdout.write(text);
  };
  if (options.json !== true)
    print(headText(name, scenario, { seeds: `seed ${seed} (${moodOf(seed)})`, paint }));
  const progress = progressOf(name);
  // What is too large to be told is not kept either, nor run twice.
  const whole = async (): Promise<Whole> => {
    const result = await runApart({ named: { name, scenario }, seed }, progress.say);
    return { result: { ...result, events: [] }, replay: 'unknown' };
  };
  const told = (): Whole => {
    const world = new World(scenario, { progress: isStory ? undefined : progress.say });
    const listener = isStory ? (event: Event) => print(`${storyLine(event, paint)}\n`) : undefined;
    const result = recordedRun(world, seed, listener);
    return { result, replay: replayDifference(world, result) ?? 'same' };
  };
  const { result, replay } = isRecorded ? placed(`${name} --seed ${seed}`, told) : await whole();
  progress.stop();
  const judgement = judged(scenario, result, replay);
  if (options.trace !== undefined) writeTrace(options.trace, { name, seed, events: result.events });
  if (options.json === true) {
    const document: RunDocument = {
      ...documentHead(name, scenario),
      seed,
      mood: moodOf(seed),
      ...documentOutcome(result, judgement),
      pasids: documentPasids(result.pasids),
      mostPasids: result.mostPasids,
      events: documentEvents(result.events),
    };
    print(`${JSON.stringify(document, undefined, 1)}\n`);
  } else {
    const map = mapText(result, { paint, hasTables: options.tables === true, users: usersOf(scenario) });
    print(`${isStory && isRecorded ? '\n' : ''}${map}${verdictText(judgement, paint)}`);
  }
  return judgement.isGood ? EXIT.FINE : EXIT.FINDING;
}

async function runMany(named: NamedScenario, seeds: Range, options: Options): Promise<number> {
  const { first, last } = seeds;
  const { name, scenario } = named;
  const title = `seeds ${first} to ${last} (by turns even, slow-hardware, fast-hardware)`;
  const progress = progressOf(`${name}, ${title}`);
  const failing: Failing[] = [];
  const paint = paintFor();
  if (options.json !== true) process.stdout.write(headText(name, scenario, { seeds: title, paint }));
  const listener = {
    say: progress.say,
    failed: (each: Failing) => {
      failing.push(each);
      if (options.json !== true) process.stdout.write(failingSeedText(each));
    },
  };
  const jobs = options.jobs ?? jobsFor(named, seeds);
  if (jobs === 1) await runHere(named, seeds, listener);
  else await runOnThreads(named, { ...seeds, jobs }, listener);
  progress.stop();
  const passed = failing.length === 0;
  if (options.json === true) {
    const document: RunDocument = {
      ...documentHead(name, scenario),
      seeds,
      passed,
      failing: failing.map(({ seed, judgement, ...result }) => {
        return { seed, ...documentOutcome(result, judgement) };
      }),
    };
    process.stdout.write(`${JSON.stringify(document, undefined, 1)}\n`);
  } else {
    const count = last - first + 1;
    const text = passed ? paint.good('went as the scenario says') : paint.bad(`${failing.length} did not`);
    process.stdout.write(`${count} seed${count === 1 ? '' : 's'}: ${text}\n`);
  }
  return passed ? EXIT.FINE : EXIT.FINDING;
}

/** Beside its place first, then there: whoever reads the file finds all of it, or the one before. */
function writeTrace(
  file: string,
  { name, seed, events }: { name: string; seed: number; events: readonly Event[] },
): void {
  const head = { version: TRACE_VERSION, scenario: name, seed, mood: moodOf(seed) };
  const lines = [head, ...events].map((line) => JSON.stringify(line));
  const beside = `${file}.${process.pid}.new`;
  try {
    writeFileSync(beside, `${lines.join('\n')}\n`);
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new EnvironmentError(file, reasonOf(error));
  }
}

function seedOption(text: string): number {
  const seed = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(seed)) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a seed from 0 to 2^53 - 1`);
  }
  return seed;
}

function jobsOption(text: string): number {
  const jobs = /^[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  if (jobs === 0) throw new InvalidArgumentError(`${JSON.stringify(text)} is not a number from 1 to 999`);
  return jobs;
}

function rangeOption(text: string): Range {
  const parts = /^([0-9]+)\.\.([0-9]+)$/.exec(text);
  const [first, last] = [Number(parts?.[1] ?? Number.NaN), Number(parts?.[2] ?? Number.NaN)];
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || last < first) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not a range of seeds, as 1..500`);
  }
  return { first, last };
}
