/**
 * Checks that imports go down the layers of `src/` only, and that the modelled world stays alone with itself.
 *
 * What a layer may import is stated once, by the references of its `tsconfig.json`. The compiler holds the sources
 * to them, but not the tests, nor what is asked for below; and nothing holds the references to the order. So this
 * reads the references and every import of every file, and judges:
 *
 * - a reference goes down the order, `kernel` has none to `hardware`, and `ioasid` has one to `base` alone;
 * - a file imports another layer only where its own refers to it, and only through that layer's `index.js`;
 * - no import, not even one of types, closes a circle between the files of one layer;
 * - a deterministic layer compiles without ambient types and with the language's own library, and imports nothing
 *   from outside `src/`, be it a package or Node itself; but scenarios are parsed in `machine/scenario/`, with the
 *   packages {@link PACKAGES}, which are pure functions of their input.
 *
 * Tests (`*.test.ts`) are held to the layers, and otherwise import what they like.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The layers from top to bottom, as ARCHITECTURE.md lists them. Layers of one line do not know each other. */
const ORDER: readonly (readonly string[])[] = [
  ['cli', 'web'],
  ['inspect'],
  ['explore'],
  ['machine'],
  ['rules'],
  ['vmm'],
  ['kernel'],
  ['hardware'],
  ['ioasid'],
  ['spec'],
  ['base'],
];

/** The layers that are a pure function of their choices: all below those that talk to the outside. */
const DETERMINISTIC: ReadonlySet<string> = new Set(ORDER.slice(2).flat());

/** The packages that a folder of a deterministic layer may import; nothing else of that layer may. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = { 'machine/scenario': ['yaml', 'zod'] };

/** What the order alone would allow, and the design does not. */
function isForbidden(from: string, to: string): boolean {
  return (from === 'kernel' && to === 'hardware') || (from === 'ioasid' && to !== 'base');
}

/** One breach. `file` is relative to the root, with forward slashes; `line` counts from 1. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** What a check has read and found; `violations` are sorted by file and line. */
export interface Report {
  readonly layers: number;
  readonly files: number;
  readonly imports: number;
  readonly violations: readonly Violation[];
}

/** An import as it is written in a file; `target` is the absolute path of the source it names, if it is relative. */
interface Import {
  readonly line: number;
  readonly specifier: string;
  readonly target: string | undefined;
}

interface Layer {
  readonly name: string;
  readonly folder: string;
  readonly references: ReadonlySet<string>;
  readonly imports: ReadonlyMap<string, readonly Import[]>;
}

/** Checks the tree whose `src/` stands in the folder `root`. Throws only if the tree cannot be read. */
export function checkLayers(root: string): Report {
  const check = new Check(resolve(root));
  const layers = check.readLayers();
  for (const layer of layers) {
    check.judgeReferences(layer);
    for (const [file, imports] of layer.imports) {
      for (const each of imports) check.judgeImport(layer, file, each);
    }
    check.judgeCircles(layer);
  }
  const lists = layers.flatMap((layer) => [...layer.imports.values()]);
  return {
    layers: layers.length,
    files: lists.length,
    imports: lists.reduce((sum, list) => sum + list.length, 0),
    violations: check.violations.sort(byPlace),
  };
}

class Check {
  readonly violations: Violation[] = [];
  readonly #root: string;
  readonly #src: string;

  constructor(root: string) {
    this.#root = root;
    this.#src = join(root, 'src');
  }

  readLayers(): Layer[] {
    const layers: Layer[] = [];
    for (const entry of readdirSync(this.#src, { withFileTypes: true })) {
      const folder = join(this.#src, entry.name);
      if (!entry.isDirectory())
        this.#report(folder, 1, 'a file of src/ stands in a layer, not beside the layers');
      else if (rank(entry.name) < 0) this.#report(folder, 1, `${entry.name} is not a layer`);
      else layers.push(this.#readLayer(entry.name, folder));
    }
    return layers;
  }

  #readLayer(name: string, folder: string): Layer {
    const imports = new Map<string, Import[]>();
    for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
      const file = join(folder, path);
      if (path.endsWith('.ts')) imports.set(file, readImports(file));
    }
    return { name, folder, references: this.#readReferences(name, folder), imports };
  }

  /** The layers that a layer's project refers to; judges on the way what its compiler options let in. */
  #readReferences(name: string, folder: string): Set<string> {
    const config = join(folder, 'tsconfig.json');
    if (!existsSync(config)) {
      this.#report(config, 1, `the layer ${name} has no tsconfig.json`);
      return new Set();
    }
    const { config: json, error } = ts.readConfigFile(config, ts.sys.readFile);
    if (error) this.#report(config, 1, ts.flattenDiagnosticMessageText(error.messageText, ' '));
    const parsed = ts.parseJsonConfigFileContent(json ?? {}, ts.sys, folder);
    if (DETERMINISTIC.has(name)) this.#judgeOptions(name, config, parsed.options);
    const references = new Set<string>();
    for (const reference of parsed.projectReferences ?? []) {
      const place = this.#place(reference.path);
      if (place !== undefined && place.rest === '') references.add(place.layer);
      else this.#report(config, 1, `${name} refers to ${this.#show(reference.path)}, which is not a layer`);
    }
    return references;
  }

  #judgeOptions(name: string, config: string, options: ts.CompilerOptions): void {
    if (options.types === undefined || options.types.length > 0) {
      const found = options.types === undefined ? 'none stated' : options.types.join(', ');
      this.#report(config, 1, `${name} is deterministic: "types" must be [], not ${found}`);
    }
    const lib = options.lib ?? [];
    if (lib.length === 0 || !lib.every((file) => /^lib\.es\d+\.d\.ts$/.test(file))) {
      const found = lib.length === 0 ? 'the default' : lib.join(', ');
      this.#report(config, 1, `${name} is deterministic: "lib" must be the language's alone, not ${found}`);
    }
  }

