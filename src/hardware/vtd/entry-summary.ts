/**
 * What the context cache and the PASID cache keep beside an entry: as much of it as a request that hits needs
 * to know. And which faults are those of an entry, and not of the request that led to it.
 */
import { FAULT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { AddressSpace, Translation } from './device-tables.js';
import type { Walk } from './walk.js';

/** Summary of a context entry. */
export const CONTEXT = { PASID: 1, PRIVILEGED: 2, LEGACY: 4 } as const;
/** Summary of a PASID table entry or a legacy context entry: one of KIND (0: not sound), and what it allows. */
export const SPACE = { KIND: 7, SUPERVISOR: 8, EXECUTE: 16 } as const;
/** Kinds of translations, and of entries of the IOTLB. */
export const KIND = { FIRST: 1, SECOND: 2, NESTED: 3, PASS: 4 } as const;
/** Beside the kind of an entry of the IOTLB: there is no translation, and its frame is the reason (caching mode). */
export const NO_TRANSLATION = 8;

/** The kind of a translation. */
export const KIND_OF: Readonly<Record<Translation, number>> = {
  'first-stage': KIND.FIRST,
  'second-stage': KIND.SECOND,
  nested: KIND.NESTED,
  'pass-through': KIND.PASS,
};

/** What may be wrong with a context entry. */
export const CONTEXT_FAULTS: ReadonlySet<number> = new Set([
  FAULT.CONTEXT_ACCESS,
  FAULT.CONTEXT_NOT_PRESENT,
  FAULT.CONTEXT_RESERVED,
  FAULT.CONTEXT_INVALID,
  FAULT.SM_CONTEXT_ACCESS,
  FAULT.SM_CONTEXT_NOT_PRESENT,
  FAULT.SM_CONTEXT_RESERVED,
  FAULT.SM_CONTEXT_INVALID,
]);

/** What may be wrong with a PASID table entry, or that of the directory that leads to it. */
export const PASID_FAULTS: ReadonlySet<number> = new Set([
  FAULT.PASID_DIRECTORY_ACCESS,
  FAULT.PASID_DIRECTORY_NOT_PRESENT,
  FAULT.PASID_DIRECTORY_RESERVED,
  FAULT.PASID_TABLE_ACCESS,
  FAULT.PASID_NOT_PRESENT,
  FAULT.PASID_RESERVED,
  FAULT.PASID_INVALID,
]);

/** Those of them where there was no entry to be had: nothing to be cached. */
export const ACCESS_FAULTS: ReadonlySet<number> = new Set([
  FAULT.CONTEXT_ACCESS,
  FAULT.SM_CONTEXT_ACCESS,
  FAULT.PASID_TABLE_ACCESS,
]);

/** The walk's fault, if it is one of a table's entries. */
export const entryFault = (of: ReadonlySet<number>, walk: Walk): number =>
  walk.fault !== 0 && of.has(walk.fault) ? walk.fault : 0;

/** Sums an address space up. */
export function summaryOf(space: AddressSpace): number {
  return (
    KIND_OF[space.translation] |
    (space.supervisorRequests || space.translation === 'second-stage' || space.translation === 'pass-through'
      ? SPACE.SUPERVISOR
      : 0) |
    (space.executeRequests ? SPACE.EXECUTE : 0)
  );
}

/** Whether an address space, by its summary, takes requests for these rights at all. */
export function allows(space: number, rights: number): boolean {
  if ((space & SPACE.KIND) === 0) return false;
  if ((rights & RIGHT.USER) === 0 && (space & SPACE.SUPERVISOR) === 0) return false;
  return (rights & RIGHT.EXECUTE) === 0 || (space & SPACE.EXECUTE) !== 0;
}
