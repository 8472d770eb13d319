/**
 * A scenario's text as YAML 1.2, and where in the text each of its values stands. Left out: anchors that expand to
 * more than a hundred nodes each, and several documents in one file.
 */
import { type Alias, type Document, isMap, isNode, isSeq, LineCounter, parseDocument, visit } from 'yaml';

/** Something wrong with a scenario. */
export interface ScenarioFault {
  /** Counts from 1. */
  readonly line: number;
  /** The field, as `steps[3].submit.to`; empty for the whole file. */
  readonly field: string;
  readonly what: string;
}

export interface YamlText {
  readonly value: unknown;
  /** The line of the value at `path`, or of the nearest around it that is there; of its key, if asked for. */
  lineOf(path: readonly PropertyKey[], isKey?: boolean): number;
}

const OPTIONS = { version: '1.2', prettyErrors: false, logLevel: 'error' } as const;
const MOST_ALIASES = 100;
const TOO_MANY = Symbol('too many');

/** The first alias that names no anchor before it. */
function strayAlias(document: Document): Alias | undefined {
  let stray: Alias | undefined;
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return undefined;
      stray = alias;
      return visit.BREAK;
    },
  });
  return stray;
}

/** All aliases have an anchor: what still throws a ReferenceError is the limit on their number. */
function plainOf(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    if (error instanceof ReferenceError) return TOO_MANY;
    throw error;
  }
}

/** Reads the text, or tells the faults of its syntax. */
export function readYaml(text: string): YamlText | ScenarioFault[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { ...OPTIONS, lineCounter: lines });
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  // The first alone: what follows a fault of syntax mostly follows from it.
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    const what = error.code === 'MULTIPLE_DOCS' ? 'a second document begins here' : error.message;
    return [{ line: lineAt(error.pos[0]), field: '', what }];
  }
  const stray = strayAlias(document);
  if (stray !== undefined) {
    const what = `no anchor &${stray.source} has been set before`;
    return [{ line: lineAt(stray.range?.[0] ?? 0), field: '', what }];
  }
  const value = plainOf(document);
  if (value === TOO_MANY) {
    return [{ line: 1, field: '', what: `aliases expand to more than ${MOST_ALIASES} nodes each` }];
  }
  return {
    value,
    lineOf(path, isKey = false) {
      let node: unknown = document.contents;
      let line = 1;
      for (const [i, key] of path.entries()) {
        const isLast = i === path.length - 1;
        if (isMap(node)) {
          const pair = node.items.find(
            (item) => isNode(item.key) && String(item.key.toJSON()) === String(key),
          );
          if (pair === undefined) return line;
          if (isNode(pair.key) && pair.key.range) line = lineAt(pair.key.range[0]);
          node = isLast && isKey ? undefined : pair.value;
        } else if (isSeq(node)) {
          node = node.items[Number(key)];
        } else {
          return line;
        }
        if (isNode(node) && node.range && !isSeq(node) && !isMap(node)) line = lineAt(node.range[0]);
        else if (isMap(node) && typeof key === 'number' && node.range) line = lineAt(node.range[0]);
      }
      return line;
    },
  };
}

/** A path as messages print it. */
export function fieldName(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}
