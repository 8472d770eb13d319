/**
 * The phases of deferred work on one id: stop (no new submission), drain (the device has nothing of the PASID),
 * clear (entry, caches, page requests), and then the core reclaims. A phase starts when all work of the one
 * before has finished. One queue in the order of arrival cannot do this: the IOMMU's clearing may stand in it
 * before the device's draining (the ordered workqueue of the series, IOASID extensions v4, 13/18).
 *
 * An id goes through the phases in rounds. What an announcement queues when the present round is past stop is a
 * round of its own, after it: the FREE of an id whose unbinding is being cleared. So is what comes too late for its
 * phase, and what its holder queues after that: no holder's clearing overtakes its own draining.
 */
import { Bug } from '../../base/index.js';
import { type IoasidCore, LOCK } from '../core/core.js';
import { Ioasid } from '../core/ids.js';
import { PHASE, setPhase, setWork, workOf } from '../tables/id-columns.js';
import { HOLDER, holderWord } from './holder-record.js';

/** Words of an item of work. */
export const ITEM = {
  id: 0,
  holder: 1,
  info: 2,
  next: 3,
  ready: 4,
  since: 5,
  cookie: 6,
  ticket: 7,
} as const;

/** Bits of `ITEM.info`: a number of {@link PHASE}, and these. */
export const INFO = { phase: 0x3, nextRound: 0x4, ready: 0x8, running: 0x10 } as const;

export const itemWord = (core: IoasidCore, item: number, which: number): number =>
  core.work.store.words[(item << 3) + which] ?? 0;

const setItem = (core: IoasidCore, at: number, value: number): void => core.work.store.set(at, value);

/** Puts an item at the end of its id's list. */
export function appendItem(core: IoasidCore, id: number, item: number): void {
  const first = workOf(core.ids, id);
  if (first === 0) {
    setWork(core.ids, id, item);
    return;
  }
  let last = first;
  for (let next = first; next !== 0; next = itemWord(core, last, ITEM.next)) last = next;
  setItem(core, (last << 3) + ITEM.next, item);
}

/** Takes an item out of its id's list. */
export function removeItem(core: IoasidCore, id: number, item: number): void {
  const next = itemWord(core, item, ITEM.next);
  let before = workOf(core.ids, id);
  if (before === item) {
    setWork(core.ids, id, next);
    return;
  }
  while (itemWord(core, before, ITEM.next) !== item) before = itemWord(core, before, ITEM.next);
  setItem(core, (before << 3) + ITEM.next, next);
}

/** Lets the work of an id go on as far as it may: makes the items of its present phase ready to be taken. */
export function advance(core: IoasidCore, id: number): void {
  const first = workOf(core.ids, id);
  if (first === 0) {
    setPhase(core.ids, id, 0);
    return;
  }
  let phase = earliest(core, first);
  if (phase === 0) {
    for (let item = first; item !== 0; item = itemWord(core, item, ITEM.next)) {
      setItem(core, (item << 3) + ITEM.info, itemWord(core, item, ITEM.info) & ~INFO.nextRound);
    }
    phase = earliest(core, first);
  }
  setPhase(core.ids, id, phase);
  for (let item = first; item !== 0; item = itemWord(core, item, ITEM.next)) {
    // An item of the present phase and round that is neither ready nor running yet.
    if (itemWord(core, item, ITEM.info) === phase) makeReady(core, item);
  }
}

/** The earliest phase of the present round that still has work; 0 if all is of the next round. */
function earliest(core: IoasidCore, first: number): number {
  let phase = 0;
  for (let item = first; item !== 0; item = itemWord(core, item, ITEM.next)) {
    const info = itemWord(core, item, ITEM.info);
    const own = info & INFO.phase;
    if ((info & INFO.nextRound) === 0 && (phase === 0 || own < phase)) phase = own;
  }
  return phase;
}

function makeReady(core: IoasidCore, item: number): void {
  const { store } = core.holders;
  const holder = itemWord(core, item, ITEM.holder);
  const last = holderWord(core, holder, HOLDER.lastReady);
  setItem(core, (item << 3) + ITEM.info, itemWord(core, item, ITEM.info) | INFO.ready);
  store.set((holder << 3) + HOLDER.lastReady, item);
  if (last === 0) store.set((holder << 3) + HOLDER.firstReady, item);
  else setItem(core, (last << 3) + ITEM.ready, item);
  wake(core, holder, item);
}

function wake(core: IoasidCore, holder: number, item: number): void {
  const handle = core.holders.handles.at(holder);
  if (handle?.wake === undefined) return;
  const { lock } = core;
  core.lock = LOCK.allocator;
  try {
    handle.wake();
  } catch (error) {
    if (error instanceof Bug) throw error;
    core.failed({ of: handle.name, in: 'wake', id: Ioasid.of(itemWord(core, item, ITEM.id)), error });
  } finally {
    core.lock = lock;
  }
}

/**
 * Takes the first ready item of a holder off its queue, as running, with a ticket that no other taking has had:
 * that of an item which was taken in a history undone since must not finish another. 0 if there is none.
 */
export function takeReady(core: IoasidCore, holder: number): number {
  const { store } = core.holders;
  const item = holderWord(core, holder, HOLDER.firstReady);
  if (item === 0) return 0;
  const next = itemWord(core, item, ITEM.ready);
  store.set((holder << 3) + HOLDER.firstReady, next);
  if (next === 0) store.set((holder << 3) + HOLDER.lastReady, 0);
  setItem(core, (item << 3) + ITEM.ready, 0);
  const info = itemWord(core, item, ITEM.info);
  setItem(core, (item << 3) + ITEM.info, (info & ~INFO.ready) | INFO.running);
  core.tickets = (core.tickets + 1) | 0;
  setItem(core, (item << 3) + ITEM.ticket, core.tickets);
  return item;
}

/** Whether there is work of the next round on an id: what is queued after that is of that round too. */
export function hasNextRound(core: IoasidCore, id: number): boolean {
  for (let item = workOf(core.ids, id); item !== 0; item = itemWord(core, item, ITEM.next)) {
    if ((itemWord(core, item, ITEM.info) & INFO.nextRound) !== 0) return true;
  }
  return false;
}

/** Whether work of `phase` comes too late for the round that is under way. */
export const isLate = (now: number, phase: number): boolean => now >= PHASE.stop && phase < now;
