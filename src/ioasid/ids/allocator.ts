/**
 * Custom allocators: what takes the place of the core's own choice of an id. A guest's is the virtual command
 * interface, by which the host chooses (VT-d specification, "Virtual Command Register").
 *
 * The first that was registered is active. Those that share both functions share one space, and are one group:
 * their ids outlive any of them but the last. The core keeps the books for all, in the same records. Since none
 * takes over while ids of another are outstanding, one set of books is enough.
 */
import { type Refusal, refuse } from '../../base/index.js';
import type { IoasidAllocatorOps } from '../core/allocator-ops.js';
import { deadlock } from '../core/checks.js';
import { COUNTER, type IoasidCore, LOCK } from '../core/core.js';

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
