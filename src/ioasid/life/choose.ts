/**
 * Choosing an id: by the active custom allocator, or else by the core's own record of what is free. A custom
 * allocator is not trusted: what it answers is judged, and what it throws is reported.
 */
import { Bug, isRefusal, type Refusal, refuse } from '../../base/index.js';
import type { IoasidAllocatorOps } from '../core/allocator-ops.js';
import { type IoasidCore, LOCK } from '../core/core.js';
import { INVALID_IOASID, Ioasid } from '../core/ids.js';
import { STATE, stateOf } from '../tables/id-columns.js';

/**
 * An id of `min` to `max` that is free, by the active allocator; nothing in the books has changed yet.
 */
export function chooseId(core: IoasidCore, min: number, max: number): number | Refusal<'ENOSPC' | 'EIO'> {
  const ops = core.allocators.value[0]?.[0];
  if (ops === undefined) {
    const id = core.freeIds.first(min, max);
    return id < 0 ? refuse('ENOSPC', `no id from ${min} to ${max} is free in the system`) : id;
  }
  const answer = callAlloc(core, ops, { min, max });
  if (isRefusal(answer)) return answer;
  if (answer === INVALID_IOASID) return refuse('ENOSPC', `${ops.name} has no id from ${min} to ${max}`);
  if (stateOf(core.ids, answer) !== STATE.FREE) {
    // Not handed back: by the books it is another owner's, and so is the allocator's record of it.
    return refuse('EIO', `${ops.name} gave ${answer}, which is in use`);
  }
  if (Number.isInteger(answer) && answer >= min && answer <= max) return answer;
  unchooseId(core, answer);
  return refuse('EIO', `${ops.name} gave ${answer}, asked for ${min} to ${max}`);
}

/**
 * Hands an id back to the active allocator, if that is a custom one. Does not fail: what it throws is reported.
 */
export function unchooseId(core: IoasidCore, id: number): void {
  const ops = core.allocators.value[0]?.[0];
  if (ops === undefined) return;
  const { lock } = core;
  core.lock = LOCK.allocator;
  try {
    ops.free(id, ops.pdata);
  } catch (error) {
    if (error instanceof Bug) throw error;
    core.failed({ of: ops.name, in: 'free', id: Ioasid.of(Ioasid.is(id) ? id : 0), error });
  } finally {
    core.lock = lock;
  }
}

function callAlloc(
  core: IoasidCore,
  ops: IoasidAllocatorOps,
  range: { min: number; max: number },
): number | Refusal<'EIO'> {
  core.lock = LOCK.allocator;
  try {
    return ops.alloc(range.min, range.max, ops.pdata);
  } catch (error) {
    if (error instanceof Bug) throw error;
    core.failed({ of: ops.name, in: 'alloc', id: Ioasid.of(0), error });
    return refuse('EIO', `${ops.name} failed: ${String(error)}`);
  } finally {
    core.lock = LOCK.none;
  }
}
