/**
 * What the core keeps of one id: eight words, in one array for all. `struct ioasid_data` of the series
 * (drivers/iommu/ioasid.c), with what it lacks: who holds the id, since when, and the work still to be done.
 *
 *     0  state, phase, set      4  next id of the set
 *     1  SPID, times bound      5  previous id of the set
 *     2  first item of work     6  step of the last change of state
 *     3  first holder           7  private data
 */
import type { Words } from '../base/index.js';

/** Words of id `n` begin at `n << RECORD_SHIFT`. */
export const RECORD_SHIFT = 3;

export const WORD = { state: 0, spid: 1, work: 2, holders: 3, next: 4, prev: 5, since: 6, data: 7 } as const;

/** The four states. */
export const STATE = { FREE: 0, IDLE: 1, ACTIVE: 2, FREE_PENDING: 3 } as const;
export type StateName = keyof typeof STATE;
export const STATE_NAMES = ['FREE', 'IDLE', 'ACTIVE', 'FREE_PENDING'] as const satisfies StateName[];

/** The phases of deferred work, in their order; 0 while none is under way. */
export const PHASE = { stop: 1, drain: 2, clear: 3 } as const;
export type Phase = keyof typeof PHASE;
export const PHASE_NAMES = ['none', 'stop', 'drain', 'clear'] as const;

const STATE_MASK = 0x3;
const PHASE_AT = 2;
const PHASE_MASK = 0x3;
const SET_AT = 8;
const SPID_MASK = 0xfffff;
const BOUND_AT = 20;
/** The most devices that can bind one id. */
export const MAX_BOUND = 0x7ff;

const word = (ids: Words, id: number, which: number): number => ids.words[(id << RECORD_SHIFT) + which] ?? 0;

/** A number of {@link STATE}; FREE also for ids that have no record yet. */
export const stateOf = (ids: Words, id: number): number => word(ids, id, WORD.state) & STATE_MASK;
/** A number of {@link PHASE}, or 0. */
export const phaseOf = (ids: Words, id: number): number =>
  (word(ids, id, WORD.state) >>> PHASE_AT) & PHASE_MASK;
/** The record of the set that the id is in. */
export const setOf = (ids: Words, id: number): number => word(ids, id, WORD.state) >>> SET_AT;
/** The SPID; tells something only while the id is bound. */
export const spidOf = (ids: Words, id: number): number => word(ids, id, WORD.spid) & SPID_MASK;
/** How many devices have bound the id. */
export const boundOf = (ids: Words, id: number): number => word(ids, id, WORD.spid) >>> BOUND_AT;
export const holdersOf = (ids: Words, id: number): number => word(ids, id, WORD.holders);
export const workOf = (ids: Words, id: number): number => word(ids, id, WORD.work);
export const sinceOf = (ids: Words, id: number): number => word(ids, id, WORD.since) >>> 0;
export const dataOf = (ids: Words, id: number): number => word(ids, id, WORD.data);
export const nextOf = (ids: Words, id: number): number => word(ids, id, WORD.next);
export const prevOf = (ids: Words, id: number): number => word(ids, id, WORD.prev);

/** Whether anybody uses the id: holds a reference, has bound it, or has work to do for it. */
export const inUse = (ids: Words, id: number): boolean =>
  (holdersOf(ids, id) | boundOf(ids, id) | workOf(ids, id)) !== 0;

export function setState(ids: Words, id: number, state: number): void {
  const at = (id << RECORD_SHIFT) + WORD.state;
  ids.set(at, ((ids.words[at] ?? 0) & ~STATE_MASK) | state);
}

export function setPhase(ids: Words, id: number, phase: number): void {
  const at = (id << RECORD_SHIFT) + WORD.state;
  ids.set(at, ((ids.words[at] ?? 0) & ~(PHASE_MASK << PHASE_AT)) | (phase << PHASE_AT));
}

/** The first word of an id in `state` that `set` has, with no work under way. */
export const stateWord = (state: number, set: number): number => state | (set << SET_AT);

/** The second word of an id that `bound` devices have bound under `spid`. */
export const spidWord = (spid: number, bound: number): number =>
  bound === 0 ? 0 : spid | (bound << BOUND_AT);
