/**
 * A reader of JSON (RFC 8259) that knows on which line each value stands, for files that people write by hand:
 * a message about a field must say where that field is, and the engine's own parser does not. A name that
 * stands twice in an object, which the RFC leaves open, is refused.
 */
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

const TOKEN = new RegExp(
  [
    String.raw`(?<mark>[{}[\],:])`,
    String.raw`(?<string>"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")`,
    String.raw`(?<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))`,
    String.raw`(?<literal>(?:true|false|null)(?!\w))`,
  ].join('|'),
  'uy',
);

/** Deeper nesting than this is refused: no file that this is for has any. */
const DEPTH = 32;

interface Token {
  readonly kind: 'mark' | 'string' | 'number' | 'literal' | 'end';
  readonly text: string;
}

/**
 * Reads a text.
 *
 * @param file its name, for messages
 * @throws InputError with file and line, where the text is no JSON
 */
export function parseJson(file: string, text: string): Json {
  return new Parser(file, text).whole();
}

class Parser {
  readonly #file: string;
  readonly #text: string;
  #at = 0;
  #line = 1;
  #token: Token = { kind: 'end', text: '' };

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
  }

  whole(): Json {
    this.#next();
    const value = this.#value(0);
    if (this.#token.kind !== 'end') throw this.#unexpected('the end of the file');
    return value;
  }

  #value(depth: number): Json {
    const { kind, text } = this.#token;
    const line = this.#line;
    if (depth > DEPTH) throw new InputError(`${this.#file}:${line}`, 'nested too deeply');
    if (text === '{' && kind === 'mark') return { line, kind: 'object', members: this.#members(depth) };
    if (text === '[' && kind === 'mark') return { line, kind: 'array', items: this.#items(depth) };
    if (kind === 'mark' || kind === 'end') throw this.#unexpected('a value');
    this.#next();
    return { line, kind, text: kind === 'string' ? unquoted(text) : text };
  }

  #members(depth: number): ReadonlyMap<string, JsonMember> {
    const members = new Map<string, JsonMember>();
    this.#list('}', () => {
      const { kind, text } = this.#token;
      const line = this.#line;
      if (kind !== 'string') throw this.#unexpected('a name in quotes');
      const name = unquoted(text);
      if (members.has(name)) throw new InputError(`${this.#file}:${line}`, `${name} stands here twice`);
      this.#next();
      if (this.#token.text !== ':') throw this.#unexpected(`':' after ${text}`);
      this.#next();
      members.set(name, { line, value: this.#value(depth + 1) });
    });
    return members;
  }

  #items(depth: number): readonly Json[] {
    const items: Json[] = [];
    this.#list(']', () => {
      items.push(this.#value(depth + 1));
    });
    return items;
  }

  /** What stands between the present mark and `close`, separated by commas. */
  #list(close: string, item: () => void): void {
    this.#next();
    if (this.#token.text === close) {
      this.#next();
      return;
    }
    for (;;) {
      item();
      const { text } = this.#token;
      if (text !== ',' && text !== close) throw this.#unexpected(`',' or '${close}'`);
      this.#next();
      if (text === close) return;
    }
  }

  /** Goes on to the next token. */
  #next(): void {
    for (; ; this.#at++) {
      const char = this.#text[this.#at];
      if (char === '\n') this.#line++;
      else if (char !== ' ' && char !== '\t' && char !== '\r') break;
    }
    if (this.#at === this.#text.length) {
      this.#token = { kind: 'end', text: '' };
      return;
    }
    TOKEN.lastIndex = this.#at;
    const found = TOKEN.exec(this.#text);
    if (found === null) {
      const odd = /\S{0,20}/.exec(this.#text.slice(this.#at, this.#at + 20))?.[0] ?? '';
      throw new InputError(`${this.#file}:${this.#line}`, `this is no JSON: ${odd}`);
    }
    this.#at = TOKEN.lastIndex;
    const text = found[0];
    const kind = (['mark', 'string', 'number', 'literal'] as const).find((each) => found.groups?.[each]);
    this.#token = { kind: kind ?? 'mark', text };
  }

  #unexpected(wanted: string): InputError {
    const { kind, text } = this.#token;
    const found = kind === 'end' ? 'the file ends' : `${text.slice(0, 40)} stands`;
    return new InputError(`${this.#file}:${this.#line}`, `${found} where ${wanted} belongs`);
  }
}

/** What a string's token says. */
function unquoted(token: string): string {
  const text: unknown = JSON.parse(token);
  return String(text);
}
