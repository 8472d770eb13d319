/**
 * The hierarchy that charges ids, as a cgroup controller does (Documentation/admin-guide/cgroup-v2.rst, "PID" and
 * "Misc"): an id is charged to its set's controller and to all above it, up to the root. Each has a `max`, a
 * `current` and `events`, the count of refusals at its own limit or below it; `eventsLocal` counts its own alone.
 *
 * To move a set is always possible, and so may leave a controller above its max, as may a lower max: from then
 * on only frees succeed.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { deadlock, goneSet, isLive } from '../core/checks.js';
import { IoasidController, type IoasidCore, type IoasidSet, LOCK } from '../core/core.js';
import { SET, setWord, setWordAt } from '../records/set-record.js';
import { add } from '../tables/add.js';

/** A `max` that is no limit: `max`, as the file in a cgroup says. */
export const NO_LIMIT = 0x7fff_ffff;

/** Words of a controller's record. */
export const CONTROLLER = {
  parent: 0,
  max: 1,
  current: 2,
  events: 3,
  eventsLocal: 4,
  children: 5,
  sets: 6,
} as const;

/**
 * Makes a controller, below `parent` or as a root of its own.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for a max that is no count; `ENOENT` if the parent is gone;
 * `ENOMEM`.
 */
export function ioasidControllerAlloc(
  core: IoasidCore,
  of: { readonly name: string; readonly parent?: IoasidController; readonly max?: number },
): IoasidController | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'ENOMEM'> {
  const { name, parent, max = NO_LIMIT } = of;
  if (core.lock !== LOCK.none) return deadlock(core, 'making a controller');
  if (!isCount(max)) return refuse('EINVAL', `a max of ${max}`);
  if (parent !== undefined && !isLive(core.controllers.handles, parent)) return gone(parent);
  if (core.fails('controller')) return refuse('ENOMEM', `no memory for the controller ${name}`);
  const path = `${parent?.name ?? ''}/${name}`;
  const controller = core.controllers.takeFor((record) => new IoasidController(core, record, path));
  core.controllers.store.set(wordAt(controller.record, CONTROLLER.max), max);
  if (parent !== undefined) {
    core.controllers.store.set(wordAt(controller.record, CONTROLLER.parent), parent.record);
    add(core.controllers.store, wordAt(parent.record, CONTROLLER.children), 1);
  }
  return controller;
}

/**
 * Sets the max; {@link NO_LIMIT} for none. It may be below what is in use.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for a max that is no count; `ENOENT` if it is gone.
 */
export function ioasidControllerSetMax(
  controller: IoasidController,
  max: number,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT'> | undefined {
  const { core } = controller;
  if (core.lock !== LOCK.none) return deadlock(core, 'setting a max');
  if (!isCount(max)) return refuse('EINVAL', `a max of ${max}`);
  if (!isLive(core.controllers.handles, controller)) return gone(controller);
  core.controllers.store.set(wordAt(controller.record, CONTROLLER.max), max);
  return undefined;
}

/** What a controller's files show. */
export interface IoasidControllerState {
  readonly max: number;
  readonly current: number;
  readonly events: number;
  readonly eventsLocal: number;
}

/**
 * What a controller's files show now.
 *
 * On failure: `ENOENT` if it is gone.
 */
export function ioasidControllerRead(
  controller: IoasidController,
): IoasidControllerState | Refusal<'ENOENT'> {
  const { core, record } = controller;
  if (!isLive(core.controllers.handles, controller)) return gone(controller);
  return {
    max: controllerWord(core, record, CONTROLLER.max),
    current: controllerWord(core, record, CONTROLLER.current),
    events: controllerWord(core, record, CONTROLLER.events),
    eventsLocal: controllerWord(core, record, CONTROLLER.eventsLocal),
  };
}

/**
 * Deletes a controller.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if it is gone; `EBUSY` while it has controllers below it, or sets.
 */
export function ioasidControllerFree(
  controller: IoasidController,
): Refusal<'EDEADLK' | 'ENOENT' | 'EBUSY'> | undefined {
  const { core, record } = controller;
  if (core.lock !== LOCK.none) return deadlock(core, 'deleting a controller');
  if (!isLive(core.controllers.handles, controller)) return gone(controller);
  const children = controllerWord(core, record, CONTROLLER.children);
  const sets = controllerWord(core, record, CONTROLLER.sets);
  if (children + sets !== 0) {
    return refuse('EBUSY', `${controller.name} has ${children} controllers below it and ${sets} sets`);
  }
  const parent = controllerWord(core, record, CONTROLLER.parent);
  if (parent !== 0) add(core.controllers.store, wordAt(parent, CONTROLLER.children), -1);
  core.controllers.give(record);
  return undefined;
}

