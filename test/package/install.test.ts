/**
 * `ioasis/ioasid` from a project of its own: packed, installed from the tarball without a network, used from
 * plain JavaScript, and from TypeScript under its strictest settings. Needs `tsc -b` to have been run, which
 * `npm install` does.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const project = mkdtempSync(join(tmpdir(), 'ioasis-package-'));

function run(command: string, args: readonly string[], cwd = project): SpawnSyncReturns<string> {
  const ran = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (ran.status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${ran.error ?? ran.stdout + ran.stderr}`);
  return ran;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

beforeAll(() => {
  run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], ROOT);
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'));
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  // What it depends on is taken from where it is installed already, so that no registry is asked.
  const overrides = Object.fromEntries(
    Object.keys(manifest.dependencies ?? {}).map((name) => [
      name,
      `file:${join(ROOT, 'node_modules', name)}`,
    ]),
  );
  const dependencies = { ioasis: `file:${tarball}` };
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'elsewhere', private: true, type: 'module', dependencies, overrides }),
  );
  run('npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']);
}, 120_000);

afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

describe('the package entry ioasis/ioasid', () => {
  it('works from plain JavaScript', () => {
    writeFileSync(
      join(project, 'use.js'),
      `import { ioasidAlloc, ioasidAttachSpid, ioasidCreate, ioasidFindBySpid, ioasidSetAlloc, isRefusal } from 'ioasis/ioasid';
const core = ioasidCreate({ capacity: 1024 });
const [vm1, vm2] = ['vm1', 'vm2'].map((name) => ioasidSetAlloc(core, { type: 'mm', token: { name }, quota: 10 }));
ioasidAttachSpid(vm1, ioasidAlloc(vm1, 201, 201), 101);
ioasidAttachSpid(vm2, ioasidAlloc(vm2, 202, 202), 101);
const taken = ioasidAttachSpid(vm1, ioasidAlloc(vm1, 1, 1023), 101);
console.log(ioasidFindBySpid(vm1, 101), ioasidFindBySpid(vm2, 101), isRefusal(taken) && taken.errno);
`,
    );
    expect(run(process.execPath, ['use.js']).stdout).toBe('201 202 EBUSY\n');
  });

  it('works from strict TypeScript, which knows each function’s errnos', () => {
    writeFileSync(
      join(project, 'use.ts'),
      `import { Bug, type Chooser, type EventSink, type Ioasid, ioasidAlloc, ioasidCreate, ioasidSetAlloc, type IoasidSet, isRefusal } from 'ioasis/ioasid';
export function reason(set: IoasidSet): Ioasid | string {
  const id = ioasidAlloc(set, 1, 7);
  if (!isRefusal(id)) return id;
  switch (id.errno) {
    case 'EDQUOT':
      return id.why;
    case 'EDEADLK': case 'EINVAL': case 'ENOENT': case 'EBUSY': case 'ENOSPC': case 'ENOMEM': case 'EIO':
      return id.errno;
  }
}
const kinds: string[] = [];
const trace: EventSink = ({ kind }) => { kinds.push(kind); };
const faults: Chooser = { choose: () => 0 };
const core = ioasidCreate({ capacity: 8, trace, faults });
if (isRefusal(core)) throw new Error(core.why);
const set = ioasidSetAlloc(core, { type: 'none', quota: 1 });
if (isRefusal(set)) throw new Error(set.why);
const first: string = String(reason(set));
if (first !== '1' || reason(set) !== 'set 1 is at its quota of 1') throw new Error(first);
try { core.restore(); } catch (error) { if (!(error instanceof Bug)) throw error; kinds.push(error.name); }
if (kinds.join() !== 'set:alloc,alloc,Bug') throw new Error(kinds.join());
// @ts-expect-error an id is not made of any number
const made: Ioasid = 5;
export { made };
`,
    );
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023'],
      types: [],
      outDir: 'out',
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    run(process.execPath, [tsc, '-p', '.']);
    run(process.execPath, [join('out', 'use.js')]);
  }, 60_000);

  it('brings the core and what it stands on, and does not load the rest', () => {
    const entry = join(project, 'node_modules', 'ioasis', 'dist', 'ioasid');
    const imports = readdirSync(entry, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.js'))
      .flatMap((name) =>
        [...readFileSync(join(entry, name), 'utf8').matchAll(/from '([^']+)'/g)].map(([, from = '']) =>
          from.startsWith('.') ? relative(entry, join(entry, dirname(name), from)) : from,
        ),
      );
    expect(imports.length).toBeGreaterThan(100);
    expect([...new Set(imports.filter((from) => !/^[a-z]/.test(from)))]).toEqual([
      join('..', 'base', 'index.js'),
    ]);
    expect(imports.filter((from) => /^[a-z]/.test(from) && !from.endsWith('.js'))).toEqual([]);
  });
});