  judgeReferences(layer: Layer): void {
    const config = join(layer.folder, 'tsconfig.json');
    for (const to of layer.references) {
      if (rank(to) <= rank(layer.name))
        this.#report(config, 1, `${layer.name} refers to ${to}, which is not below it`);
      else if (isForbidden(layer.name, to)) this.#report(config, 1, `${layer.name} must not refer to ${to}`);
    }
  }

  judgeImport(layer: Layer, file: string, { line, specifier, target }: Import): void {
    const isTest = file.endsWith('.test.ts');
    if (target === undefined) {
      const folder = posix(relative(this.#src, dirname(file)));
      const isStated = PACKAGES[folder]?.includes(specifier) === true;
      if (DETERMINISTIC.has(layer.name) && !isTest && !isStated) {
        this.#report(
          file,
          line,
          `${layer.name} is deterministic and imports layers only, not '${specifier}'`,
        );
      }
      return;
    }
    const place = this.#place(target);
    if (place === undefined) {
      if (!isTest) this.#report(file, line, `'${specifier}' leaves the layers`);
    } else if (place.layer !== layer.name) {
      if (!layer.references.has(place.layer)) {
        this.#report(
          file,
          line,
          `${layer.name} does not refer to ${place.layer}, and imports '${specifier}'`,
        );
      } else if (place.rest !== 'index.ts') {
        this.#report(file, line, `'${specifier}' goes past ${place.layer}/index.js`);
      }
    }
  }

  /** Reports one circle for each import that closes one, found depth first in the order of names. */
  judgeCircles(layer: Layer): void {
    const done = new Set<string>();
    const path: string[] = [];
    const visit = (file: string): void => {
      path.push(file);
      for (const { target, line } of layer.imports.get(file) ?? []) {
        if (target === undefined || done.has(target) || !layer.imports.has(target)) continue;
        const start = path.indexOf(target);
        if (start < 0) visit(target);
        else {
          const circle = [...path.slice(start), target].map((each) => relative(layer.folder, each));
          this.#report(file, line, `imports in a circle: ${circle.map(posix).join(' -> ')}`);
        }
      }
      path.pop();
      done.add(file);
    };
    for (const file of layer.imports.keys()) if (!done.has(file)) visit(file);
  }

  /** Which layer a path lies in, and where within it; undefined outside of the layers. */
  #place(path: string): { layer: string; rest: string } | undefined {
    const [layer = '', ...rest] = relative(this.#src, path).split(sep);
    return rank(layer) < 0 ? undefined : { layer, rest: rest.join('/') };
  }

  #show(path: string): string {
    return posix(relative(this.#root, path));
  }

  #report(file: string, line: number, message: string): void {
    this.violations.push({ file: this.#show(file), line, message });
  }
}

/** All imports and re-exports of a file, also of types and at run time, as the compiler's own scanner finds them. */
function readImports(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName, pos }) => ({
    line: text.slice(0, pos).split('\n').length,
    specifier: fileName,
    target: /^\.\.?(\/|$)/.test(fileName)
      ? resolve(dirname(file), fileName.replace(/\.js$/, '.ts'))
      : undefined,
  }));
}

/** How far from the top a layer stands; -1 for what is none. */
function rank(layer: string): number {
  return ORDER.findIndex((names) => names.includes(layer));
}

function posix(path: string): string {
  return path.split(sep).join('/');
}

function byPlace(a: Violation, b: Violation): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line;
}

function main(): number {
  const { layers, files, imports, violations } = checkLayers(
    fileURLToPath(new URL('../..', import.meta.url)),
  );
  for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`);
  console.log(`${layers} layers, ${files} files, ${imports} imports, ${violations.length} violations`);
  return violations.length === 0 ? 0 : 1;
}

// Run, not imported: the tests import this file.
if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();