/**
 * Moves a set, with the charge of all its ids, to another controller; to none if that is undefined. No max stops it.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if the set or the controller is gone.
 */
export function ioasidMoveSet(
  set: IoasidSet,
  controller: IoasidController | undefined,
): Refusal<'EDEADLK' | 'ENOENT'> | undefined {
  const { core, record } = set;
  if (core.lock !== LOCK.none) return deadlock(core, 'moving a set');
  if (!isLive(core.sets.handles, set)) return goneSet(set);
  if (controller !== undefined && !isLive(core.controllers.handles, controller)) return gone(controller);
  const used = setWord(core, record, SET.used);
  uncharge(core, setWord(core, record, SET.controller), used);
  leaveController(core, record);
  joinController(core, record, controller?.record ?? 0);
  for (let at = controller?.record ?? 0; at !== 0; at = controllerWord(core, at, CONTROLLER.parent)) {
    add(core.controllers.store, wordAt(at, CONTROLLER.current), used);
  }
  return undefined;
}

/**
 * Charges one id to a controller and to all above it. 0, or the record of the controller whose limit forbids
 * it: then only that refusal has been counted.
 *
 * @internal
 */
export function charge(core: IoasidCore, controller: number): number {
  const { store } = core.controllers;
  for (let at = controller; at !== 0; ) {
    const base = at << 3;
    store.touch(base);
    const { words } = store;
    const current = words[base + CONTROLLER.current] ?? 0;
    if (current >= (words[base + CONTROLLER.max] ?? 0)) {
      for (let done = controller; done !== at; done = controllerWord(core, done, CONTROLLER.parent)) {
        add(core.controllers.store, wordAt(done, CONTROLLER.current), -1);
      }
      countRefusal(core, at);
      return at;
    }
    words[base + CONTROLLER.current] = current + 1;
    at = words[base + CONTROLLER.parent] ?? 0;
  }
  return 0;
}

/** Takes the charge of `count` ids from a controller and from all above it. @internal */
export function uncharge(core: IoasidCore, controller: number, count: number): void {
  const { store } = core.controllers;
  for (let at = controller; at !== 0; ) {
    const base = at << 3;
    store.touch(base);
    const { words } = store;
    words[base + CONTROLLER.current] = (words[base + CONTROLLER.current] ?? 0) - count;
    at = words[base + CONTROLLER.parent] ?? 0;
  }
}

/** Says which limit was hit. @internal */
export function limitHit(core: IoasidCore, controller: number): Refusal<'EDQUOT'> {
  const name = core.controllers.handles.at(controller)?.name ?? '';
  const [max, current] = [
    controllerWord(core, controller, CONTROLLER.max),
    controllerWord(core, controller, CONTROLLER.current),
  ];
  return refuse('EDQUOT', `controller ${name} is at its limit: max ${max}, current ${current}`);
}

/** Counts a set among those of a controller. @internal */
export function joinController(core: IoasidCore, set: number, controller: number): void {
  core.sets.store.set(setWordAt(set, SET.controller), controller);
  if (controller !== 0) add(core.controllers.store, wordAt(controller, CONTROLLER.sets), 1);
}

/** Counts a set no longer among those of its controller. @internal */
export function leaveController(core: IoasidCore, set: number): void {
  const controller = setWord(core, set, SET.controller);
  if (controller !== 0) add(core.controllers.store, wordAt(controller, CONTROLLER.sets), -1);
}

function countRefusal(core: IoasidCore, controller: number): void {
  countEvent(core, wordAt(controller, CONTROLLER.eventsLocal));
  for (let at = controller; at !== 0; at = controllerWord(core, at, CONTROLLER.parent)) {
    countEvent(core, wordAt(at, CONTROLLER.events));
  }
}

/** Counts up to what a word can hold, and stays there. */
function countEvent(core: IoasidCore, at: number): void {
  const { store } = core.controllers;
  if (store.words[at] !== 0x7fff_ffff) add(store, at, 1);
}

const isCount = (max: number): boolean => Number.isInteger(max) && max >= 0 && max <= NO_LIMIT;

const gone = (controller: IoasidController): Refusal<'ENOENT'> =>
  refuse('ENOENT', `controller ${controller.name} is gone`);

const wordAt = (controller: number, which: number): number => (controller << 3) + which;

/** Word `which` of a controller. @internal */
export const controllerWord = (core: IoasidCore, controller: number, which: number): number =>
  core.controllers.store.words[(controller << 3) + which] ?? 0;
