/**
 * What follows when somebody has let go of an id: the next phase of its work begins, it becomes idle, or, if it
 * is being freed, it is reclaimed, and with the last id of a set whose owner is gone, the set. None of this can
 * fail.
 */
import { assert } from '../base/index.js';
import { unchooseId } from './allocator.js';
import { releaseChain } from './chain.js';
import { leaveController, uncharge } from './controller.js';
import { COUNTER, type IoasidCore } from './core.js';
import { advance } from './phases.js';
import { inUse, RECORD_SHIFT, STATE, setOf, setState, stateOf, WORD } from './record.js';
import { SET, setWord, unlinkId } from './set-record.js';
import { chargeUser } from './user.js';

/** Dates the state that an id now has. */
export function changeState(core: IoasidCore, id: number, state: number): void {
  core.add(COUNTER.changes, 1);
  setState(core.ids, id, state);
  core.ids.set((id << RECORD_SHIFT) + WORD.since, core.step());
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
  assert(!inUse(ids, id), `IOASID ${id} is reclaimed by nobody's leave`);
  if (core.traced) core.emit('reclaim', id);
  const set = setOf(ids, id);
  unlinkId(core, set, id);
  uncharge(core, setWord(core, set, SET.controller), 1);
  const at = id << RECORD_SHIFT;
  ids.touch(at);
  ids.words.fill(0, at, at + (1 << RECORD_SHIFT));
  core.freeIds.give(id);
  core.add(COUNTER.live, -1);
  core.add(COUNTER.changes, 1);
  unchooseId(core, id);
  if (setWord(core, set, SET.ownerGone) === 1 && setWord(core, set, SET.used) === 0) endSet(core, set);
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
  if (set.token !== undefined) core.tokens[set.type].set(set.token, undefined);
  core.sets.give(record);
  if (core.traced) core.emitOther('set:gone', { set: record });
}
