/** Scenarios by the name of a file, or of one that ships with ioasis. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { InputError, reasonOf } from '../inspect/index.js';
import { parseScenario, type Scenario } from '../machine/index.js';

const SHIPPED = fileURLToPath(new URL('../../scenarios/', import.meta.url));

export interface NamedScenario {
  /** Without folder and `.yaml`. */
  readonly name: string;
  readonly scenario: Scenario;
}

/** The names of the scenarios that ship with ioasis. */
export function shippedScenarios(): string[] {
  return readdirSync(SHIPPED)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => basename(file, '.yaml'))
    .sort();
}

/**
 * Reads a scenario; undefined once all of its faults have been told, a line each. An {@link InputError} if there is
 * none.
 */
export function readScenario(given: string): NamedScenario | undefined {
  const path = pathOf(given);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(given, reasonOf(error));
  }
  const scenario = parseScenario(text);
  if (!Array.isArray(scenario)) return { name: basename(path).replace(/\.ya?ml$/, ''), scenario };
  for (const { line, field, what } of scenario) {
    const { message } = new InputError(`${given}:${line}`, field === '' ? what : `${field}: ${what}`);
    process.stderr.write(`ioasis: ${message}\n`);
  }
  return undefined;
}

function pathOf(given: string): string {
  if (/[/\\.]/.test(given) || existsSync(given)) return given;
  const shipped = `${SHIPPED}${given}.yaml`;
  if (existsSync(shipped)) return shipped;
  const names = shippedScenarios().join(', ');
  throw new InputError(given, `there is no such file, nor a scenario of that name: there is ${names}`);
}
