/** What sentences of the story are made of: fields of an event, in words. */
import type { FieldValue } from '../../base/index.js';

export type Fields = Readonly<Record<string, FieldValue>>;
/** What an event says, as a sentence without its subject, which stands before it as the actor. */
export type Tell = (fields: Fields) => string;

export const of = (fields: Fields, name: string): string => String(fields[name] ?? '-');

const has = (fields: Fields, name: string): boolean => fields[name] !== undefined && fields[name] !== null;

/** One of the host's numbers; of a virtual machine's, with the guest's number for it and the process. */
export function pasidOf(fields: Fields): string {
  // On a function that a guest has whole, a number that the host has none for.
  if (has(fields, 'guestPasid') && !has(fields, 'pasid') && !has(fields, 'id')) return ownPasidOf(fields);
  const pasid = of(fields, has(fields, 'pasid') ? 'pasid' : 'id');
  const owner = has(fields, 'owner') ? of(fields, 'owner') : undefined;
  if (!has(fields, 'vm')) return owner === undefined ? `PASID ${pasid}` : `PASID ${pasid} (${owner})`;
  if (!has(fields, 'guestPasid')) return `host PASID ${pasid} (${owner ?? of(fields, 'vm')})`;
  return `host PASID ${pasid} (guest ${of(fields, 'guestPasid')} of ${owner ?? of(fields, 'vm')})`;
}

/** One of a guest's numbers, with the process and the host's number for it; or, if no guest has it, the host's. */
export function ownPasidOf(fields: Fields): string {
  if (!has(fields, 'guestPasid'))
    return has(fields, 'vm') ? `guest PASID ${of(fields, 'pasid')}` : pasidOf(fields);
  const owner = has(fields, 'owner') ? ` of ${of(fields, 'owner')}` : ` of ${of(fields, 'vm')}`;
  const host = has(fields, 'pasid') ? ` (host ${of(fields, 'pasid')})` : '';
  return `guest PASID ${of(fields, 'guestPasid')}${owner}${host}`;
}

/** The descriptor, and its queue. */
const workOf = (fields: Fields): string =>
  has(fields, 'job') ? `${of(fields, 'job')} in ${of(fields, 'queue')}` : '';

/** The descriptor, where there is one. */
export const forJob = (fields: Fields): string => (has(fields, 'job') ? `, for ${of(fields, 'job')}` : '');

/** The same with its queue: of what went wrong. */
export const forWork = (fields: Fields): string => (has(fields, 'job') ? `, for ${workOf(fields)}` : '');

/** `: why`, where an event says why. */
export const why = (fields: Fields, name = 'why'): string =>
  has(fields, name) ? `: ${of(fields, name)}` : '';

export function plural(fields: Fields, name: string, noun: string): string {
  const count = Number(fields[name]);
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
