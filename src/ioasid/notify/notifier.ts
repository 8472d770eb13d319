/**
 * Registering for notifications: two scopes, the whole system and one set, as in the series
 * (Documentation/driver-api/ioasid.rst, "Notifications"), and a third that the series needs and lacks: a token
 * whose set is not there yet.
 */
import { assert, type Refusal, refuse } from '../../base/index.js';
import { deadlock, goneSet, isLive } from '../core/checks.js';
import {
  COUNTER,
  IoasidCore,
  type IoasidNotifier,
  type IoasidSet,
  IoasidSubscription,
  type IoasidToken,
  LOCK,
} from '../core/core.js';
import { EVENT_KINDS } from '../core/options.js';
import {
  chainOf,
  headOf,
  insertSubscriber,
  RANK_AT,
  SET_GONE,
  SUBSCRIBER,
  subscriberWord,
  unlinkSubscriber,
  WAITING,
} from '../records/chain.js';
import { replay } from './announce.js';

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
  const scope = subscriberWord(core, record, SUBSCRIBER.scope);
  if (scope !== SET_GONE) unlinkSubscriber(core, chainOf(core, scope), record);
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
  for (let other = headOf(chain); other !== 0; other = subscriberWord(core, other, SUBSCRIBER.next)) {
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
  insertSubscriber(core, chainOf(core, scope), subscription.record);
  if (scope > 0) replay(core, scope, subscription.record);
  return subscription;
}
