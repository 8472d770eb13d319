/**
 * References and look-up. A reference is a record in the id's list, one for each holder with a count; there are
 * few holders of one id, and whoever asks gets them by name.
 */
import { type Refusal, refuse } from '../base/index.js';
import { checkOwner, deadlock, goneSet, type IoasidCore, LOCK } from './core.js';
import type { IoasidHolder, IoasidSet } from './handles.js';
import { checkHolder } from './holder.js';
import { Ioasid } from './ids.js';
import { HOLDER } from './phases.js';
import { dataOf, holdersOf, STATE, setData, setHolders, setOf, stateOf } from './record.js';
import { settle } from './settle.js';

/** Words of a reference. */
export const REFERENCE = { holder: 0, count: 1, next: 2, since: 3 } as const;

export const referenceWord = (core: IoasidCore, reference: number, which: number): number =>
  core.references.store.words[(reference << 2) + which] ?? 0;

type GetErrno = 'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES' | 'EBUSY' | 'ENOMEM';

/**
 * Takes a reference to an id in the name of `holder`. Handlers may.
 *
 * On failure: `EDEADLK` from an allocator; `EINVAL` for what is no id; `ENOENT` if the set, the id or the
 * holder is gone; `EACCES` if the id is of another set; `EBUSY` if it is being freed; `ENOMEM`.
 */
export function ioasidGet(set: IoasidSet, id: number, holder: IoasidHolder): Refusal<GetErrno> | undefined {
  const { core } = set;
  if (core.lock === LOCK.allocator) return deadlock(core, 'taking a reference');
  const refusal = checkHolder(set, id, holder);
  if (refusal !== undefined) return refusal;
  return takeReference(core, id, holder);
}

/** Takes a reference to an id that is known to be the caller's, for a holder that lives. @internal */
export function takeReference(
  core: IoasidCore,
  id: number,
  holder: IoasidHolder,
): Refusal<'EBUSY' | 'ENOMEM'> | undefined {
  if (stateOf(core.ids, id) === STATE.FREE_PENDING) return refuse('EBUSY', `IOASID ${id} is being freed`);
  const { store } = core.references;
  const held = find(core, id, holder.record);
  if (held !== 0) {
    const at = (held << 2) + REFERENCE.count;
    store.set(at, (store.words[at] ?? 0) + 1);
  } else {
    if (core.fails('reference')) return refuse('ENOMEM', `no memory for a reference of ${holder.name}`);
    const reference = core.references.take();
    const at = reference << 2;
    store.touch(at);
    store.words[at + REFERENCE.holder] = holder.record;
    store.words[at + REFERENCE.count] = 1;
    store.words[at + REFERENCE.next] = holdersOf(core.ids, id);
    store.words[at + REFERENCE.since] = core.step();
    setHolders(core.ids, id, reference);
  }
  countReference(core, holder.record, 1);
  if (core.traced) core.emit('get', id, { holder: holder.name });
  if (stateOf(core.ids, id) === STATE.IDLE) settle(core, id);
  return undefined;
}

/**
 * Gives a reference back that `holder` holds; the last one to an id that is being freed reclaims it: true if
 * so. Handlers may.
 *
 * On failure: `EDEADLK` from an allocator; `EINVAL` for what is no id, or if the holder holds none; `ENOENT` if
 * the set, the id or the holder is gone; `EACCES` if the id is of another set.
 */
export function ioasidPut(
  set: IoasidSet,
  id: number,
  holder: IoasidHolder,
): boolean | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES'> {
  const { core } = set;
  if (core.lock === LOCK.allocator) return deadlock(core, 'giving a reference back');
  const refusal = checkHolder(set, id, holder);
  if (refusal !== undefined) return refusal;
  const { store } = core.references;
  const held = find(core, id, holder.record);
  if (held === 0) return refuse('EINVAL', `${holder.name} holds no reference to IOASID ${id}`);
  const at = held << 2;
  store.touch(at);
  const count = (store.words[at + REFERENCE.count] ?? 0) - 1;
  store.words[at + REFERENCE.count] = count;
  countReference(core, holder.record, -1);
  if (core.traced) core.emit('put', id, { holder: holder.name });
  if (count !== 0) return false;
  remove(core, id, held);
  core.references.give(held);
  return settle(core, id);
}

