/**
 * The test bench's look inside a core: its whole state as one value, to compare, and whether its books agree with
 * each other. For tests, and for the rules of `explore`; nothing that the core does depends on it.
 */
import { assert } from '../../base/index.js';
import { COUNTER, type IoasidCore } from '../core/core.js';
import { type IoasidCapacity, ioasidCapacity } from '../core/create.js';
import { type IoasidControllerState, ioasidControllerRead, parentOf } from '../limits/controller.js';
import { ioasidUserRead } from '../limits/user.js';
import { chainNames, waitingNames } from '../records/chain.js';
import { HOLDER, holderWord } from '../records/holder-record.js';
import { ITEM, itemWord } from '../records/phases.js';
import { REFERENCE, referenceWord } from '../records/reference-list.js';
import { idsOfSet, SET, setWord } from '../records/set-record.js';
import { holdersOf, STATE, setOf, stateOf, workOf } from '../tables/id-columns.js';
import { type IoasidReport, ioasidReports } from './inspect.js';

/** The state of a core that callers can tell apart. Steps are in it, and the records of handles. */
export interface CoreDump {
  readonly capacity: IoasidCapacity;
  readonly ids: readonly IoasidReport[];
  /** Which id would be handed out next of the whole space; -1 if none. */
  readonly next: number;
  readonly sets: readonly unknown[];
  readonly controllers: readonly unknown[];
  readonly users: readonly unknown[];
  readonly holders: readonly unknown[];
  readonly allocators: readonly (readonly string[])[];
  readonly chain: readonly string[];
  readonly waiting: readonly string[];
}

/** What counts refusals and failures: the one thing that a refused call may change. */
export interface CoreCounts {
  readonly failures: number;
  readonly events: readonly (readonly [string, number, number])[];
}

/** The test bench's look inside `core`. */
export interface TestBench {
  dump(): CoreDump;
  counts(): CoreCounts;
  /** A `Bug` if the books do not agree. */
  check(): void;
}

export function ioasidTestBench(core: IoasidCore): TestBench {
  return {
    dump: () => dump(core),
    counts: () => ({
      failures: core.count(COUNTER.failures),
      events: core.controllers.handles.list().map((controller) => {
        const { events, eventsLocal } = ioasidControllerRead(controller) as IoasidControllerState;
        return [controller.name, events, eventsLocal] as const;
      }),
    }),
    check: () => {
      check(core);
    },
  };
}

function dump(core: IoasidCore): CoreDump {
  return {
    capacity: ioasidCapacity(core),
    ids: ioasidReports(core),
    next: core.freeIds.first(1, core.capacity - 1),
    sets: core.sets.handles.list().map((set) => ({
      name: set.name,
      quota: setWord(core, set.record, SET.quota),
      used: setWord(core, set.record, SET.used),
      ownerGone: setWord(core, set.record, SET.ownerGone),
      controller: setWord(core, set.record, SET.controller),
      user: setWord(core, set.record, SET.user),
      chain: chainNames(core, set.record),
    })),
    controllers: core.controllers.handles.list().map((controller) => {
      const { max, current } = ioasidControllerRead(controller) as IoasidControllerState;
      return { name: controller.name, max, current };
    }),
    users: core.users.handles.list().map((user) => ({ name: user.name, ...ioasidUserRead(user) })),
    holders: core.holders.handles.list().map(({ name, record }) => ({
      name,
      references: holderWord(core, record, HOLDER.references),
      work: holderWord(core, record, HOLDER.work),
    })),
    allocators: core.allocators.value.map((group) => group.map(({ name }) => name)),
    chain: chainNames(core, 0),
    waiting: waitingNames(core),
  };
}

/** Every sum that is kept must be what a walk counts. */
function check(core: IoasidCore): void {
  const reports = ioasidReports(core);
  assert(core.lock === 0 && core.announcing === 0, 'the lock is free between calls');
  assert(core.count(COUNTER.live) === reports.length, 'as many ids are live as are counted');
  const sets = core.sets.handles.list();
  const quotas = sets.reduce((sum, set) => sum + setWord(core, set.record, SET.quota), 0);
  assert(
    core.count(COUNTER.available) + quotas + 1 === core.capacity,
    'quotas and what is free are the capacity',
  );
  const charges = new Map<number, number>();
  for (const { record } of sets) {
    const ids = idsOfSet(core, record);
    const own = reports.filter(({ id }) => setOf(core.ids, id) === record);
    assert(ids.length === own.length && own.every(({ id }) => ids.includes(id)), `the list of set ${record}`);
    for (let at = setWord(core, record, SET.controller); at !== 0; at = parentOf(core, at)) {
      charges.set(at, (charges.get(at) ?? 0) + ids.length);
    }
  }
  for (const controller of core.controllers.handles.list()) {
    const { current } = ioasidControllerRead(controller) as IoasidControllerState;
    assert(current === (charges.get(controller.record) ?? 0), `the charge of ${controller.name}`);
  }
  for (let id = 1; id < core.capacity; id++) {
    assert(core.freeIds.isFree(id) === (stateOf(core.ids, id) === STATE.FREE), `whether ${id} is free`);
  }
  checkIds(reports);
  checkHolders(core, reports);
}

/** By record, for two holders may have one name. */
function checkHolders(core: IoasidCore, reports: readonly IoasidReport[]): void {
  const references = new Map<number, number>();
  const work = new Map<number, number>();
  const count = (of: Map<number, number>, holder: number, by: number): void => {
    of.set(holder, (of.get(holder) ?? 0) + by);
  };
  for (const { id } of reports) {
    for (let at = holdersOf(core.ids, id); at !== 0; at = referenceWord(core, at, REFERENCE.next)) {
      count(references, referenceWord(core, at, REFERENCE.holder), referenceWord(core, at, REFERENCE.count));
    }
    for (let at = workOf(core.ids, id); at !== 0; at = itemWord(core, at, ITEM.next)) {
      count(work, itemWord(core, at, ITEM.holder), 1);
    }
  }
  for (const { record, name } of core.holders.handles.list()) {
    const held = holderWord(core, record, HOLDER.references);
    assert(held === (references.get(record) ?? 0), `the references of ${name}`);
    assert(holderWord(core, record, HOLDER.work) === (work.get(record) ?? 0), `the work of ${name}`);
  }
}

function checkIds(reports: readonly IoasidReport[]): void {
  const spids = new Set<string>();
  for (const { id, set, spid, state, found, holders, work, phase } of reports) {
    const used = spid !== undefined || holders.length + work.length !== 0;
    assert(used === (state !== 'IDLE'), `IOASID ${id} is ${state}`);
    assert(
      holders.every(({ count }) => count > 0),
      `IOASID ${id} is held by those who hold`,
    );
    if (spid !== undefined) {
      assert(found || state === 'FREE_PENDING', `SPID ${spid} finds IOASID ${id}`);
      assert(!found || !spids.has(`${set} ${spid}`), `SPID ${spid} finds one`);
      if (found) spids.add(`${set} ${spid}`);
    }
    const now = work.filter(({ status }) => status === 'running' || status === 'ready');
    assert(work.length === 0 || now.length !== 0, `the work on IOASID ${id} goes on`);
    assert(
      now.every((item) => item.phase === phase),
      `IOASID ${id} is in one phase`,
    );
  }
}
