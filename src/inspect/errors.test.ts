import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { codeOf, EnvironmentError, InputError, reasonOf } from './errors.js';

test('an error says where and what, and with which code the program ends', () => {
  const input = new InputError('registers.json:3', 'CAP is missing');
  expect([input.message, input.what, input.exitCode]).toEqual([
    'registers.json:3: CAP is missing',
    'CAP is missing',
    2,
  ]);
  expect(new EnvironmentError('qmp:/x', 'gone').exitCode).toBe(3);
});

test('a message is one line, whatever a name holds', () => {
  expect(new InputError('a\nb', 'has \u001b[1m and \u0085').message).toBe('a\\x0ab: has \\x1b[1m and \\x85');
});

test("the system gives reasons in a person's words", () => {
  const failure = (path: string): unknown => {
    try {
      return readFileSync(path);
    } catch (error) {
      return error;
    }
  };
  expect(reasonOf(failure('/no/such/file'))).toBe('there is no such file');
  expect(reasonOf(failure('/'))).toBe('this is a directory');
  expect(codeOf(failure('/'))).toBe('EISDIR');
  expect(codeOf('text')).toBeUndefined();
  expect(reasonOf(new Error('odd'))).toBe('odd');
});
