import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkLayers } from '../../tools/layers.js';

type Tree = Readonly<Record<string, string>>;

const DETERMINISTIC = { lib: ['es2023'], types: [] };

function project(references: readonly string[], compilerOptions: object = DETERMINISTIC): string {
  return JSON.stringify({ compilerOptions, references: references.map((name) => ({ path: `../${name}` })) });
}

/** Three layers that keep every rule. Each case below breaks one, by adding or replacing files. */
const SOUND: Tree = {
  'src/base/tsconfig.json': project([]),
  'src/base/index.ts': "export * from './bug.js';\n",
  'src/base/bug.ts': 'export class Bug extends Error {}\n',
  'src/spec/tsconfig.json': project(['base']),
  'src/spec/index.ts': "export * from './layout.js';\n",
  'src/spec/layout.ts': "import { Bug } from '../base/index.js';\nexport const layout = Bug;\n",
  'src/spec/layout.test.ts':
    "import { readFileSync } from 'node:fs';\nimport { layout } from './layout.js';\n",
  'src/inspect/tsconfig.json': project(['base', 'spec'], { types: ['node'] }),
  'src/inspect/index.ts': "import { connect } from 'node:net';\nexport * from '../spec/index.js';\n",
};

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ioasis-layers-'));
});

afterEach(() => rmSync(root, { recursive: true }));

