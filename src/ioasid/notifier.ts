/**
 * Notifications: how those who use an id are told what becomes of it. Two scopes, the whole system and one set,
 * as in the series (Documentation/driver-api/ioasid.rst, "Notifications"); unlike there, the two are one chain
 * when an event is announced, so that the order of priorities holds across both.
 *
 * A handler runs atomically. It may look, `get`, `put` and queue work; all else is `EDEADLK`.
 */
import { assert, Bug, type Refusal, refuse } from '../base/index.js';
import { chainOf, head, insert, key, RANK_AT, SET_GONE, SUBSCRIBER, unlink, WAITING, word } from './chain.js';
import { COUNTER, deadlock, goneSet, IoasidCore, isLive, LOCK } from './core.js';
import { type IoasidSet, IoasidSubscription, type IoasidToken } from './handles.js';
import { Ioasid, Spid } from './ids.js';
import { boundOf, dataOf, PHASE, phaseOf, STATE, setOf, spidOf, stateOf } from './record.js';
import { idsOfSet, SET, setWordAt } from './set-record.js';
import { settle } from './settle.js';

export const EVENT_KINDS = ['ALLOC', 'FREE', 'BIND', 'UNBIND'] as const;
export type IoasidEventKind = (typeof EVENT_KINDS)[number];

/** The series' priorities: `IOASID_PRIO_CPU`, `_IOMMU`, `_DEVICE`, `_LAST`. */
export type NotifierPriority = 'cpu' | 'iommu' | 'device' | 'last';

/** What a handler is told: `struct ioasid_nb_args`. One object serves all: read it, do not keep it. */
export interface IoasidEvent {
  kind: IoasidEventKind;
  id: Ioasid;
  /** The SPID by which the id is bound; on UNBIND, was bound. */
  spid: Spid | undefined;
  set: IoasidSet | undefined;
  /** The private data of the id. */
  data: number;
}

/** `struct notifier_block`. */
export interface IoasidNotifier {
  readonly name: string;
  readonly priority: NotifierPriority;
  /** What it wants to hear; everything by default. */
  readonly events?: readonly IoasidEventKind[];
  /** Is called with the core's lock held. What it throws is reported, and keeps nobody from hearing. */
  notify(event: IoasidEvent): void;
}

type RegisterErrno = 'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EEXIST' | 'ENOMEM';

/**
 * Puts a notifier on the chain of the whole system, or of one set. On a set, it is told BIND at once for each
 * id that is bound and not being freed, as its first news of it.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for an unknown priority or event; `ENOENT` if the set is
 * gone; `EEXIST` if the notifier is on that chain; `ENOMEM`.
 */
export function ioasidRegisterNotifier(
  scope: IoasidCore | IoasidSet,
  notifier: IoasidNotifier,
): IoasidSubscription | Refusal<RegisterErrno> {
  if (scope instanceof IoasidCore) return register(scope, notifier, { scope: 0 });
  return register(scope.core, notifier, { scope: scope.record, set: scope });
}

/**
 * Puts a notifier on the chain of the set that has `token` in type `mm`, as {@link ioasidRegisterNotifier} does,
 * or lets it wait for that set. When the set goes, it waits for the next one.
 *
 * On failure: as there, but for `ENOENT`.
 */
export function ioasidRegisterNotifierMm(
  core: IoasidCore,
  token: IoasidToken,
  notifier: IoasidNotifier,
): IoasidSubscription | Refusal<RegisterErrno> {
  return register(core, notifier, { scope: core.tokens.mm.get(token)?.record ?? WAITING, token });
}

/**
 * Takes a notifier off its chain, also if the set of that chain is gone.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if that has been done.
 */
export function ioasidUnregisterNotifier(
  subscription: IoasidSubscription,
): Refusal<'EDEADLK' | 'ENOENT'> | undefined {
  const { core, record } = subscription;
  if (core.lock !== LOCK.none) return deadlock(core, 'unregistering a notifier');
  if (!isLive(core.subscribers.handles, subscription)) {
    return refuse('ENOENT', `${subscription.notifier.name} is not registered`);
  }
  const scope = word(core, record, SUBSCRIBER.scope);
  if (scope !== SET_GONE) unlink(core, chainOf(core, scope), record);
  core.subscribers.give(record);
  return undefined;
}

