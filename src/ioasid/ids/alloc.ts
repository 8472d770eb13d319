/**
 * The life of an id: `ioasidAlloc` and `ioasidFree`. Reserve, fill, publish: all that can fail comes before the
 * first change that another could see, and to free cannot fail.
 */
import { isRefusal, type Refusal, refuse } from '../../base/index.js';
import { checkOwner, deadlock, goneSet, isLive } from '../core/checks.js';
import { type IoasidCore, type IoasidSet, LOCK } from '../core/core.js';
import { Ioasid } from '../core/ids.js';
import { chooseId, unchooseId } from '../life/choose.js';
import { changeState, reclaim } from '../life/settle.js';
import { charge, limitHit, uncharge } from '../limits/controller.js';
import { announce, EVENT, hasAudience } from '../notify/announce.js';
import { idsOfSet, linkId, SET, setWord, setWordAt } from '../records/set-record.js';
import { fillId, STATE, stateOf } from '../tables/id-columns.js';

type AllocErrno = 'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM' | 'EIO';

/**
 * Hands out an id of `min` to `max`, both inclusive: by the default allocator the lowest that is free, or under
 * the policy `cyclic` the one that is free longest. Id 0 is never handed out. Announces ALLOC.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` if the range is none; `ENOENT` if the set is gone; `EBUSY`
 * if its owner is; `EDQUOT` at the set's quota or a controller's max, whose name it gives; `ENOSPC` if no id of
 * the range is free; `ENOMEM`; `EIO` if a custom allocator failed.
 */
export function ioasidAlloc(set: IoasidSet, min: number, max: number): Ioasid | Refusal<AllocErrno> {
  const { core, record } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'allocating');
  if (min >>> 0 !== min || max >>> 0 !== max || min > max)
    return refuse('EINVAL', `no range from ${min} to ${max}`);
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  const words = core.sets.store.words;
  const at = setWordAt(record, 0);
  if (words[at + SET.ownerGone] === 1) return refuse('EBUSY', `${set.name} has no owner any more`);
  const quota = words[at + SET.quota] ?? 0;
  if ((words[at + SET.used] ?? 0) >= quota)
    return refuse('EDQUOT', `${set.name} is at its quota of ${quota}`);
  const controller = words[at + SET.controller] ?? 0;
  const limit = charge(core, controller);
  if (limit !== 0) return limitHit(core, limit);
  const id = reserve(core, min, max);
  if (isRefusal(id)) {
    uncharge(core, controller, 1);
    return id;
  }
  const { ids } = core;
  core.freeIds.take(id);
  fillId(ids, id, record);
  linkId(core, record, id);
  ids.since.set(id, core.change(1));
  if (core.traced) core.emit('alloc', id);
  if (hasAudience(core, record)) announce(core, EVENT.ALLOC, id);
  return Ioasid.of(id);
}

/** A free id with room for its record; the books have not changed. */
function reserve(core: IoasidCore, min: number, max: number): number | Refusal<'ENOSPC' | 'EIO' | 'ENOMEM'> {
  const last = max < core.capacity ? max : core.capacity - 1;
  const first = min === 0 ? 1 : min;
  if (first > last)
    return refuse('ENOSPC', `no id from ${min} to ${max} is in the system's ${core.capacity}`);
  const id = chooseId(core, first, last);
  if (isRefusal(id)) return id;
  if (core.fails('id')) {
    unchooseId(core, id);
    return refuse('ENOMEM', `no memory for IOASID ${id}`);
  }
  const { ids, capacity } = core;
  if (id >= ids.length) ids.grow(Math.min(Math.max(id + 1, ids.length * 2), capacity));
  return id;
}

/**
 * Frees an id. One that nobody uses is reclaimed at once, and nobody is told: true. One in use becomes
 * FREE_PENDING, which is announced once, and is reclaimed when the last user has let go: true if that is so when
 * the announcement is over, else false. To free it again before that is no error, and does nothing.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for what is no id; `ENOENT` if the set or the id is gone;
 * `EACCES` if the id is of another set.
 */
export function ioasidFree(
  set: IoasidSet,
  id: number,
): boolean | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES'> {
  const { core } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'freeing');
  return checkOwner(set, id) ?? freeId(core, id);
}

function freeId(core: IoasidCore, id: number): boolean {
  if (stateOf(core.ids, id) === STATE.FREE_PENDING) return false;
  if (core.traced) core.emit('free', id);
  if (stateOf(core.ids, id) === STATE.IDLE) {
    reclaim(core, id);
    return true;
  }
  changeState(core, id, STATE.FREE_PENDING);
  return announce(core, EVENT.FREE, id);
}

/**
 * Frees every id of a set, whatever its state; how many are still in use, and are reclaimed later.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if the set is gone.
 */
export function ioasidFreeAllInSet(set: IoasidSet): number | Refusal<'EDEADLK' | 'ENOENT'> {
  const { core } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'freeing all');
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  freeAll(set);
  return isLive(core.sets.handles, set) ? setWord(core, set.record, SET.used) : 0;
}

/** @internal */
export function freeAll(set: IoasidSet): void {
  // A handler's put may reclaim any id of the set, so each is looked at again; none can be handed out meanwhile.
  for (const id of idsOfSet(set.core, set.record)) {
    if (stateOf(set.core.ids, id) !== STATE.FREE) freeId(set.core, id);
  }
}
