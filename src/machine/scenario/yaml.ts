/**
 * A scenario's text as YAML 1.2, and where in the text each of its values stands. Left out: anchors that expand to
 * more than a hundred nodes each, and several documents in one file.
 */
import { isMap, isNode, isSeq, LineCounter, parseDocument } from 'yaml';

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

/** Reads the text, or tells the faults of its syntax. */
export function readYaml(text: string): YamlText | ScenarioFault[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { version: '1.2', prettyErrors: false, lineCounter: lines });
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  const errors = [...document.errors, ...document.warnings];
  if (errors.length > 0) {
    return errors.map(({ pos, message }) => ({ line: lineAt(pos[0]), field: '', what: message }));
  }
  return {
    value: document.toJS({ maxAliasCount: 100 }),
    lineOf(path, isKey = false) {
      let node: unknown = document.contents;
      let line = 1;
      for (const [i, key] of path.entries()) {
        const isLast = i === path.length - 1;
        if (isMap(node)) {
          const pair = node.items.find((item) => isNode(item.key) && item.key.toJSON() === key);
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