function check(changes: Tree): string[] {
  for (const [path, text] of Object.entries({ ...SOUND, ...changes })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return checkLayers(root).violations.map(({ file, line, message }) => `${file}:${line}: ${message}`);
}

test('a tree that keeps the rules has no violation, and all of it was read', () => {
  expect(check({})).toEqual([]);
  expect(checkLayers(root)).toMatchObject({ layers: 3, files: 6, imports: 7 });
});

const REFERENCES: [string, Tree, string][] = [
  [
    'upward',
    { 'src/base/tsconfig.json': project(['spec']) },
    'base/tsconfig.json:1: base refers to spec, which is not below it',
  ],
  [
    'to itself',
    { 'src/base/tsconfig.json': project(['base']) },
    'base/tsconfig.json:1: base refers to base, which is not below it',
  ],
  [
    'sideways',
    { 'src/cli/tsconfig.json': project(['web']) },
    'cli/tsconfig.json:1: cli refers to web, which is not below it',
  ],
  [
    'from kernel to hardware',
    { 'src/kernel/tsconfig.json': project(['hardware']) },
    'kernel/tsconfig.json:1: kernel must not refer to hardware',
  ],
  [
    'from ioasid to spec',
    { 'src/ioasid/tsconfig.json': project(['base', 'spec']) },
    'ioasid/tsconfig.json:1: ioasid must not refer to spec',
  ],
  [
    'out of src',
    { 'src/spec/tsconfig.json': project(['base', '../tools']) },
    'spec/tsconfig.json:1: spec refers to tools, which is not a layer',
  ],
];

describe('a reference is reported', () => {
  test.each(REFERENCES)('%s', (_, changes, message) => {
    expect(check(changes)).toEqual([`src/${message}`]);
  });
});

const PAST_INDEX = "'../base/bug.js' goes past base/index.js";
const UP = "base does not refer to spec, and imports '../spec/index.js'";

const IMPORTS: [string, Tree, string][] = [
  ['of a layer above', { 'src/base/bug.ts': "\nimport '../spec/index.js';\n" }, `base/bug.ts:2: ${UP}`],
  [
    'of a type only',
    { 'src/base/bug.ts': "import type { A } from '../spec/index.js';\n" },
    `base/bug.ts:1: ${UP}`,
  ],
  [
    'within a type',
    { 'src/base/bug.ts': "\n\nlet a: import('../spec/index.js').A;\n" },
    `base/bug.ts:3: ${UP}`,
  ],
  ['at run time', { 'src/base/bug.ts': "await import('../spec/index.js');\n" }, `base/bug.ts:1: ${UP}`],
  ['by an export', { 'src/base/bug.ts': "export { a } from '../spec/index.js';\n" }, `base/bug.ts:1: ${UP}`],
  [
    'in a test',
    { 'src/base/bug.test.ts': "import { a } from '../spec/index.js';\n" },
    `base/bug.test.ts:1: ${UP}`,
  ],
  [
    'of a layer below that is not referred to',
    { 'src/spec/tsconfig.json': project([]) },
    "spec/layout.ts:1: spec does not refer to base, and imports '../base/index.js'",
  ],
  [
    'past an index',
    { 'src/spec/layout.ts': "import '../base/bug.js';\n" },
    `spec/layout.ts:1: ${PAST_INDEX}`,
  ],
  [
    'past an index from a folder, in a test',
    { 'src/spec/vtd/a.test.ts': "import '../../base/bug.js';\n" },
    "spec/vtd/a.test.ts:1: '../../base/bug.js' goes past base/index.js",
  ],
  [
    'of Node in a deterministic layer',
    { 'src/base/bug.ts': "import { hrtime } from 'node:process';\n" },
    "base/bug.ts:1: base is deterministic and imports layers only, not 'node:process'",
  ],
  [
    'of a package in a deterministic layer',
    { 'src/spec/layout.ts': "// why\nimport pc from 'yoctocolors';\n" },
    "spec/layout.ts:2: spec is deterministic and imports layers only, not 'yoctocolors'",
  ],
  [
    'of a parser outside of the folder that may have it',
    {
      'src/machine/tsconfig.json': project([]),
      'src/machine/index.ts': "import { parse } from 'yaml';\n",
      'src/machine/scenario/parse.ts': "import { z } from 'zod';\n",
    },
    "machine/index.ts:1: machine is deterministic and imports layers only, not 'yaml'",
  ],
  [
    'of what lies beside src',
    { 'src/inspect/index.ts': "import '../../tools/layers.js';\n" },
    "inspect/index.ts:1: '../../tools/layers.js' leaves the layers",
  ],
];

describe('an import is reported', () => {
  test.each(IMPORTS)('%s', (_, changes, message) => {
    expect(check(changes)).toEqual([`src/${message}`]);
  });
});

const CIRCLES: [string, Tree, string][] = [
  [
    'of two, one of them for a type',
    { 'src/base/bug.ts': "import './a.js';\n", 'src/base/a.ts': "\nimport type { Bug } from './bug.js';\n" },
    'base/bug.ts:1: imports in a circle: a.ts -> bug.ts -> a.ts',
  ],
  [
    'of a file and its own index',
    { 'src/base/bug.ts': "import './index.js';\n" },
    'base/index.ts:1: imports in a circle: bug.ts -> index.ts -> bug.ts',
  ],
  [
    'of one',
    { 'src/base/bug.ts': "import './bug.js';\n" },
    'base/bug.ts:1: imports in a circle: bug.ts -> bug.ts',
  ],
  [
    'through a folder, not entered from where it begins',
    {
      'src/base/a.ts': "import './b/c.js';\n",
      'src/base/b/c.ts': "import './d.js';\n",
      'src/base/b/d.ts': "import '../bug.js';\nimport './c.js';\n",
    },
    'base/b/d.ts:2: imports in a circle: b/c.ts -> b/d.ts -> b/c.ts',
  ],
];

describe('a circle is reported', () => {
  test.each(CIRCLES)('%s', (_, changes, message) => {
    expect(check(changes)).toEqual([`src/${message}`]);
  });
});

test('two ways down to one file are no circle', () => {
  const changes = {
    'src/base/a.ts': "import './b.js';\nimport './bug.js';\n",
    'src/base/b.ts': "import './bug.js';\n",
  };
  expect(check(changes)).toEqual([]);
});

const OPTIONS: [string, object, string][] = [
  ['ambient types', { lib: ['es2023'], types: ['node'] }, '"types" must be [], not node'],
  ['types left open', { lib: ['es2023'] }, '"types" must be [], not none stated'],
  [
    'the browser',
    { lib: ['es2023', 'dom'], types: [] },
    '"lib" must be the language\'s alone, not lib.es2023.d.ts, lib.dom.d.ts',
  ],
  ['the default library', { types: [] }, '"lib" must be the language\'s alone, not the default'],
];

describe('a deterministic layer is reported that compiles with', () => {
  test.each(OPTIONS)('%s', (_, options, message) => {
    const changes = { 'src/spec/tsconfig.json': project(['base'], options) };
    expect(check(changes)).toEqual([`src/spec/tsconfig.json:1: spec is deterministic: ${message}`]);
  });

  test('options that it inherits', () => {
    const changes = {
      'node.json': JSON.stringify({ compilerOptions: { ...DETERMINISTIC, types: ['node'] } }),
      'src/base/tsconfig.json': JSON.stringify({ extends: '../../node.json', references: [] }),
    };
    expect(check(changes)).toEqual([
      'src/base/tsconfig.json:1: base is deterministic: "types" must be [], not node',
    ]);
  });
});

test('what stands in src and is no layer is reported, and so is a layer without a project', () => {
  const found = check({ 'src/util/a.ts': '', 'src/main.ts': '', 'src/vmm/index.ts': '' });
  expect(found).toEqual([
    'src/main.ts:1: a file of src/ stands in a layer, not beside the layers',
    'src/util:1: util is not a layer',
    'src/vmm/tsconfig.json:1: the layer vmm has no tsconfig.json',
  ]);
});
