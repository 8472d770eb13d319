/** Looking an id up: its private data, and whose it is. */
import { type Refusal, refuse } from '../../base/index.js';
import { checkOwner, deadlock } from '../core/checks.js';
import { type IoasidCore, type IoasidSet, LOCK } from '../core/core.js';
import { Ioasid } from '../core/ids.js';
import { dataOf, setData, setOf } from '../tables/id-columns.js';

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
