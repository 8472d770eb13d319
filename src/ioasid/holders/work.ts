/**
 * Deferred work, as its users see it: a handler queues what it cannot do under the lock, its worker takes what
 * may run now, does it, and says when it is done. Work is in the name of a holder, which has a queue of its own,
 * and keeps its id from being reclaimed.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { checkHolder, deadlock, goneHolder, isLive } from '../core/checks.js';
import { type IoasidCore, type IoasidHolder, type IoasidSet, LOCK } from '../core/core.js';
import { Ioasid, Spid } from '../core/ids.js';
import { settle } from '../life/settle.js';
import { countWork } from '../records/holder-record.js';
import {
  appendItem,
  hasNextRound,
  INFO,
  ITEM,
  isLate,
  itemWord,
  removeItem,
  takeReady,
} from '../records/phases.js';
import { boundOf, PHASE, PHASE_NAMES, type Phase, phaseOf, setOf, spidOf } from '../tables/id-columns.js';

/** An item of work that has been taken. */
export interface IoasidWork {
  readonly core: IoasidCore;
  /** @internal */ readonly record: number;
  /** @internal */ readonly ticket: number;
  readonly set: IoasidSet | undefined;
  readonly id: Ioasid;
  /** The SPID by which the id is bound. */
  readonly spid: Spid | undefined;
  readonly phase: Phase;
  /** What its holder gave it when it was queued. */
  readonly cookie: number;
}

/** What is to be done, by whom. */
export interface IoasidWorkItem {
  readonly holder: IoasidHolder;
  readonly phase: Phase;
  /** A number for the holder's own use: 32 bits, signed. */
  readonly cookie?: number;
}

/**
 * Queues work on an id. Handlers may.
 *
 * On failure: `EDEADLK` from an allocator; `EINVAL` for an unknown phase, or for what is no cookie or no id; `ENOENT`
 * if the set, the id or the holder is gone; `EACCES` if the id is of another set; `ENOMEM`.
 */
export function ioasidQueueWork(
  set: IoasidSet,
  id: number,
  item: IoasidWorkItem,
): Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES' | 'ENOMEM'> | undefined {
  const { core } = set;
  const { holder, cookie = 0 } = item;
  if (core.lock === LOCK.allocator) return deadlock(core, 'queueing work');
  const phase = PHASE_NAMES.indexOf(item.phase);
  if (phase < PHASE.stop) return refuse('EINVAL', `no phase ${item.phase}`);
  if (cookie !== (cookie | 0)) return refuse('EINVAL', `${cookie} is no cookie`);
  const refusal = checkHolder(set, id, holder);
  if (refusal !== undefined) return refusal;
  if (core.fails('work')) return refuse('ENOMEM', `no memory for work of ${holder.name} on IOASID ${id}`);
  const record = core.work.take();
  const isPast = core.announcing === id ? core.nextRound : isLate(phaseOf(core.ids, id), phase);
  const late = isPast || hasNextRound(core, id);
  const { store } = core.work;
  const at = record << 3;
  store.touch(at);
  store.words[at + ITEM.id] = id;
  store.words[at + ITEM.holder] = holder.record;
  store.words[at + ITEM.info] = phase | (late ? INFO.nextRound : 0);
  store.words[at + ITEM.since] = core.step();
  store.words[at + ITEM.cookie] = cookie;
  appendItem(core, id, record);
  countWork(core, holder.record, 1);
  if (core.traced) core.emit('work:queued', id, { holder: holder.name, phase: item.phase });
  settle(core, id);
  return undefined;
}

/**
 * The next item of `holder` that may run now, if there is one. The holder then runs it and calls
 * {@link ioasidFinishWork}; other items of the same phase may run beside it.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if the holder is gone.
 */
export function ioasidTakeWork(holder: IoasidHolder): IoasidWork | Refusal<'EDEADLK' | 'ENOENT'> | undefined {
  const { core } = holder;
  if (core.lock !== LOCK.none) return deadlock(core, 'taking work');
  if (!isLive(core.holders.handles, holder)) return goneHolder(holder);
  const record = takeReady(core, holder.record);
  if (record === 0) return undefined;
  const id = itemWord(core, record, ITEM.id);
  const phase = PHASE_NAMES[itemWord(core, record, ITEM.info) & INFO.phase] ?? 'none';
  if (core.traced) core.emit('work:taken', id, { holder: holder.name, phase });
  return {
    core,
    record,
    ticket: itemWord(core, record, ITEM.ticket),
    set: core.sets.handles.at(setOf(core.ids, id)),
    id: Ioasid.of(id),
    spid: boundOf(core.ids, id) === 0 ? undefined : Spid.of(spidOf(core.ids, id)),
    phase: phase as Phase,
    cookie: itemWord(core, record, ITEM.cookie),
  };
}

/**
 * Says that an item is done. With the last of its phase the next phase begins; with the last of all, an id that
 * is being freed and that nobody holds is reclaimed: true if so.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` if the item is not under way.
 */
export function ioasidFinishWork(work: IoasidWork): boolean | Refusal<'EDEADLK' | 'EINVAL'> {
  const { core, record, id } = work;
  if (core.lock !== LOCK.none) return deadlock(core, 'finishing work');
  const running = (itemWord(core, record, ITEM.info) & INFO.running) !== 0;
  if (!running || itemWord(core, record, ITEM.ticket) !== work.ticket) {
    return refuse('EINVAL', `that work on IOASID ${id} is not under way`);
  }
  removeItem(core, id, record);
  countWork(core, itemWord(core, record, ITEM.holder), -1);
  core.work.give(record);
  if (core.traced) core.emit('work:finished', id, { phase: work.phase });
  return settle(core, id);
}
