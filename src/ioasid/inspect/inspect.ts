/**
 * What people ask when a PASID will not go away: who holds this id, since which step, in which phase is its
 * tear-down, and what is it waiting for. As values, and as a table such as debugfs would show.
 */
import { isRefusal, type Refusal, refuse } from '../../base/index.js';
import type { IoasidCore, IoasidHolder, IoasidSet } from '../core/core.js';
import { Ioasid, Spid } from '../core/ids.js';
import { SET_GONE, SUBSCRIBER, subscriberWord } from '../records/chain.js';
import { HOLDER, holderWord } from '../records/holder-record.js';
import { INFO, ITEM, itemWord } from '../records/phases.js';
import { REFERENCE, referenceWord } from '../records/reference-list.js';
import {
  boundOf,
  dataOf,
  holdersOf,
  PHASE_NAMES,
  type Phase,
  phaseOf,
  STATE,
  STATE_NAMES,
  type StateName,
  setOf,
  sinceOf,
  spidOf,
  stateOf,
  workOf,
} from '../tables/id-columns.js';

/** References of one holder to one id. */
export interface HeldBy {
  readonly holder: string;
  readonly count: number;
  /** The step in which it took the first of them. */
  readonly since: number;
}

/** Work on one id that is not finished. */
export interface WorkBy {
  readonly holder: string;
  readonly phase: Phase;
  /** `running`, or `ready` to be taken, or it waits: for an earlier phase, or for the present tear-down to end. */
  readonly status: 'running' | 'ready' | 'waits' | 'waits for the next round';
  /** The step in which it was queued. */
  readonly since: number;
}

/** All there is to know of an id that is not free. */
export interface IoasidReport {
  readonly id: Ioasid;
  readonly set: string;
  readonly state: StateName;
  /** The step in which it came to that state. */
  readonly since: number;
  readonly spid: Spid | undefined;
  /** Whether a look-up of the SPID finds this id: not so if it is being freed and the SPID has a new one. */
  readonly found: boolean;
  /** How many devices have bound it. */
  readonly bound: number;
  readonly data: number;
  /** The phase of its tear-down; `reclaim` if it is being freed and no work is left. */
  readonly phase: 'none' | Phase | 'reclaim';
  /** The latest to take a reference comes first. */
  readonly holders: readonly HeldBy[];
  /** In the order of being queued. */
  readonly work: readonly WorkBy[];
  /** What has to happen before it is reclaimed, in words; nothing if it is not being freed. */
  readonly waitsFor: readonly string[];
}

/**
 * All there is to know of an id, whoever has it. This is for people and for the test bench: it checks no owner.
 *
 * On failure: `EINVAL` for what is no id; `ENOENT` if it is free.
 */
export function ioasidInspect(core: IoasidCore, id: number): IoasidReport | Refusal<'EINVAL' | 'ENOENT'> {
  if (!Ioasid.is(id)) return refuse('EINVAL', `${id} is no IOASID`);
  const { ids } = core;
  const state = stateOf(ids, id);
  if (state === STATE.FREE) return refuse('ENOENT', `IOASID ${id} is free`);
  const bound = boundOf(ids, id);
  const spid = bound === 0 ? undefined : Spid.of(spidOf(ids, id));
  const holders = heldBy(core, id);
  const work = workBy(core, id);
  const pending = state === STATE.FREE_PENDING;
  const phase = pending && work.length === 0 ? 'reclaim' : (PHASE_NAMES[phaseOf(ids, id)] ?? 'none');
  return {
    id,
    set: core.sets.handles.at(setOf(ids, id))?.name ?? '',
    state: STATE_NAMES[state] ?? 'FREE',
    since: sinceOf(ids, id),
    spid,
    found: spid !== undefined && core.spids.find(setOf(ids, id), spid) === id,
    bound,
    data: dataOf(ids, id),
    phase,
    holders,
    work,
    waitsFor: pending ? waitsFor({ spid, bound, holders, work }) : [],
  };
}

