import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputError } from '../errors.js';
import { type Json, parseJson } from './json.js';

/** What the engine's parser makes of the same text. */
function plain(json: Json): unknown {
  switch (json.kind) {
    case 'object':
      return Object.fromEntries([...json.members].map(([name, { value }]) => [name, plain(value)]));
    case 'array':
      return json.items.map(plain);
    case 'string':
      return json.text;
    default:
      return JSON.parse(json.text);
  }
}

/** No `__proto__`: it is a name like others here, and none in an object of the language. */
const values = fc.jsonValue({ maxDepth: 4 }).filter((value) => !JSON.stringify(value).includes('__proto__'));

test('reads what the engine reads', () => {
  fc.assert(
    fc.property(values, fc.constantFrom(0, 1, '\t'), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent);
      expect(plain(parseJson('f', text))).toEqual(JSON.parse(text));
    }),
  );
});

test('refuses what the engine refuses', () => {
  const mutated = fc.tuple(values, fc.nat(), fc.constantFrom('', ',', '"', '}', '[', '0', '\\', '\n', 'x'));
  fc.assert(
    fc.property(mutated, ([value, at, by]) => {
      const text = JSON.stringify(value);
      const place = at % (text.length + 1);
      const broken = text.slice(0, place) + by + text.slice(place + 1);
      expect(accepts(() => parseJson('f', broken))).toBe(accepts(() => JSON.parse(broken)));
    }),
  );
});

function accepts(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    // Only this parser knows names that stand twice.
    return error instanceof InputError && error.what.endsWith('stands here twice');
  }
}

test('knows the line of each name and value', () => {
  const top = parseJson('f', '\n{ "a":\n  1, "b"\n: [2,\n3] }');
  expect(top).toEqual({
    line: 2,
    kind: 'object',
    members: new Map([
      ['a', { line: 2, value: { line: 3, kind: 'number', text: '1' } }],
      [
        'b',
        {
          line: 3,
          value: {
            line: 4,
            kind: 'array',
            items: [
              { line: 4, kind: 'number', text: '2' },
              { line: 5, kind: 'number', text: '3' },
            ],
          },
        },
      ],
    ]),
  });
});

describe('says where a text is no JSON', () => {
  test.each([
    { text: '{"a": 1,\n"b" 2}', why: 'f:2: this is no JSON: "b" 2}' },
    { text: '{"a": 1\n"b": 2}', why: 'f:2: this is no JSON: "b": 2}' },
    { text: '{"a": 1,\n}', why: 'f:2: this is no JSON: }' },
    { text: '[1,\n', why: 'f:2: this is no JSON: it ends too early' },
    { text: '{} {}', why: 'f:1: this is no JSON: {} {}' },
    { text: '{"a":\n0x10}', why: 'f:2: this is no JSON: 0x10}' },
    { text: '{"a": 1,\n"a": 2}', why: 'f:2: a stands here twice' },
    { text: '[\n"a\n"]', why: 'f:2: this is no JSON: "a' },
    { text: '['.repeat(100_000) + ']'.repeat(100_000), why: 'f:1: nested too deeply' },
  ])('$why', ({ text, why }) => {
    expect(() => parseJson('f', text)).toThrow(new InputError(...(why.split(/: (.*)/s) as [string, string])));
  });
});
