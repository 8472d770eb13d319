/**
 * Per-user limits, as an rlimit is one: what the sets of one user have reserved together may not exceed it. It is
 * the reservation that counts and not what is in use, for it is the reservation that others lack: a user who
 * opens the allocator a thousand times would have reserved all there is.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { deadlock, isLive } from '../core/checks.js';
import { type IoasidCore, IoasidUser, LOCK } from '../core/core.js';
import { add } from '../tables/add.js';

/** Words of a user's record. */
export const USER = { max: 0, current: 1, sets: 2 } as const;

/**
 * Makes a user, whose sets may reserve `max` ids together.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for a max that is no count; `ENOMEM`.
 */
export function ioasidUserAlloc(
  core: IoasidCore,
  of: { readonly name: string; readonly max: number },
): IoasidUser | Refusal<'EDEADLK' | 'EINVAL' | 'ENOMEM'> {
  if (core.lock !== LOCK.none) return deadlock(core, 'making a user');
  if (!isCount(of.max)) return refuse('EINVAL', `a max of ${of.max}`);
  if (core.fails('user')) return refuse('ENOMEM', `no memory for the user ${of.name}`);
  const user = core.users.takeFor((record) => new IoasidUser(core, record, of.name));
  core.users.store.set(wordAt(user.record, USER.max), of.max);
  return user;
}

/**
 * Sets the limit. It may be below what is reserved: nothing is taken away, and nothing is given until it fits.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for a max that is no count; `ENOENT` if the user is gone.
 */
export function ioasidUserSetMax(
  user: IoasidUser,
  max: number,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT'> | undefined {
  const { core } = user;
  if (core.lock !== LOCK.none) return deadlock(core, 'setting a limit');
  if (!isCount(max)) return refuse('EINVAL', `a max of ${max}`);
  if (!isLive(core.users.handles, user)) return goneUser(user);
  core.users.store.set(wordAt(user.record, USER.max), max);
  return undefined;
}

/**
 * The limit, and what is reserved.
 *
 * On failure: `ENOENT` if the user is gone.
 */
export function ioasidUserRead(
  user: IoasidUser,
): { readonly max: number; readonly current: number } | Refusal<'ENOENT'> {
  if (!isLive(user.core.users.handles, user)) return goneUser(user);
  return {
    max: userWord(user.core, user.record, USER.max),
    current: userWord(user.core, user.record, USER.current),
  };
}

/**
 * Forgets a user.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if that has been done; `EBUSY` while a set of the user lives.
 */
export function ioasidUserFree(user: IoasidUser): Refusal<'EDEADLK' | 'ENOENT' | 'EBUSY'> | undefined {
  const { core, record } = user;
  if (core.lock !== LOCK.none) return deadlock(core, 'forgetting a user');
  if (!isLive(core.users.handles, user)) return goneUser(user);
  const sets = userWord(core, record, USER.sets);
  if (sets !== 0) return refuse('EBUSY', `user ${user.name} has ${sets} sets`);
  core.users.give(record);
  return undefined;
}

/** @internal */
export const goneUser = (user: IoasidUser): Refusal<'ENOENT'> =>
  refuse('ENOENT', `user ${user.name} is gone`);

/** Whether the limit of a user, or none, allows `count` more. @internal */
export function checkUser(core: IoasidCore, user: number, count: number): Refusal<'EDQUOT'> | undefined {
  if (user === 0 || count <= 0) return undefined;
  const [max, current] = [userWord(core, user, USER.max), userWord(core, user, USER.current)];
  if (current + count <= max) return undefined;
  const name = core.users.handles.at(user)?.name ?? '';
  return refuse('EDQUOT', `user ${name} has reserved ${current} of ${max}, and asks for ${count}`);
}

/** Counts a change of what a user's sets have reserved. @internal */
export function chargeUser(core: IoasidCore, user: number, by: { quota: number; sets: number }): void {
  if (user === 0) return;
  add(core.users.store, wordAt(user, USER.current), by.quota);
  add(core.users.store, wordAt(user, USER.sets), by.sets);
}

const wordAt = (user: number, which: number): number => (user << 2) + which;

/** Word `which` of a user. @internal */
export const userWord = (core: IoasidCore, user: number, which: number): number =>
  core.users.store.words[wordAt(user, which)] ?? 0;

const isCount = (max: number): boolean => Number.isInteger(max) && max >= 0 && max <= 0x7fff_ffff;
