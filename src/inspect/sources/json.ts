/**
 * JSON (RFC 8259) with the line of each value, for files that people write by hand: a message about a field must
 * say where that field is. The engine judges whether a text is JSON; `yaml`, to which every JSON text is YAML,
 * knows the places. A name that stands twice in an object, which the RFC leaves open, is refused.
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { InputError } from '../errors.js';

/** A value and the line on which it begins, from 1. */
export type Json = { readonly line: number } & (
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, JsonMember> }
  | { readonly kind: 'array'; readonly items: readonly Json[] }
  | { readonly kind: 'string'; readonly text: string }
  /** As it is written: a number of the language might not hold it. */
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'literal'; readonly text: string }
);

/** A member of an object. */
export interface JsonMember {
  /** Where its name stands. */
  readonly line: number;
  readonly value: Json;
}

/**
 * Reads a text.
 *
 * @param file its name, for messages
 * @throws InputError with file and line, where the text is no JSON
 */
export function parseJson(file: string, text: string): Json {
  judge(file, text);
  return withLines(file, text);
}

function withLines(file: string, text: string): Json {
  const lines = new LineCounter();
  const document = parseDocument<Node>(text, {
    schema: 'failsafe',
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
  });
  const [error] = document.errors;
  if (error !== undefined) {
    // What is JSON is refused here for its depth alone, by the engine's own limit.
    const what = error.message.includes('call stack') ? 'nested too deeply' : error.message;
    throw new InputError(`${file}:${lines.linePos(error.pos[0]).line}`, what);
  }
  const lineOf = (node: Node): number => lines.linePos(node.range?.[0] ?? 0).line;
  const json = (node: unknown): Json => {
    if (isMap<Node, Node>(node)) {
      const members = new Map<string, JsonMember>();
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : '';
        if (members.has(name)) throw new InputError(`${file}:${lineOf(key)}`, `${name} stands here twice`);
        members.set(name, { line: lineOf(key), value: json(value) });
      }
      return { line: lineOf(node), kind: 'object', members };
    }
    if (isSeq(node)) return { line: lineOf(node), kind: 'array', items: node.items.map(json) };
    if (!isScalar(node)) throw new InputError(file, 'this is no JSON');
    const written = String(node.value);
    if (node.type === 'QUOTE_DOUBLE') return { line: lineOf(node), kind: 'string', text: written };
    return { line: lineOf(node), kind: /^[-\d]/.test(written) ? 'number' : 'literal', text: written };
  };
  return json(document.contents);
}

/** Refuses what is no JSON, with its line. */
function judge(file: string, text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const place = Number(/at position (\d+)/.exec(error.message)?.[1] ?? text.length);
    const line = text.slice(0, place).split('\n').length;
    const found = text.split('\n')[line - 1]?.trim() ?? '';
    throw new InputError(
      `${file}:${line}`,
      `this is no JSON: ${found === '' ? 'it ends too early' : found.slice(0, 60)}`,
    );
  }
}
