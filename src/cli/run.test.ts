import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { ioasis } from './run.fixture.js';

// Whole runs, hundreds of them: minutes where others use the machine too.
vi.setConfig({ testTimeout: 120_000 });

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ioasis-run-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

/** The smallest scenario with something replaced, as a file. */
function changed(name: string, ...changes: readonly [string, string][]): string {
  const file = join(folder, `${name}.yaml`);
  const text = changes.reduce((all, [from, to]) => all.replace(from, to), read('scenarios/smallest.yaml'));
  writeFileSync(file, text);
  return file;
}

/** A step that the scenario says is refused, and is not. */
const BREAKS_UNDONE: [string, string] = [
  'for: nop } }',
  'for: nop } }\n  - { by: alice, open: dsa0/shared, refused: EBUSY }',
];

describe('ioasis run', () => {
  it('tells the head, the story, the PASIDs and the verdicts', async () => {
    const { code, out, err } = await ioasis(['run', 'smallest']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const lines = out.split('\n');
    expect(lines[0]).toBe('smallest, seed 1 (even)');
    expect(out).toMatch(/^ {2}options +memory 4 MiB; cpus 1; .*step limit 200000$/ms);
    const story = lines.filter((line) => /^ +\d+ {2}/.test(line)).map((line) => line.replace(/ +/g, ' '));
    expect(story).toContain(' 1 alice open dsa0/shared');
    expect(
      story.some((line) => / dsa0 dsa0\/shared takes nop \(no-op\), PASID 1 \(alice\)$/.test(line)),
    ).toBe(true);
    expect(story.some((line) => line.endsWith('PASID 1 (alice) is free again'))).toBe(true);
    expect(out).toMatch(
      /^ {2}alice {2}PASID 1 {2}ACTIVE, .*\n {4}held by +.*mm alice.*\n {4}queues +dsa0\/shared\n {4}entry +dsa0: first stage at 0x[0-9a-f]+$/m,
    );
    expect(out).toMatch(/^ {2}ISOLATION +pass/m);
    expect(out).toMatch(/^ {2}REPLAY +pass/m);
    expect(lines.at(-2)).toBe('all rules hold');
  });

  it('tells the same twice, and other things for another seed', async () => {
    const [one, two, other] = await Promise.all([
      ioasis(['run', 'smallest', '--seed', '5']),
      ioasis(['run', 'smallest', '--seed', '5']),
      ioasis(['run', 'smallest', '--seed', '6']),
    ]);
    expect(two.out).toBe(one.out);
    expect(other.out.replace('seed 6 (fast', 'seed 5 (slow')).not.toBe(one.out);
  });

  it('leaves the story out if it is to be quiet', async () => {
    const { out } = await ioasis(['run', 'smallest', '--quiet']);
    expect(out).not.toMatch(/takes nop/);
    expect(out).toMatch(/all rules hold/);
  });

  it('prints one document after the published schema', async () => {
    const validate = new Ajv2020({ strict: false }).compile(JSON.parse(read('schema/run.schema.json')));
    for (const args of [['smallest'], ['smallest', '--seeds', '1..3'], [changed('json', BREAKS_UNDONE)]]) {
      const { out } = await ioasis(['run', ...args, '--json']);
      const document: unknown = JSON.parse(out);
      expect(validate(document), JSON.stringify(validate.errors)).toBe(true);
      expect(document).toMatchObject({ version: 1 });
    }
  });

  it('writes a trace whole: a head, then a line an event', async () => {
    const file = join(folder, 'trace.jsonl');
    await ioasis(['run', 'smallest', '--quiet', '--trace', file]);
    const lines = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({ version: 1, scenario: 'smallest', seed: 1, mood: 'even' });
    expect(lines[1]).toMatchObject({ step: 0, actor: 'host', kind: 'process:new' });
    expect(lines.length).toBeGreaterThan(20);
    expect(readdirSync(folder).filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  it('runs many seeds, and tells only of those that fail', async () => {
    expect(await ioasis(['run', 'smallest', '--seeds', '1..20'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /^smallest, seeds 1 to 20 .*\n[\s\S]*\n\n20 seeds: went as the scenario says\n$/,
      ),
    });
    const { code, out } = await ioasis(['run', changed('many', BREAKS_UNDONE), '--seeds', '3..4']);
    expect(code).toBe(1);
    expect(out).toMatch(
      /^seed 3: broken: UNDONE \(\d+ steps\)\n {2}UNDONE: step \d+: alice did open dsa0\/shared; /m,
    );
    expect(out).toMatch(/^2 seeds: 2 did not$/m);
  });
});

describe('a scenario that breaks a rule', () => {
  const expecting = (rule: string): [string, string] => ['steps:', `expect: { breaks: ${rule} }\nsteps:`];

  it('is a finding, with what happened', async () => {
    const { code, out } = await ioasis(['run', changed('finding', BREAKS_UNDONE), '--quiet']);
    expect(code).toBe(1);
    expect(out).toMatch(/^ {2}UNDONE +fail/m);
    expect(out).toMatch(
      /^UNDONE: step \d+: alice did open dsa0\/shared; the scenario says that it is refused with EBUSY$/m,
    );
    expect(out).toMatch(/^broken: UNDONE$/m);
  });

  it.each([
    [
      'and says so',
      [BREAKS_UNDONE, expecting('UNDONE')],
      0,
      'UNDONE is broken, and nothing else, as the scenario says',
    ],
    ['and says that another does', [BREAKS_UNDONE, expecting('CLEAN')], 1, 'broken: UNDONE'],
    [
      'or says so, and does not',
      [expecting('CLEAN')],
      1,
      'CLEAN holds, and the scenario says that it breaks',
    ],
    [
      'or cannot know, for it was cut off',
      [['steps:', 'choices: { step-limit: 10 }\nsteps:']],
      1,
      'unknown: the step limit came first',
    ],
  ] as [string, [string, string][], number, string][])('%s', async (name, changes, code, last) => {
    const run = await ioasis(['run', changed(name.replaceAll(' ', '-'), ...changes), '--quiet']);
    expect(run.code).toBe(code);
    expect(run.out.trimEnd().split('\n').at(-1)).toBe(last);
  });
});

describe('bad input is one line and exit code 2:', () => {
  it.each([
    [
      'no scenario of that name',
      ['nothing'],
      'ioasis: nothing: there is no such file, nor a scenario of that name: there is adi-reset, aux-domain, dedicated-adi, everything, late-kvm, many-vms, migrate, native-sva, pf-and-adi, pf-and-adi-both-numbers, pf-and-adi-one-bind, pf-and-adi-one-domain-id, pf-and-adi-one-number, pf-and-adi-page-requests, shared-adi, silent-guest, smallest, suspend, two-vms-one-swq, unplug, wide-flush',
    ],
    ['no such file', ['./no.yaml'], 'ioasis: ./no.yaml: there is no such file'],
    ['a folder', ['./src'], 'ioasis: ./src: this is a directory'],
    [
      'no seed',
      ['smallest', '--seed', 'x'],
      `ioasis: command line: option '--seed <n>' argument 'x' is invalid. "x" is not a seed from 0 to 2^53 - 1`,
    ],
    [
      'no range',
      ['smallest', '--seeds', '3..1'],
      `ioasis: command line: option '--seeds <a..b>' argument '3..1' is invalid. "3..1" is not a range of seeds, as 1..500`,
    ],
    [
      'one seed and many',
      ['smallest', '--seed', '1', '--seeds', '1..2'],
      'ioasis: command line: --seed is one seed, --seeds are many: give one of them',
    ],
    [
      'a trace of many',
      ['smallest', '--seeds', '1..2', '--trace', 'x'],
      'ioasis: command line: --trace goes with one seed',
    ],
    ['no scenario', [], `ioasis: command line: missing required argument 'scenario'`],
  ])('%s', async (_, args, message) => {
    expect(await ioasis(['run', ...args])).toEqual({ code: 2, out: '', err: `${message}\n` });
  });

  it('each fault of a scenario has its line and field', async () => {
    const file = changed('faults', ['cpus: 1', 'cpus: none'], ['nop }\n', 'nope }\n']);
    const { code, err } = await ioasis(['run', file]);
    expect(code).toBe(2);
    expect(err).toBe(`ioasis: ${file}:11: machine.cpus: is "none", and has to be a number\n`);
  });
});

describe('the environment is to blame, exit code 3:', () => {
  it('a trace that cannot be written', async () => {
    const file = join(folder, 'no', 'trace.jsonl');
    const { code, err } = await ioasis(['run', 'smallest', '--quiet', '--trace', file]);
    expect(code).toBe(3);
    expect(err).toBe(`ioasis: ${file}: there is no such file\n`);
    expect(existsSync(file)).toBe(false);
  });
});

it('every shipped scenario is checked against the published schema, which it names', () => {
  const validate = new Ajv2020({ strict: false }).compile(JSON.parse(read('schema/scenario.schema.json')));
  for (const name of readdirSync(new URL('../../scenarios/', import.meta.url))) {
    const text = read(`scenarios/${name}`);
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=../schema/scenario.schema.json');
    expect(validate(parse(text)), `${name}: ${JSON.stringify(validate.errors)}`).toBe(true);
  }
  expect(validate({ ...parse(read('scenarios/smallest.yaml')), extra: 1 })).toBe(false);
});
