/**
 * Sets: a partition of the ids with an owner, a token and a quota. The quota is reserved out of the capacity when
 * the set is made, and comes back when it goes: when its owner has let go of it and its last id is reclaimed.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { deadlock, goneSet, isLive } from '../core/checks.js';
import {
  COUNTER,
  type IoasidController,
  type IoasidCore,
  IoasidSet,
  type IoasidSetType,
  type IoasidToken,
  type IoasidUser,
  LOCK,
} from '../core/core.js';
import { freeAll } from '../ids/alloc.js';
import { endSet } from '../life/settle.js';
import { joinController } from '../limits/controller.js';
import { chargeUser, checkUser, goneUser } from '../limits/user.js';
import { adoptWaiting } from '../records/chain.js';
import { SET, setWord, setWordAt } from '../records/set-record.js';

export interface IoasidSetOptions {
  /** `mm` if the token is an address space: the VM's process. Else `none`. */
  readonly type: IoasidSetType;
  /** By which others find the set: unique in its type. Type `mm` has one. */
  readonly token?: IoasidToken;
  /** How many ids the set may have at a time. By default all that no set has reserved. */
  readonly quota?: number;
  /** Whose hierarchy its ids are charged to. */
  readonly controller?: IoasidController;
  /** Whose limit its quota counts against. */
  readonly user?: IoasidUser;
}

type SetAllocErrno = 'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EEXIST' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM';

/**
 * Makes a set, and puts on its chain whoever waits for its token.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for a quota that is no count, a type that there is not, or `mm`
 * without a token; `ENOENT` if the controller or the user is gone; `EEXIST` if a set of the type has the token,
 * `EBUSY` if the owner of that one is gone and it waits for its ids; `EDQUOT` at the user's limit; `ENOSPC` if the
 * system has not so many left; `ENOMEM`.
 */
export function ioasidSetAlloc(
  core: IoasidCore,
  options: IoasidSetOptions,
): IoasidSet | Refusal<SetAllocErrno> {
  const { type, token, controller, user } = options;
  const available = core.count(COUNTER.available);
  const quota = options.quota ?? available;
  if (core.lock !== LOCK.none) return deadlock(core, 'making a set');
  if (type !== 'none' && type !== 'mm') return refuse('EINVAL', `no type of token ${String(type)}`);
  if (type === 'mm' && token === undefined) return refuse('EINVAL', 'a set of type mm has a token');
  if (!isCount(quota)) return refuse('EINVAL', `a quota of ${quota}`);
  if (controller !== undefined && !isLive(core.controllers.handles, controller)) {
    return refuse('ENOENT', `controller ${controller.name} is gone`);
  }
  if (user !== undefined && !isLive(core.users.handles, user)) return goneUser(user);
  const taken = token === undefined ? undefined : core.tokens[type].get(token);
  if (taken !== undefined) {
    const dying = setWord(core, taken.record, SET.ownerGone) === 1;
    if (!dying) return refuse('EEXIST', `${taken.name} has the token`);
    return refuse('EBUSY', `${taken.name} has the token until its ids are reclaimed`);
  }
  const limit = checkUser(core, user?.record ?? 0, quota);
  if (limit !== undefined) return limit;
  if (quota > available) return refuse('ENOSPC', `a quota of ${quota}: the system has ${available} left`);
  if (core.sets.full || core.fails('set')) return refuse('ENOMEM', 'no memory for a set');

  const set = core.sets.takeFor((record) => new IoasidSet(core, record, { type, token }));
  const { store } = core.sets;
  store.set(setWordAt(set.record, SET.quota), quota);
  store.set(setWordAt(set.record, SET.user), user?.record ?? 0);
  joinController(core, set.record, controller?.record ?? 0);
  chargeUser(core, user?.record ?? 0, { quota, sets: 1 });
  core.add(COUNTER.available, -quota);
  if (token !== undefined) core.tokens[type].set(token, set);
  if (type === 'mm') adoptWaiting(core, set);
  if (core.traced) core.emitOther('set:alloc', { set: set.record, quota, token: token?.name ?? null });
  return set;
}

/**
 * The owner lets go of a set: all its ids are freed, and with the last one reclaimed the set is gone and its quota
 * back. True if that is so at once. Until then it gives out no id.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if the set is gone.
 */
export function ioasidSetFree(set: IoasidSet): boolean | Refusal<'EDEADLK' | 'ENOENT'> {
  const { core, record } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'freeing a set');
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  if (core.traced) core.emitOther('set:free', { set: record });
  // The owner is gone last, so that the end of the set is seen here, and not in the middle of the walk.
  freeAll(set);
  core.sets.store.set(setWordAt(record, SET.ownerGone), 1);
  if (setWord(core, record, SET.used) !== 0) return false;
  endSet(core, record);
  return true;
}

/**
 * Grows or shrinks the quota of a set. What counts is the difference: that much more must be left in the system,
 * and within the user's limit.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for what is no count; `ENOENT` if the set is gone; `EBUSY` if its
 * owner is, or if it has more ids than that; `EDQUOT` at the user's limit; `ENOSPC`.
 */
export function ioasidAdjustSet(
  set: IoasidSet,
  quota: number,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EBUSY' | 'EDQUOT' | 'ENOSPC'> | undefined {
  const { core, record } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'adjusting a quota');
  if (!isCount(quota)) return refuse('EINVAL', `a quota of ${quota}`);
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  if (setWord(core, record, SET.ownerGone) === 1) return refuse('EBUSY', `${set.name} has no owner any more`);
  const used = setWord(core, record, SET.used);
  if (quota < used) return refuse('EBUSY', `${set.name} has ${used} ids, and its quota would be ${quota}`);
  const more = quota - setWord(core, record, SET.quota);
  const user = setWord(core, record, SET.user);
  const limit = checkUser(core, user, more);
  if (limit !== undefined) return limit;
  const available = core.count(COUNTER.available);
  if (more > available)
    return refuse('ENOSPC', `${more} more for ${set.name}: the system has ${available} left`);
  core.sets.store.set(setWordAt(record, SET.quota), quota);
  chargeUser(core, user, { quota: more, sets: 0 });
  core.add(COUNTER.available, -more);
  return undefined;
}

/** What a set has. */
export interface IoasidSetState {
  readonly quota: number;
  /** Ids that it has, those being freed included. */
  readonly used: number;
  /** Whether its owner has let go of it. */
  readonly ownerGone: boolean;
}

/**
 * What a set has now.
 *
 * On failure: `ENOENT` if it is gone.
 */
export function ioasidSetRead(set: IoasidSet): IoasidSetState | Refusal<'ENOENT'> {
  const { core, record } = set;
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  return {
    quota: setWord(core, record, SET.quota),
    used: setWord(core, record, SET.used),
    ownerGone: setWord(core, record, SET.ownerGone) === 1,
  };
}

const isCount = (quota: number): boolean => Number.isInteger(quota) && quota >= 0;
