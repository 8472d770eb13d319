/**
 * What is wrong with a value, in a person's words: from an issue that zod found. Where the schema states a message
 * of its own (what a name or a size looks like), that is told.
 */
import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** One fault of an issue; `path` is within the value that was checked. */
export interface IssueFault {
  readonly path: readonly PropertyKey[];
  /** The fault is the key itself, not what it leads to. */
  readonly isKey: boolean;
  readonly what: string;
}

/** The faults that an issue tells: one, but for keys that are not known, which are one each. */
export function faultsOf(issue: Issue, value: unknown): IssueFault[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const known = issue.keys.map((key) => ({
      path: [...path, key],
      isKey: true,
      what: `no such key: ${key}`,
    }));
    return known;
  }
  if (issue.code === 'invalid_key') {
    return [{ path, isKey: true, what: issue.issues[0]?.message ?? issue.message }];
  }
  return [{ path, isKey: false, what: textOf(issue, valueAt(value, path)) }];
}

function textOf(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? 'is missing'
        : `is ${show(value)}, and has to be ${nameOf(issue.expected)}`;
    case 'invalid_value':
      return value === undefined
        ? 'is missing'
        : `is ${show(value)}, and has to be ${issue.values.map(String).join(' or ')}`;
    case 'too_small':
      return issue.origin === 'string'
        ? 'is empty'
        : `is ${show(value)}, and has to be at least ${issue.minimum}`;
    case 'too_big':
      return `is ${show(value)}, and can be at most ${issue.maximum}`;
    case 'not_multiple_of':
      return `is ${show(value)}, and has to be a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return `is ${show(value)}: ${issue.message}`;
    case 'invalid_union':
      return value === undefined ? 'is missing' : unionText(issue.errors, value);
    default:
      return issue.message;
  }
}

/** Of a union, the part that the value's type fits; all of them, if none does. */
function unionText(parts: readonly (readonly Issue[])[], value: unknown): string {
  const first = parts.map(([issue]) => issue).filter((issue) => issue !== undefined);
  const near = first.find(({ code }) => code !== 'invalid_type');
  if (near !== undefined) return textOf(near, value);
  const names = first.map((issue) =>
    issue.code === 'invalid_type' ? nameOf(issue.expected) : issue.message,
  );
  return `is ${show(value)}, and has to be ${names.join(' or ')}`;
}

const NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'keys and values',
  record: 'names and values',
  array: 'a list',
};

const nameOf = (expected: string): string => NAMES[expected] ?? expected;

/** Of a long value, its beginning. */
const MOST_SHOWN = 60;

function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'keys and values';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}...` : text;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = Reflect.get(at, key);
  }
  return at;
}