/** Every id that is not free, ascending; of `set` alone if that is given. Never fails. */
export function ioasidReports(core: IoasidCore, set?: IoasidSet): readonly IoasidReport[] {
  const reports: IoasidReport[] = [];
  for (let id = 1; id < core.ids.length; id++) {
    if (stateOf(core.ids, id) === STATE.FREE) continue;
    if (set !== undefined && core.sets.handles.at(setOf(core.ids, id)) !== set) continue;
    const report = ioasidInspect(core, id);
    if (!isRefusal(report)) reports.push(report);
  }
  return reports;
}

/**
 * The ids that a holder holds or has work on, ascending.
 *
 * On failure: `ENOENT` if it is gone.
 */
export function ioasidHeldBy(holder: IoasidHolder): readonly IoasidReport[] | Refusal<'ENOENT'> {
  const { core, record } = holder;
  if (core.holders.handles.at(record) !== holder) return refuse('ENOENT', `holder ${holder.name} is gone`);
  if (holderWord(core, record, HOLDER.references) + holderWord(core, record, HOLDER.work) === 0) return [];
  return ioasidReports(core).filter(({ id }) => isHolder(core, id, record));
}

function isHolder(core: IoasidCore, id: number, holder: number): boolean {
  for (let at = holdersOf(core.ids, id); at !== 0; at = referenceWord(core, at, REFERENCE.next)) {
    if (referenceWord(core, at, REFERENCE.holder) === holder) return true;
  }
  for (let at = workOf(core.ids, id); at !== 0; at = itemWord(core, at, ITEM.next)) {
    if (itemWord(core, at, ITEM.holder) === holder) return true;
  }
  return false;
}

function heldBy(core: IoasidCore, id: number): HeldBy[] {
  const list: HeldBy[] = [];
  for (let at = holdersOf(core.ids, id); at !== 0; at = referenceWord(core, at, REFERENCE.next)) {
    list.push({
      holder: holderName(core, referenceWord(core, at, REFERENCE.holder)),
      count: referenceWord(core, at, REFERENCE.count),
      since: referenceWord(core, at, REFERENCE.since) >>> 0,
    });
  }
  return list;
}

function workBy(core: IoasidCore, id: number): WorkBy[] {
  const list: WorkBy[] = [];
  for (let at = workOf(core.ids, id); at !== 0; at = itemWord(core, at, ITEM.next)) {
    const info = itemWord(core, at, ITEM.info);
    list.push({
      holder: holderName(core, itemWord(core, at, ITEM.holder)),
      phase: (PHASE_NAMES[info & INFO.phase] ?? 'none') as Phase,
      status: statusOf(info),
      since: itemWord(core, at, ITEM.since) >>> 0,
    });
  }
  return list;
}

function statusOf(info: number): WorkBy['status'] {
  if ((info & INFO.running) !== 0) return 'running';
  if ((info & INFO.ready) !== 0) return 'ready';
  return (info & INFO.nextRound) === 0 ? 'waits' : 'waits for the next round';
}

const holderName = (core: IoasidCore, holder: number): string => core.holders.handles.at(holder)?.name ?? '';

function waitsFor(of: Pick<IoasidReport, 'spid' | 'bound' | 'holders' | 'work'>): string[] {
  const list = of.work.map(
    ({ holder, phase, status, since }) => `${holder} to ${phase} (${status}, since step ${since})`,
  );
  if (of.bound !== 0) list.push(`SPID ${of.spid} to be detached (${times(of.bound, 'device')})`);
  for (const { holder, count, since } of of.holders) {
    list.push(`${holder} to put ${times(count, 'reference')} (since step ${since})`);
  }
  return list;
}

/** The names of notifiers that are registered on a set that is gone: nobody has taken them off. */
export function ioasidStrayNotifiers(core: IoasidCore): readonly string[] {
  const strays = core.subscribers.handles
    .list()
    .filter(({ record }) => subscriberWord(core, record, SUBSCRIBER.scope) === SET_GONE);
  return strays.map(({ notifier }) => notifier.name);
}

const times = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
