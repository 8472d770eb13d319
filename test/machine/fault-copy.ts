/** The modelled world with one fault in it: a copy of the layers as JavaScript, where one text stands for another. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIES = join(ROOT, 'build', 'faults');
const SOUND = join(COPIES, 'sound');
const LAYERS = ['base', 'spec', 'ioasid', 'hardware', 'kernel', 'vmm', 'rules', 'machine'];

/** A single fault. */
export interface Fault {
  /** What is wrong then, in a few words. */
  readonly name: string;
  /** The file, below `src/`. */
  readonly file: string;
  /** A text that stands there once, and what stands there instead. */
  readonly find: string;
  readonly replace: string;
  /** The unit does not snoop. */
  readonly isWrittenBack?: boolean;
  /** The scenario that it is run with: `native-sva`, if it is not given; or `hostile`, the attacker of test/hostile. */
  readonly scenario?: string;
}

/** The first run that a rule was broken in. */
export interface Caught {
  readonly seed: number;
  readonly findings: readonly { readonly rule: string; readonly message: string }[];
}

/** Runs its scenario by one seed after the other, until this rule is broken, or any; undefined if none is. */
export function firstFinding(fault: Fault | undefined, seeds: number, rule = ''): Caught | undefined {
  const folder = fault === undefined ? SOUND : faulty(fault);
  const args = [join(folder, 'run.js'), scenarioFile(fault), String(seeds), rule];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${fault?.name ?? 'without a fault'}: ${stderr}`);
  return stdout === '' ? undefined : (JSON.parse(stdout) as Caught);
}

/** As it ships, or on a unit that sees what is written back. */
function scenarioFile(fault: Fault | undefined): string {
  if (fault?.scenario === 'hostile') return 'hostile';
  if (fault?.isWrittenBack === true) return join(SOUND, 'written-back.yaml');
  return join(ROOT, 'scenarios', `${fault?.scenario ?? 'native-sva'}.yaml`);
}

/** Makes the copy without a fault; to be called first. */
export function copySound(): void {
  rmSync(COPIES, { recursive: true, force: true });
  for (const layer of LAYERS) {
    for (const path of readdirSync(join(ROOT, 'src', layer), { recursive: true, encoding: 'utf8' })) {
      if (!path.endsWith('.ts') || /\.(test|fixture)\.ts$/.test(path)) continue;
      put(join(SOUND, layer, path), readFileSync(join(ROOT, 'src', layer, path), 'utf8'));
    }
  }
  for (const file of ['scenario.ts', 'guest.ts', 'operations.ts', 'run.ts']) {
    const source = readFileSync(join(ROOT, 'test', 'hostile', file), 'utf8');
    put(join(SOUND, 'hostile', file), source.replaceAll('../../src/', '../'));
  }
  const shipped = readFileSync(scenarioFile(undefined), 'utf8');
  const kind = '    kind: vtd\n';
  writeFileSync(join(SOUND, 'written-back.yaml'), shipped.replace(kind, `${kind}    snoops-tables: false\n`));
  writeFileSync(join(SOUND, 'run.js'), RUN);
}

function faulty({ name, file, find, replace }: Fault): string {
  const text = readFileSync(join(ROOT, 'src', file), 'utf8');
  const times = text.split(find).length - 1;
  if (times !== 1) throw new Error(`${name}: its text stands ${times} times in ${file}`);
  const folder = join(COPIES, name.replaceAll(/[^a-z]+/gi, '-'));
  cpSync(SOUND, folder, { recursive: true });
  put(
    join(folder, file),
    text.replace(find, () => replace),
  );
  return folder;
}

/** Writes a source as JavaScript. */
function put(path: string, source: string): void {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  });
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path.replace(/\.ts$/, '.js'), outputText);
}

const RUN = `
import { readFileSync } from 'node:fs';
import { attack } from './hostile/run.js';
import { parseScenario, seededChooser, World } from './machine/index.js';

const [, , file, seeds, rule] = process.argv;
const isFound = (finding) => rule === '' || finding.rule === rule;
const tell = (seed, findings) => process.stdout.write(JSON.stringify({ seed, findings }));
if (file === 'hostile') {
  for (let seed = 1; seed <= Number(seeds); seed++) {
    const findings = attack({ seed, operations: 1000 }).map((text) => {
      const [, rule, message] = /^([A-Z]+): (.*)$/s.exec(text) ?? [];
      return { rule, message };
    });
    if (!findings.some(isFound)) continue;
    tell(seed, findings);
    break;
  }
  process.exit(0);
}
const scenario = parseScenario(readFileSync(file, 'utf8'));
const world = new World({ ...scenario, choices: { ...scenario.choices, 'step-limit': 20000 } });
for (let seed = 1; seed <= Number(seeds); seed++) {
  const { findings } = world.run(seededChooser(seed));
  if (!findings.some(isFound)) continue;
  tell(seed, findings);
  break;
}
`;
