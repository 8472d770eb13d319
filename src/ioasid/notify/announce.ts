/**
 * Announcing: how those who use an id are told what becomes of it. Unlike in the series, the system's chain and
 * the set's are one chain when an event is announced, so that the order of priorities holds across both.
 *
 * A handler runs atomically. It may look, `get`, `put` and queue work; all else is `EDEADLK`.
 */
import { assert, Bug } from '../../base/index.js';
import { COUNTER, type IoasidCore, LOCK } from '../core/core.js';
import { Ioasid, Spid } from '../core/ids.js';
import { EVENT_KINDS } from '../core/options.js';
import { settle } from '../life/settle.js';
import { keyOf, SUBSCRIBER, subscriberWord } from '../records/chain.js';
import { idsOfSet, SET, setWordAt } from '../records/set-record.js';
import { boundOf, dataOf, PHASE, phaseOf, STATE, setOf, spidOf, stateOf } from '../tables/id-columns.js';

/** Tells a late subscriber of what is bound. What is being freed is not told: dying is final. */
export function replay(core: IoasidCore, set: number, subscriber: number): void {
  for (const id of idsOfSet(core, set)) {
    if (setOf(core.ids, id) !== set || boundOf(core.ids, id) === 0) continue;
    if (stateOf(core.ids, id) === STATE.FREE_PENDING) continue;
    begin(core, EVENT.BIND, id);
    tell(core, subscriber, EVENT.BIND);
    end(core, id);
  }
}

/** Numbers of {@link EVENT_KINDS}. */
export const EVENT = { ALLOC: 0, FREE: 1, BIND: 2, UNBIND: 3 } as const;

/** Whether an event of an id of `set` would be heard. */
export function hasAudience(core: IoasidCore, set: number): boolean {
  const local = core.sets.store.words[setWordAt(set, SET.chain)] ?? 0;
  return ((core.counters.words[COUNTER.chain] ?? 0) | local) !== 0;
}

/**
 * Announces one event of an id to the system's chain and to its set's, as one chain in the order of priorities.
 * After it the id may have been reclaimed: nobody but the core may have held it. Whether that is so.
 */
export function announce(core: IoasidCore, kind: number, id: number): boolean {
  const local = setWordAt(setOf(core.ids, id), SET.chain);
  let inSystem = core.count(COUNTER.chain);
  let inSet = core.sets.store.words[local] ?? 0;
  if ((inSystem | inSet) === 0) {
    core.unbound = undefined;
    return settle(core, id);
  }
  if (core.traced) {
    const { unbound } = core;
    core.emit(`announce:${EVENT_KINDS[kind]}`, id, unbound === undefined ? {} : { spid: unbound });
  }
  begin(core, kind, id);
  while ((inSystem | inSet) !== 0) {
    if (inSet === 0 || (inSystem !== 0 && keyOf(core, inSystem) < keyOf(core, inSet))) {
      tell(core, inSystem, kind);
      inSystem = subscriberWord(core, inSystem, SUBSCRIBER.next);
    } else {
      tell(core, inSet, kind);
      inSet = subscriberWord(core, inSet, SUBSCRIBER.next);
    }
  }
  return end(core, id);
}

function begin(core: IoasidCore, kind: number, id: number): void {
  const { event, ids } = core;
  event.kind = EVENT_KINDS[kind] ?? 'ALLOC';
  event.id = Ioasid.of(id);
  event.spid = boundOf(ids, id) === 0 ? core.unbound : Spid.of(spidOf(ids, id));
  core.unbound = undefined;
  event.set = core.sets.handles.at(setOf(ids, id));
  event.data = dataOf(ids, id);
  core.lock = LOCK.handler;
  core.announcing = id;
  // What is queued once the tear-down is past its first phase is a tear-down of its own.
  core.nextRound = phaseOf(ids, id) > PHASE.stop;
}

function end(core: IoasidCore, id: number): boolean {
  core.lock = LOCK.none;
  core.announcing = 0;
  const reclaimed = settle(core, id);
  if (core.bug !== undefined) {
    const { bug } = core;
    core.bug = undefined;
    throw bug;
  }
  return reclaimed;
}

function tell(core: IoasidCore, subscriber: number, kind: number): void {
  if (((subscriberWord(core, subscriber, SUBSCRIBER.events) >>> kind) & 1) === 0) return;
  const notifier = core.subscribers.handles.at(subscriber)?.notifier;
  assert(notifier !== undefined, `subscriber ${subscriber} on a chain`);
  const { id } = core.event;
  try {
    notifier.notify(core.event);
  } catch (error) {
    if (error instanceof Bug) core.bug ??= error;
    else if (error !== undefined && error === core.bug) return;
    else core.failed({ of: notifier.name, in: EVENT_KINDS[kind] ?? '', id, error });
  }
}
