/**
 * `npm run mutate [-- name…]`: tests the tests. Puts the faults of `faults/` into a copy of the sources, one at a
 * time, and runs the tests that have to notice until one does. Exit code 1 if a fault went unnoticed, 2 if one
 * does not fit its file, or a name is no fault's.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAULTS, type Fault } from './faults/index.js';

const ROOT = join(import.meta.dirname, '..', '..');
const COPY = join(ROOT, 'build', 'mutate');
const COPIED = ['src', 'test', 'lab', 'scenarios', 'vitest.config.ts', 'package.json', 'tsconfig.base.json'];

/** Makes the copy afresh. */
function copy(): void {
  rmSync(COPY, { recursive: true, force: true });
  mkdirSync(COPY, { recursive: true });
  for (const path of COPIED) cpSync(join(ROOT, path), join(COPY, path), { recursive: true });
  // Without the references to the other projects, which the tests' transformer would look for.
  writeFileSync(join(COPY, 'tsconfig.json'), '{ "extends": "./tsconfig.base.json", "files": [] }\n');
}

/** How long the tests of one fault may take, and those of all together, in milliseconds. */
const [PATIENCE, PATIENCE_WITH_ALL] = [120_000, 900_000];

/** Runs tests on the copy until one fails; the name of that one, or undefined if all pass. */
function firstFailure(
  { tests, project = 'unit' }: Pick<Fault, 'tests' | 'project'>,
  patience = PATIENCE,
): string | undefined {
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--project', project, '--bail', '1', '--reporter', 'verbose', ...tests];
  // A fault may make a loop endless: whoever does not come back has noticed.
  const ran = spawnSync(process.execPath, args, { cwd: COPY, encoding: 'utf8', timeout: patience });
  if (ran.status === 0) return undefined;
  const failed = /FAIL .*? (\S+\.test\.ts) > (.*)/.exec(plain(`${ran.stdout}${ran.stderr}`));
  return failed === null ? (ran.error?.message ?? 'the tests do not load') : `${failed[1]}: ${failed[2]}`;
}

const ESCAPE = String.fromCharCode(27);

/** Text without the terminal's colours. */
const plain = (text: string): string => text.replaceAll(new RegExp(`${ESCAPE}\\[[0-9;]*m`, 'g'), '');

function mutate(fault: Fault): string | undefined {
  const path = join(COPY, fault.file);
  const source = readFileSync(path, 'utf8');
  writeFileSync(
    path,
    source.replace(fault.find, () => fault.replace),
  );
  const noticed = firstFailure(fault);
  writeFileSync(path, source);
  return noticed;
}

const hasLab = spawnSync('bash', [join(ROOT, 'lab', 'lab'), 'where']).status === 0;
if (!hasLab) console.warn('the lab is not installed: faults that its tests have to notice are left out');
const wanted = process.argv.slice(2);
const faults = FAULTS.filter(
  ({ name, project }) =>
    (wanted.length === 0 || wanted.some((part) => name.includes(part))) && (hasLab || project !== 'lab'),
);
for (const part of wanted) {
  if (FAULTS.some(({ name }) => name.includes(part))) continue;
  console.error(`mutate: no fault has ${JSON.stringify(part)} in its name`);
  process.exit(2);
}
copy();
for (const { name, file, find } of faults) {
  const times = readFileSync(join(COPY, file), 'utf8').split(find).length - 1;
  if (times === 1) continue;
  console.error(`${name}: its text stands ${times} times in ${file}`);
  process.exitCode = 2;
}
if (process.exitCode === undefined) {
  const broken = (['unit', 'lab'] as const)
    .map((project) => ({ project, faults: faults.filter((each) => (each.project ?? 'unit') === project) }))
    .filter((each) => each.faults.length > 0)
    .map(({ project, faults: own }) => {
      const tests = [...new Set(own.flatMap((fault) => fault.tests))];
      return firstFailure({ project, tests }, PATIENCE_WITH_ALL);
    })
    .find((failed) => failed !== undefined);
  if (broken !== undefined) {
    console.error(`the tests fail without any fault: ${broken}`);
    process.exitCode = 2;
  } else {
    let unnoticed = 0;
    for (const fault of faults) {
      const noticed = mutate(fault);
      if (noticed === undefined) unnoticed++;
      console.log(
        `${noticed === undefined ? 'NOT NOTICED' : 'noticed'}  ${fault.name}${noticed === undefined ? '' : `\n         by ${noticed}`}`,
      );
    }
    console.log(`${faults.length - unnoticed} of ${faults.length} faults noticed`);
    if (unnoticed > 0) process.exitCode = 1;
  }
}
