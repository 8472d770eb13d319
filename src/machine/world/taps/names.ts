/** What things are called in what is told: by the scenario's names, whatever a kernel calls them. */
import { type FieldValue, hex } from '../../../base/index.js';
import { DSA_ERROR_NAMES } from '../../../spec/index.js';

/** What software calls devices and queues, and what the scenario calls them. */
export type Aliases = readonly (readonly [string, string])[];

export type Fields = Readonly<Record<string, FieldValue>>;

export function renamed(text: string, aliases: Aliases): string {
  for (const [known, name] of aliases) {
    if (text === known || (!DEVICE.test(known) && text.includes(known))) return text.replace(known, name);
  }
  return text;
}

/** A kernel's name of an accelerator: short enough to stand in other names by chance. */
const DEVICE = /^dsa\d+$/;

/** Fields of software's events, with the scenario's names of devices and queues. */
export function renamedFields(fields: Fields, aliases: Aliases): Fields {
  const named: Record<string, FieldValue> = {};
  for (const [key, value] of Object.entries(fields)) {
    named[key] = typeof value === 'string' ? renamed(value, aliases) : value;
  }
  return named;
}

/** Who a task is: a guest's tasks are named after it, and its processes are so already. */
export function actorOf(task: string): string {
  const end = task.indexOf(': ');
  if (end >= 0 && task.startsWith(task.slice(0, end), end + 2) && task[2 * end + 2] === '/') {
    const next = task.indexOf(': ', end + 2);
    return next < 0 ? task.slice(end + 2) : task.slice(end + 2, next);
  }
  return task.replace('page request ', 'PRQ ');
}

export const errorName = (code: number): string =>
  (DSA_ERROR_NAMES as Readonly<Record<number, string>>)[code] ?? `status ${hex(code)}`;

/** Fields that are there. */
export function present(fields: Readonly<Record<string, FieldValue | undefined>>): Fields {
  return Object.fromEntries(
    Object.entries(fields).filter((entry): entry is [string, FieldValue] => entry[1] !== undefined),
  );
}