/**
 * The private data of an id that `set` has, 0 if none was attached.
 *
 * On failure: `EINVAL` for what is no id; `ENOENT` if the set or the id is gone; `EACCES` if it is of another set.
 */
export function ioasidFind(set: IoasidSet, id: number): number | Refusal<'EINVAL' | 'ENOENT' | 'EACCES'> {
  const refusal = checkOwner(set, id);
  return refusal === undefined ? dataOf(set.core.ids, id) : refusal;
}

/**
 * The set that has an id.
 *
 * On failure: `EINVAL` for what is no id; `ENOENT` if it is free.
 */
export function ioasidFindSet(core: IoasidCore, id: number): IoasidSet | Refusal<'EINVAL' | 'ENOENT'> {
  if (!Ioasid.is(id)) return refuse('EINVAL', `${id} is no IOASID`);
  const set = core.sets.handles.at(setOf(core.ids, id));
  return set ?? refuse('ENOENT', `IOASID ${id} is free`);
}

/**
 * Sets the private data of an id: 32 bits, signed, and not 0, which is none.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for what is no id or no data; `ENOENT`, `EACCES` as
 * {@link ioasidFind}; `EBUSY` if it has some; `ENOMEM`.
 */
export function ioasidAttachData(
  set: IoasidSet,
  id: number,
  data: number,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES' | 'EBUSY' | 'ENOMEM'> | undefined {
  const { core } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'attaching data');
  if (data !== (data | 0) || data === 0) return refuse('EINVAL', `${data} is no private data`);
  const refusal = checkOwner(set, id);
  if (refusal !== undefined) return refusal;
  if (dataOf(core.ids, id) !== 0) return refuse('EBUSY', `IOASID ${id} has private data`);
  if (core.fails('data')) return refuse('ENOMEM', `no memory for the data of IOASID ${id}`);
  setData(core.ids, id, data);
  return undefined;
}

/**
 * Takes the private data of an id away; that there is none is no error.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL`, `ENOENT`, `EACCES` as {@link ioasidFind}.
 */
export function ioasidDetachData(
  set: IoasidSet,
  id: number,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES'> | undefined {
  const { core } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'detaching data');
  const refusal = checkOwner(set, id);
  if (refusal !== undefined) return refusal;
  setData(core.ids, id, 0);
  return undefined;
}

/** Whether `set` lives; for look-ups that name no id yet. @internal */
export const checkSet = (set: IoasidSet): Refusal<'ENOENT'> | undefined =>
  set.core.sets.handles.at(set.record) === set ? undefined : goneSet(set);

function find(core: IoasidCore, id: number, holder: number): number {
  const { words } = core.references.store;
  let reference = holdersOf(core.ids, id);
  while (reference !== 0 && words[(reference << 2) + REFERENCE.holder] !== holder) {
    reference = words[(reference << 2) + REFERENCE.next] ?? 0;
  }
  return reference;
}

function remove(core: IoasidCore, id: number, reference: number): void {
  const { store } = core.references;
  const next = referenceWord(core, reference, REFERENCE.next);
  let before = holdersOf(core.ids, id);
  if (before === reference) {
    setHolders(core.ids, id, next);
    return;
  }
  while (referenceWord(core, before, REFERENCE.next) !== reference) {
    before = referenceWord(core, before, REFERENCE.next);
  }
  store.set((before << 2) + REFERENCE.next, next);
}

function countReference(core: IoasidCore, holder: number, by: number): void {
  const { store } = core.holders;
  const at = (holder << 3) + HOLDER.references;
  store.set(at, (store.words[at] ?? 0) + by);
}