interface Where {
  readonly scope: number;
  /** The set whose chain that is, if it was named. */
  readonly set?: IoasidSet;
  /** The token, if that was named. */
  readonly token?: IoasidToken;
}

function register(
  core: IoasidCore,
  notifier: IoasidNotifier,
  { scope, set, token }: Where,
): IoasidSubscription | Refusal<RegisterErrno> {
  if (core.lock !== LOCK.none) return deadlock(core, 'registering a notifier');
  const rank = core.order.indexOf(notifier.priority);
  if (rank < 0) return refuse('EINVAL', `${notifier.name} has the priority ${notifier.priority}`);
  let events = 0;
  for (const kind of notifier.events ?? EVENT_KINDS) {
    const bit = EVENT_KINDS.indexOf(kind);
    if (bit < 0) return refuse('EINVAL', `${notifier.name} listens to ${kind}`);
    events |= 1 << bit;
  }
  if (set !== undefined && !isLive(core.sets.handles, set)) return goneSet(set);
  const chain = chainOf(core, scope);
  for (let other = head(chain); other !== 0; other = word(core, other, SUBSCRIBER.next)) {
    const there = core.subscribers.handles.at(other);
    if (there?.notifier === notifier && (scope !== WAITING || there.token === token)) {
      return refuse('EEXIST', `${notifier.name} is registered`);
    }
  }
  if (core.fails('subscriber')) return refuse('ENOMEM', `no memory for the notifier ${notifier.name}`);
  const sequence = core.add(COUNTER.sequence, 1);
  assert(sequence < 1 << RANK_AT, 'the sequence numbers of registrations last');
  const subscription = core.subscribers.takeFor(
    (record) => new IoasidSubscription(core, record, { notifier, token }),
  );
  const { store } = core.subscribers;
  const at = subscription.record << 2;
  store.touch(at);
  store.words[at + SUBSCRIBER.key] = (rank << RANK_AT) | sequence;
  store.words[at + SUBSCRIBER.scope] = scope;
  store.words[at + SUBSCRIBER.events] = events;
  insert(core, chainOf(core, scope), subscription.record);
  if (scope > 0) replay(core, scope, subscription.record);
  return subscription;
}

/** Tells a late subscriber of what is bound. What is being freed is not told: dying is final. */
function replay(core: IoasidCore, set: number, subscriber: number): void {
  for (const id of idsOfSet(core, set)) {
    if (setOf(core.ids, id) !== set || boundOf(core.ids, id) === 0) continue;
    if (stateOf(core.ids, id) === STATE.FREE_PENDING) continue;
    begin(core, EVENT.BIND, id);
    tell(core, subscriber, EVENT.BIND);
    end(core, id);
  }
}

/** Numbers of {@link EVENT_KINDS}. @internal */
export const EVENT = { ALLOC: 0, FREE: 1, BIND: 2, UNBIND: 3 } as const;

/** Whether an event of an id of `set` would be heard. @internal */
export function hasAudience(core: IoasidCore, set: number): boolean {
  const local = core.sets.store.words[setWordAt(set, SET.chain)] ?? 0;
  return ((core.counters.words[COUNTER.chain] ?? 0) | local) !== 0;
}

/**
 * Announces one event of an id to the system's chain and to its set's, as one chain in the order of priorities.
 * After it the id may have been reclaimed: nobody but the core may have held it. Whether that is so.
 *
 * @internal
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
    if (inSet === 0 || (inSystem !== 0 && key(core, inSystem) < key(core, inSet))) {
      tell(core, inSystem, kind);
      inSystem = word(core, inSystem, SUBSCRIBER.next);
    } else {
      tell(core, inSet, kind);
      inSet = word(core, inSet, SUBSCRIBER.next);
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
  if (((word(core, subscriber, SUBSCRIBER.events) >>> kind) & 1) === 0) return;
  const notifier = core.subscribers.handles.at(subscriber)?.notifier;
  assert(notifier !== undefined, `subscriber ${subscriber} on a chain`);
  const { id } = core.event;
  try {
    notifier.notify(core.event);
  } catch (error) {
    if (error instanceof Bug) core.bug ??= error;
    else core.failed({ of: notifier.name, in: EVENT_KINDS[kind] ?? '', id, error });
  }
}
