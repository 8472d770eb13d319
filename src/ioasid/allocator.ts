/**
 * Custom allocators: what takes the place of the core's own choice of an id. A guest's is the virtual command
 * interface, by which the host chooses (VT-d specification, "Virtual Command Register").
 *
 * The first that was registered is active. Those that share both functions share one space, and are one group:
 * their ids outlive any of them but the last. The core keeps the books for all, in the same records. Since none
 * takes over while ids of another are outstanding, one set of books is enough.
 */
import { Bug, isRefusal, type Refusal, refuse } from '../base/index.js';
import { COUNTER, deadlock, type IoasidCore, LOCK } from './core.js';
import { INVALID_IOASID, Ioasid } from './ids.js';
import { stateOf } from './record.js';

/** `struct ioasid_allocator_ops`. Both functions run under the core's lock: they may not call back. */
export interface IoasidAllocatorOps {
  readonly name: string;
  /** An id of `min` to `max`, both inclusive, or {@link INVALID_IOASID}. */
  readonly alloc: (min: number, max: number, pdata: unknown) => number;
  /** Takes back an id that `alloc` gave. */
  readonly free: (id: number, pdata: unknown) => void;
  /** Is handed to both. */
  readonly pdata?: unknown;
}

/** Allocators that share their functions. */
export type AllocatorGroup = readonly IoasidAllocatorOps[];

const sameSpace = (a: IoasidAllocatorOps, b: IoasidAllocatorOps): boolean =>
  a.alloc === b.alloc && a.free === b.free;

/**
 * Registers a custom allocator. It is active at once if it is the first, or shares the functions of the active.
 *
 * On failure: `EDEADLK` from a callback; `EEXIST` if it is registered; `EAGAIN` if ids of the default allocator
 * are outstanding; `ENOMEM`.
 */
export function ioasidRegisterAllocator(
  core: IoasidCore,
  ops: IoasidAllocatorOps,
): Refusal<'EDEADLK' | 'EEXIST' | 'EAGAIN' | 'ENOMEM'> | undefined {
  if (core.lock !== LOCK.none) return deadlock(core, 'registering an allocator');
  const groups = core.allocators.value;
  if (groups.some((group) => group.includes(ops))) return refuse('EEXIST', `${ops.name} is registered`);
  const live = core.count(COUNTER.live);
  if (groups.length === 0 && live !== 0) {
    return refuse('EAGAIN', `${live} ids of the default allocator are outstanding`);
  }
  if (core.fails('allocator')) return refuse('ENOMEM', `no memory for the allocator ${ops.name}`);
  const shared = groups.findIndex(([first]) => first !== undefined && sameSpace(first, ops));
  core.allocators.value =
    shared < 0
      ? [...groups, [ops]]
      : groups.map((group, index) => (index === shared ? [...group, ops] : group));
  return undefined;
}

/**
 * Takes a custom allocator away; the next in the order of registration becomes active, or the default one.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if it is not registered; `EBUSY` if it is the last of the
 * active ones that share its functions, and ids are outstanding: nothing is lost.
 */
export function ioasidUnregisterAllocator(
  core: IoasidCore,
  ops: IoasidAllocatorOps,
): Refusal<'EDEADLK' | 'ENOENT' | 'EBUSY'> | undefined {
  if (core.lock !== LOCK.none) return deadlock(core, 'unregistering an allocator');
  const groups = core.allocators.value;
  const index = groups.findIndex((group) => group.includes(ops));
  if (index < 0) return refuse('ENOENT', `${ops.name} is not registered`);
  const live = core.count(COUNTER.live);
  const left = groups[index]?.filter((other) => other !== ops) ?? [];
  if (left.length === 0 && index === 0 && live !== 0) {
    return refuse('EBUSY', `${ops.name} is the last of its space, with ${live} ids outstanding`);
  }
  core.allocators.value =
    left.length === 0
      ? groups.filter((_, at) => at !== index)
      : groups.map((group, at) => (at === index ? left : group));
  return undefined;
}

/** The name of the allocator that is active, `default` if none is registered. Never fails. */
export function ioasidActiveAllocator(core: IoasidCore): string {
  return core.allocators.value[0]?.[0]?.name ?? 'default';
}

/**
 * An id of `min` to `max` that is free, by the active allocator; nothing in the books has changed yet.
 *
 * @internal
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
  if (Number.isInteger(answer) && answer >= min && answer <= max) {
    if (stateOf(core.ids, answer) === 0) return answer;
    // Not handed back: by the books it is another owner's, and so is the allocator's record of it.
    return refuse('EIO', `${ops.name} gave ${answer}, which is in use`);
  }
  unchooseId(core, answer);
  return refuse('EIO', `${ops.name} gave ${answer}, asked for ${min} to ${max}`);
}

/**
 * Hands an id back to the active allocator, if that is a custom one. Does not fail: what it throws is reported.
 *
 * @internal
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
