/**
 * What every call looks at first: whether the lock is free, whether what it was handed still names something, and
 * whether the id is the caller's. One place, so that one errno wins over another the same way everywhere.
 */
import { type KeptSlots, type Refusal, refuse } from '../../base/index.js';
import { isOf, STATE, stateOf } from '../tables/id-columns.js';
import { type IoasidCore, type IoasidHolder, type IoasidSet, LOCK } from './core.js';
import { Ioasid } from './ids.js';

export function deadlock(core: IoasidCore, what: string): Refusal<'EDEADLK'> {
  const who = core.lock === LOCK.allocator ? 'a callback' : 'a notifier';
  return refuse('EDEADLK', `${what} from ${who}: the core's lock is held`);
}

/** Whether `handle` still names what it was made for. */
export function isLive<T extends object>(
  handles: KeptSlots<T>,
  handle: T & { readonly record: number },
): boolean {
  return handles.at(handle.record) === handle;
}

/** Undefined if `set` lives and has `id`. */
export function checkOwner(set: IoasidSet, id: number): Refusal<'EINVAL' | 'ENOENT' | 'EACCES'> | undefined {
  const { core } = set;
  if (id >>> 0 !== id || id > Ioasid.last) return refuse('EINVAL', `${id} is no IOASID`);
  if (core.sets.handles.at(set.record) !== set) return goneSet(set);
  if (id < core.ids.length && isOf(core.ids, id, set.record)) return undefined;
  if (stateOf(core.ids, id) === STATE.FREE) return refuse('ENOENT', `IOASID ${id} is free`);
  return refuse('EACCES', `IOASID ${id} is not of ${set.name}`);
}

export function goneSet(set: IoasidSet): Refusal<'ENOENT'> {
  return refuse('ENOENT', `${set.name} is gone`);
}

/** Whether `set` lives; for look-ups that name no id yet. */
export const checkSet = (set: IoasidSet): Refusal<'ENOENT'> | undefined =>
  set.core.sets.handles.at(set.record) === set ? undefined : goneSet(set);

export const goneHolder = (holder: IoasidHolder): Refusal<'ENOENT'> =>
  refuse('ENOENT', `holder ${holder.name} is gone`);

/** Undefined if `set` lives and has `id`, and `holder` lives. */
export function checkHolder(
  set: IoasidSet,
  id: number,
  holder: IoasidHolder,
): Refusal<'EINVAL' | 'ENOENT' | 'EACCES'> | undefined {
  const refusal = checkOwner(set, id);
  if (isLive(set.core.holders.handles, holder)) return refusal;
  return refusal === undefined || refusal.errno === 'EACCES' ? goneHolder(holder) : refusal;
}
