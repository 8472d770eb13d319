/**
 * What the core keeps of one id: `struct ioasid_data` of the series (drivers/iommu/ioasid.c), with what it lacks:
 * who holds the id, since when, and the work still to be done.
 *
 * Each column is an array of its own. What look-ups read is so a few bytes an id, which a million of them leave
 * in the processor's cache; as one record of 32 bytes, a random find took ten times as long.
 */
import { type Restorable, Words } from '../../base/index.js';

/** The four states. */
export const STATE = { FREE: 0, IDLE: 1, ACTIVE: 2, FREE_PENDING: 3 } as const;
export type StateName = keyof typeof STATE;
export const STATE_NAMES = ['FREE', 'IDLE', 'ACTIVE', 'FREE_PENDING'] as const satisfies StateName[];

/** The phases of deferred work, in their order; 0 while none is under way. */
export const PHASE = { stop: 1, drain: 2, clear: 3 } as const;
export type Phase = keyof typeof PHASE;
export const PHASE_NAMES = ['none', 'stop', 'drain', 'clear'] as const;

/** Bits of the first word: state, phase, whether there is private data, the set's record. */
const STATE_MASK = 0x3;
const PHASE_AT = 2;
const PHASE_MASK = 0x3;
const HAS_DATA = 0x10;
const SET_AT = 8;
/** Bits of the second word: the SPID, and how many devices have bound it. */
const SPID_MASK = 0xfffff;
const BOUND_AT = 20;
/** The most devices that can bind one id. */
export const MAX_BOUND = 0x7ff;

/** The columns, by id. */
export class IdColumns implements Restorable {
  readonly state = new Words(8, 8);
  readonly spid = new Words(8, 8);
  /** Two words an id: the next and the previous of its set. */
  readonly links = new Words(16, 8);
  /** Two words an id: the first holder's reference, and the first item of work. */
  readonly users = new Words(16, 8);
  /** The step of the last change of state. */
  readonly since = new Words(8, 8);
  /** Private data. Grows when some is attached: most machines have none. */
  readonly data = new Words(0, 8);

  /** How many ids have room. */
  get length(): number {
    return this.state.length;
  }

  /** Makes room for ids 0 to `count` - 1, at least. */
  grow(count: number): void {
    for (const column of [this.state, this.spid, this.since]) column.grow(count);
    // As many as the others have now: they grow by whole chunks.
    for (const column of [this.links, this.users]) column.grow(this.length * 2);
  }

  get dirtyChunks(): number {
    return this.#columns().reduce((sum, column) => sum + column.dirtyChunks, 0);
  }

  mark(): void {
    for (const column of this.#columns()) column.mark();
  }

  restore(): void {
    for (const column of this.#columns()) column.restore();
  }

  #columns(): Words[] {
    return [this.state, this.spid, this.links, this.users, this.since, this.data];
  }
}

/** A number of {@link STATE}; FREE also for ids that have no room yet. */
export const stateOf = (ids: IdColumns, id: number): number => (ids.state.words[id] ?? 0) & STATE_MASK;
/** A number of {@link PHASE}, or 0. */
export const phaseOf = (ids: IdColumns, id: number): number =>
  ((ids.state.words[id] ?? 0) >>> PHASE_AT) & PHASE_MASK;
/** The record of the set that the id is in, 0 if the id is free. */
export const setOf = (ids: IdColumns, id: number): number => (ids.state.words[id] ?? 0) >>> SET_AT;
/** The SPID; tells something only while the id is bound. */
export const spidOf = (ids: IdColumns, id: number): number => (ids.spid.words[id] ?? 0) & SPID_MASK;
/** How many devices have bound the id. */
export const boundOf = (ids: IdColumns, id: number): number => (ids.spid.words[id] ?? 0) >>> BOUND_AT;
export const holdersOf = (ids: IdColumns, id: number): number => ids.users.words[id * 2] ?? 0;
export const workOf = (ids: IdColumns, id: number): number => ids.users.words[id * 2 + 1] ?? 0;
export const nextOf = (ids: IdColumns, id: number): number => ids.links.words[id * 2] ?? 0;
export const prevOf = (ids: IdColumns, id: number): number => ids.links.words[id * 2 + 1] ?? 0;
export const sinceOf = (ids: IdColumns, id: number): number => (ids.since.words[id] ?? 0) >>> 0;
/** The private data, 0 if there is none. */
export const dataOf = (ids: IdColumns, id: number): number =>
  ((ids.state.words[id] ?? 0) & HAS_DATA) === 0 ? 0 : (ids.data.words[id] ?? 0);

/** Whether anybody uses the id: holds a reference, has bound it, or has work to do for it. */
export const inUse = (ids: IdColumns, id: number): boolean =>
  (holdersOf(ids, id) | boundOf(ids, id) | workOf(ids, id)) !== 0;

/** Whether the set at `record` has the id. */
export const isOf = (ids: IdColumns, id: number, record: number): boolean => {
  const word = ids.state.words[id] ?? 0;
  return (word & STATE_MASK) !== STATE.FREE && word >>> SET_AT === record;
};

/** Makes a free id one of a set, in state IDLE. */
export function fillId(ids: IdColumns, id: number, set: number): void {
  ids.state.set(id, STATE.IDLE | (set << SET_AT));
}

/** Makes an id that nobody uses free. */
export function clearId(ids: IdColumns, id: number): void {
  ids.state.set(id, 0);
}

export function setState(ids: IdColumns, id: number, state: number): void {
  ids.state.set(id, ((ids.state.words[id] ?? 0) & ~STATE_MASK) | state);
}

export function setPhase(ids: IdColumns, id: number, phase: number): void {
  const word = ((ids.state.words[id] ?? 0) & ~(PHASE_MASK << PHASE_AT)) | (phase << PHASE_AT);
  if (word !== ids.state.words[id]) ids.state.set(id, word);
}

/** Private data; 0 for none. */
export function setData(ids: IdColumns, id: number, data: number): void {
  const word = (ids.state.words[id] ?? 0) & ~HAS_DATA;
  ids.state.set(id, data === 0 ? word : word | HAS_DATA);
  if (data === 0) return;
  if (id >= ids.data.length) ids.data.grow(ids.length);
  ids.data.set(id, data);
}

/** The second word of an id that `bound` devices have bound by `spid`. */
export const spidWord = (spid: number, bound: number): number =>
  bound === 0 ? 0 : spid | (bound << BOUND_AT);

export const setHolders = (ids: IdColumns, id: number, reference: number): void =>
  ids.users.set(id * 2, reference);
export const setWork = (ids: IdColumns, id: number, item: number): void => ids.users.set(id * 2 + 1, item);
export const setNext = (ids: IdColumns, id: number, next: number): void => ids.links.set(id * 2, next);
export const setPrev = (ids: IdColumns, id: number, prev: number): void => ids.links.set(id * 2 + 1, prev);
