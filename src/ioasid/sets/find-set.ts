/** Finding sets, and walking the ids of one. */
import { type Refusal, refuse } from '../../base/index.js';
import { goneSet, isLive } from '../core/checks.js';
import type { IoasidCore, IoasidSet, IoasidSetType, IoasidToken } from '../core/core.js';
import { Ioasid } from '../core/ids.js';
import { idsOfSet } from '../records/set-record.js';
import { STATE, setOf, stateOf } from '../tables/id-columns.js';

/**
 * The set that has `token` in `type`, whether or not its owner is gone.
 *
 * On failure: `ENOENT` if there is none.
 */
export function ioasidFindSetByToken(
  core: IoasidCore,
  type: IoasidSetType,
  token: IoasidToken,
): IoasidSet | Refusal<'ENOENT'> {
  return core.tokens[type].get(token) ?? refuse('ENOENT', `no set of type ${type} has ${token.name}`);
}

/**
 * The set of an address space: {@link ioasidFindSetByToken} for type `mm`.
 *
 * On failure: `ENOENT` if there is none.
 */
export function ioasidFindMmSet(core: IoasidCore, token: IoasidToken): IoasidSet | Refusal<'ENOENT'> {
  return ioasidFindSetByToken(core, 'mm', token);
}

/**
 * Calls `fn` for each id that the set has when this is called and still has when its turn comes, ascending. `fn`
 * runs without the lock, and may free.
 *
 * On failure: `ENOENT` if the set is gone.
 */
export function ioasidSetForEach(set: IoasidSet, fn: (id: Ioasid) => void): Refusal<'ENOENT'> | undefined {
  const { core, record } = set;
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  for (const id of idsOfSet(core, record)) {
    const there = stateOf(core.ids, id) !== STATE.FREE && setOf(core.ids, id) === record;
    if (there && isLive(core.sets.handles, set)) fn(Ioasid.of(id));
  }
  return undefined;
}

/** The sets there are, in the order of their numbers. Never fails. */
export function ioasidSets(core: IoasidCore): readonly IoasidSet[] {
  return core.sets.handles.list();
}
