/**
 * The chains of subscribers, system-wide and per set, and the list of those who wait for the set of their token.
 * A chain is sorted by priority, then by the order of registration, and runs through the subscribers' records.
 */
import { assert, type Words } from '../../base/index.js';
import { COUNTER, type IoasidCore, type IoasidSet, type IoasidSubscription } from '../core/core.js';
import { SET, setWordAt } from './set-record.js';

/** Words of a subscriber's record. */
export const SUBSCRIBER = { next: 0, key: 1, scope: 2, events: 3 } as const;
/** Scopes below zero: not on a chain. 0 is the system's chain, above it is a set's. */
export const WAITING = -1;
export const SET_GONE = -2;
/** The key sorts a chain: the rank of the priority from this bit on, below it the order of registration. */
export const RANK_AT = 28;

/** Puts those who wait for the token of a new set on its chain. @internal */
export function adoptWaiting(core: IoasidCore, set: IoasidSet): void {
  move(core, WAITING, (subscription) => (subscription.token === set.token ? set.record : WAITING));
}

/** Takes everybody off the chain of a set that goes: those who came by token wait for the next. @internal */
export function releaseChain(core: IoasidCore, set: IoasidSet): void {
  move(core, set.record, ({ token }) => (token === undefined ? SET_GONE : WAITING));
}

function move(core: IoasidCore, from: number, to: (subscription: IoasidSubscription) => number): void {
  const { store, handles } = core.subscribers;
  let next = 0;
  for (let record = headOf(chainOf(core, from)); record !== 0; record = next) {
    next = subscriberWord(core, record, SUBSCRIBER.next);
    const subscription = handles.at(record);
    assert(subscription !== undefined, `subscriber ${record} on a chain`);
    const scope = to(subscription);
    if (scope === from) continue;
    unlinkSubscriber(core, chainOf(core, from), record);
    store.set((record << 2) + SUBSCRIBER.scope, scope);
    if (scope !== SET_GONE) insertSubscriber(core, chainOf(core, scope), record);
  }
}

/** The names of those who would hear of an id of `set`, in the order of being told. @internal */
export function chainNames(core: IoasidCore, scope: number): string[] {
  const names: string[] = [];
  for (
    let record = headOf(chainOf(core, scope));
    record !== 0;
    record = subscriberWord(core, record, SUBSCRIBER.next)
  ) {
    names.push(core.subscribers.handles.at(record)?.notifier.name ?? '');
  }
  return names;
}

/** The names of those who wait for a token's set. @internal */
export const waitingNames = (core: IoasidCore): string[] => chainNames(core, WAITING);

export interface Chain {
  readonly store: Words;
  readonly at: number;
}

export function chainOf(core: IoasidCore, scope: number): Chain {
  if (scope > 0) return { store: core.sets.store, at: setWordAt(scope, SET.chain) };
  return { store: core.counters, at: scope === WAITING ? COUNTER.waiting : COUNTER.chain };
}

export const headOf = (chain: Chain): number => chain.store.words[chain.at] ?? 0;

export const subscriberWord = (core: IoasidCore, record: number, which: number): number =>
  core.subscribers.store.words[(record << 2) + which] ?? 0;

export const keyOf = (core: IoasidCore, record: number): number =>
  subscriberWord(core, record, SUBSCRIBER.key);

export function insertSubscriber(core: IoasidCore, chain: Chain, record: number): void {
  let before = 0;
  let next = headOf(chain);
  while (next !== 0 && keyOf(core, next) < keyOf(core, record)) {
    before = next;
    next = subscriberWord(core, next, SUBSCRIBER.next);
  }
  core.subscribers.store.set((record << 2) + SUBSCRIBER.next, next);
  if (before === 0) chain.store.set(chain.at, record);
  else core.subscribers.store.set((before << 2) + SUBSCRIBER.next, record);
}

export function unlinkSubscriber(core: IoasidCore, chain: Chain, record: number): void {
  let before = 0;
  let at = headOf(chain);
  while (at !== record) {
    assert(at !== 0, `subscriber ${record} is on its chain`);
    before = at;
    at = subscriberWord(core, at, SUBSCRIBER.next);
  }
  const next = subscriberWord(core, record, SUBSCRIBER.next);
  if (before === 0) chain.store.set(chain.at, next);
  else core.subscribers.store.set((before << 2) + SUBSCRIBER.next, next);
}
