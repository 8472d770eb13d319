/**
 * What follows when somebody has let go of an id: the next phase of its work begins, it becomes idle, or, if it
 * is being freed, it is reclaimed, and with the last id of a set whose owner is gone, the set. None of this can
 * fail.
 */
import { assert } from '../../base/index.js';
import { COUNTER, type IoasidCore } from '../core/core.js';
import { leaveController, uncharge } from '../limits/controller.js';
import { chargeUser } from '../limits/user.js';
import { releaseChain } from '../records/chain.js';
import { advance } from '../records/phases.js';
import { SET, setWord, setWordAt, unlinkId } from '../records/set-record.js';
import { clearId, inUse, STATE, setOf, setState, stateOf } from '../tables/id-columns.js';
import { unchooseId } from './choose.js';

/** Dates the state that an id now has. */
export function changeState(core: IoasidCore, id: number, state: number): void {
  setState(core.ids, id, state);
  core.ids.since.set(id, core.change(0));
}

/** Brings the state of an id in line with who uses it. Whether it was reclaimed by that. */
export function settle(core: IoasidCore, id: number): boolean {
  // While it is announced, the core itself uses it; the end of the announcement settles it.
  if (core.announcing === id) return false;
  advance(core, id);
  const state = stateOf(core.ids, id);
  if (inUse(core.ids, id)) {
    if (state === STATE.IDLE) changeState(core, id, STATE.ACTIVE);
    return false;
  }
  if (state === STATE.FREE_PENDING) {
    reclaim(core, id);
    return true;
  }
  if (state === STATE.ACTIVE) changeState(core, id, STATE.IDLE);
  return false;
}

/** Gives an id that nobody uses back to the pool. */
export function reclaim(core: IoasidCore, id: number): void {
  const { ids } = core;
  if (core.traced) core.emit('reclaim', id);
  const set = setOf(ids, id);
  const at = setWordAt(set, 0);
  unlinkId(core, set, id);
  uncharge(core, core.sets.store.words[at + SET.controller] ?? 0, 1);
  clearId(ids, id);
  core.freeIds.give(id);
  core.change(-1);
  if (core.allocators.value.length !== 0) unchooseId(core, id);
  const { words } = core.sets.store;
  if (words[at + SET.ownerGone] === 1 && words[at + SET.used] === 0) endSet(core, set);
}

/** The end of a set that has neither owner nor ids: what it was given goes back to where it came from. */
export function endSet(core: IoasidCore, record: number): void {
  const set = core.sets.handles.at(record);
  assert(set !== undefined, `set ${record} ends once`);
  const quota = setWord(core, record, SET.quota);
  core.add(COUNTER.available, quota);
  chargeUser(core, setWord(core, record, SET.user), { quota: -quota, sets: -1 });
  leaveController(core, record);
  releaseChain(core, set);
  if (set.token !== undefined) core.tokens[set.type].delete(set.token);
  core.sets.give(record);
  if (core.traced) core.emitOther('set:gone', { set: record });
}
