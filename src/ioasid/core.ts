/**
 * The state of one machine's IOASID core: drivers/iommu/ioasid.c's static variables, as one object, so that a
 * host and its guests have one each. The functions on it are in the files named after what they do.
 *
 * All of it goes back to a marked state: numbers stand in `Words`, the few objects in `Refs`. Everything is under
 * one lock, as in the series; here nothing runs beside a call, and the lock is what a handler or an allocator
 * finds taken when it calls back: `EDEADLK`, where Linux would hang.
 */
import {
  assert,
  type Chooser,
  type EventSink,
  type FieldValue,
  type Refusal,
  type Restorable,
  refuse,
  Words,
} from '../base/index.js';
import type { AllocatorGroup } from './allocator.js';
import { FreeBitmap, type FreeIds } from './bitmap.js';
import { FreeQueue } from './free-queue.js';
import type {
  IoasidController,
  IoasidHolder,
  IoasidSet,
  IoasidSubscription,
  IoasidToken,
  IoasidUser,
} from './handles.js';
import { Ioasid, MAX_CAPACITY, type Spid } from './ids.js';
import type { IoasidEvent, NotifierPriority } from './notifier.js';
import { HandlePool, Pool } from './pool.js';
import { boundOf, IdColumns, isOf, STATE, setOf, spidOf, stateOf } from './record.js';
import { Cell, RefMap, type Refs } from './restorable.js';
import { SpidTable } from './spid-table.js';

/** A callback that threw. The core went on; what the callback had to do may not have been done. */
export interface IoasidFailure {
  /** The name of the notifier, the allocator or the holder. */
  readonly of: string;
  /** The event that was announced, or the function: `alloc`, `free`, `wake`. */
  readonly in: string;
  readonly id: Ioasid;
  readonly error: unknown;
}

export interface IoasidOptions {
  /** Ids 0 to `capacity` - 1, of which 0 is never handed out: 2 to 2^20, which is the default. */
  readonly capacity?: number;
  /** The order of allocation: the `lowest` free id (default, as Linux), or `cyclic`: the one that is free longest. */
  readonly policy?: 'lowest' | 'cyclic';
  /** Who is told first, second and third; by default `cpu`, `iommu`, `device`. Those of priority `last` come last. */
  readonly order?: readonly NotifierPriority[];
  /** The scheduler's step, which dates what happens; by default the core counts its own changes of state. */
  readonly step?: () => number;
  /** Is asked before every internal step that can fail whether it does: `choose(2, 'ioasid: …')`, 1 for yes. */
  readonly faults?: Chooser;
  /** Is told of each callback that threw, at once and under the lock; see also `ioasidFailures`. Must not throw. */
  readonly report?: (failure: IoasidFailure) => void;
  /** Takes an event for each change. Without it none is made. */
  readonly trace?: EventSink;
  /** Who acts, in the trace. */
  readonly actor?: string;
  /** The key of the hash of SPIDs: 32 bits that guests do not know. */
  readonly hashKey?: number;
}

/** Words of the core's own counters. */
export const COUNTER = {
  /** Ids that no set has reserved. */
  available: 0,
  /** Ids that are not FREE. */
  live: 1,
  /** Changes of state so far. */
  changes: 2,
  /** Callbacks that threw. */
  failures: 3,
  /** Registrations and work items so far. */
  sequence: 4,
  /** The first subscriber on the system-wide chain. */
  chain: 5,
  /** The first subscriber that waits for its token's set. */
  waiting: 6,
} as const;

/** Who holds the lock: nobody, a notifier, or a callback that may look only. */
export const LOCK = { none: 0, handler: 1, allocator: 2 } as const;

const DEFAULT_ORDER = ['cpu', 'iommu', 'device'] as const satisfies NotifierPriority[];
const KEPT_FAILURES = 64;

/** Made by {@link ioasidCreate}. What it shows is `mark`, `restore` and what it was made with; the rest is the core's own. */
export class IoasidCore implements Restorable {
  readonly capacity: number;
  readonly policy: 'lowest' | 'cyclic';
  /** All four priorities, in the order of being told. */
  readonly order: readonly NotifierPriority[];

  /** @internal */ readonly counters = new Words(8, 8);
  /** @internal */ readonly ids = new IdColumns();
  /** @internal */ readonly freeIds: FreeIds;
  /** @internal */ readonly spids: SpidTable;
  /** @internal */ readonly references = new Pool(2);
  /** @internal */ readonly work = new Pool(3);
  /** @internal */ readonly sets = new HandlePool<IoasidSet>(4);
  /** @internal */ readonly holders = new HandlePool<IoasidHolder>(3);
  /** @internal */ readonly controllers = new HandlePool<IoasidController>(3);
  /** @internal */ readonly users = new HandlePool<IoasidUser>(2);
  /** @internal */ readonly subscribers = new HandlePool<IoasidSubscription>(2);
  /** @internal */ readonly tokens = {
    none: new RefMap<IoasidToken, IoasidSet>(),
    mm: new RefMap<IoasidToken, IoasidSet>(),
  };
  /** @internal */ readonly allocators = new Cell<readonly AllocatorGroup[]>([]);
  /** The first callbacks that threw, oldest first. @internal */
  readonly failures = new Cell<readonly IoasidFailure[]>([]);

  /** Who holds the lock: one of {@link LOCK}. @internal */ lock: number = LOCK.none;
  /** The id that is being announced, or 0: the core's own reference to it. @internal */ announcing = 0;
  /** Whether work queued in the announcement belongs to the next round of tear-down. @internal */ nextRound = false;
  /** The SPID that UNBIND is announced for: its record has forgotten it. @internal */ unbound:
    | Spid
    | undefined;
  /** The event that handlers are given. @internal */ readonly event: IoasidEvent;
  /** An error of our own that a handler threw: told when the announcement is over. @internal */ bug: unknown;

  /** Whether anybody reads the trace. @internal */
  readonly traced: boolean;
  /** @internal */
  readonly faults: Chooser | undefined;
  /** @internal */
  readonly clock: (() => number) | undefined;
  readonly #options: IoasidOptions;
  readonly #parts: readonly Restorable[];

  /** @internal */
  constructor(options: IoasidOptions) {
    this.#options = options;
    this.traced = options.trace !== undefined;
    this.faults = options.faults;
    this.clock = options.step;
    this.capacity = options.capacity ?? MAX_CAPACITY;
    this.policy = options.policy ?? 'lowest';
    this.order = [...(options.order ?? DEFAULT_ORDER), 'last'];
    this.freeIds = this.policy === 'lowest' ? new FreeBitmap(this.capacity) : new FreeQueue(this.capacity);
    this.spids = new SpidTable(options.hashKey ?? 0x2545_f491);
    // Id 0 counts as the core's own quota of one: quotas and what is free make up the capacity.
    this.counters.words[COUNTER.available] = this.capacity - 1;
    this.event = { kind: 'ALLOC', id: Ioasid.of(0), spid: undefined, set: undefined, data: 0 };
    this.#parts = [
      ...[this.counters, this.ids, this.freeIds, this.spids, this.references, this.work],
      ...[this.sets, this.holders, this.controllers, this.users, this.subscribers],
      ...[this.tokens.none, this.tokens.mm, this.allocators, this.failures],
    ];
  }

  /** Remembers the present state. The time it takes is that of what changed since the last mark. */
  mark(): void {
    assert(this.lock === LOCK.none, 'the core is marked between calls');
    for (const part of this.#parts) part.mark();
  }

  /** Goes back to the marked state in time proportional to what changed since; handles made since are void. */
  restore(): void {
    assert(this.lock === LOCK.none, 'the core is restored between calls');
    for (const part of this.#parts) part.restore();
  }

  /** How many chunks of words have changed, or may have, since the mark: what a restore copies back. */
  get dirtyChunks(): number {
    return this.#parts.reduce((sum, part) => sum + dirtyChunksOf(part), 0);
  }

  /** One word of {@link COUNTER}. @internal */
  count(which: number): number {
    return this.counters.words[which] ?? 0;
  }

  /** @internal */
  add(which: number, by: number): number {
    this.counters.touch(which);
    const sum = (this.counters.words[which] ?? 0) + by;
    this.counters.words[which] = sum;
    return sum;
  }

  /** The present step. @internal */
  step(): number {
    const { clock } = this;
    return clock === undefined ? (this.counters.words[COUNTER.changes] ?? 0) : clock() | 0;
  }

  /** Counts a change of state that makes `live` more ids live; its step. @internal */
  change(live: -1 | 0 | 1): number {
    const { counters } = this;
    counters.touch(0);
    const { words } = counters;
    words[COUNTER.live] = (words[COUNTER.live] ?? 0) + live;
    words[COUNTER.changes] = (words[COUNTER.changes] ?? 0) + 1;
    return this.step();
  }

  /** Whether the internal step `what`, which could fail, does. @internal */
  fails(what: string): boolean {
    return this.faults !== undefined && this.faults.choose(2, `ioasid: ${what}`) === 1;
  }

  /** One event of the trace about an id. @internal */
  emit(kind: string, id: number, fields: Readonly<Record<string, FieldValue>> = {}): void {
    const { ids } = this;
    const spid = boundOf(ids, id) === 0 ? {} : { spid: spidOf(ids, id) };
    this.emitOther(kind, { id, set: setOf(ids, id), ...spid, ...fields });
  }

  /** One event of the trace. @internal */
  emitOther(kind: string, fields: Readonly<Record<string, FieldValue>>): void {
    const { trace, actor } = this.#options;
    trace?.({ step: this.step(), actor: actor ?? 'ioasid', layer: 'ioasid', kind, fields });
  }

  /** Keeps and tells that a callback threw. @internal */
  failed(failure: IoasidFailure): void {
    this.add(COUNTER.failures, 1);
    if (this.failures.value.length < KEPT_FAILURES) this.failures.value = [...this.failures.value, failure];
    this.#options.report?.(failure);
  }
}

const dirtyChunksOf = (part: Restorable): number =>
  'dirtyChunks' in part && typeof part.dirtyChunks === 'number' ? part.dirtyChunks : 0;

/**
 * Makes the IOASID core of one machine.
 *
 * On failure: `EINVAL` for a capacity outside 2 to 2^20, an order that does not name each of the three
 * priorities once, or a hash key of more than 32 bits.
 */
export function ioasidCreate(options: IoasidOptions = {}): IoasidCore | Refusal<'EINVAL'> {
  const { capacity = MAX_CAPACITY, policy = 'lowest', order = DEFAULT_ORDER, hashKey = 0 } = options;
  if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_CAPACITY) {
    return refuse('EINVAL', `a capacity of ${capacity} ids; it is 2 to ${MAX_CAPACITY}`);
  }
  if (policy !== 'lowest' && policy !== 'cyclic') return refuse('EINVAL', `no policy ${String(policy)}`);
  if (order.length !== 3 || DEFAULT_ORDER.some((priority) => !order.includes(priority))) {
    return refuse('EINVAL', `the order ${order.join(', ')} does not name cpu, iommu and device once each`);
  }
  if (hashKey !== (hashKey | 0) && hashKey !== hashKey >>> 0)
    return refuse('EINVAL', `${hashKey} is no key of 32 bits`);
  return new IoasidCore(options);
}

/** How the capacity is divided: `capacity` is `available` and the quotas of all sets and 1, the core's own id 0. */
export interface IoasidCapacity {
  readonly capacity: number;
  /** Ids that no set has reserved. */
  readonly available: number;
  /** The sum of the quotas of all sets that live. */
  readonly reserved: number;
  /** Ids that are IDLE, ACTIVE or FREE_PENDING. */
  readonly live: number;
}

/** How the capacity is divided now. Never fails. */
export function ioasidCapacity(core: IoasidCore): IoasidCapacity {
  const available = core.count(COUNTER.available);
  return {
    capacity: core.capacity,
    available,
    reserved: core.capacity - 1 - available,
    live: core.count(COUNTER.live),
  };
}

/** The callbacks that threw: how many, and the first of them. Never fails. */
export function ioasidFailures(core: IoasidCore): {
  readonly count: number;
  readonly first: readonly IoasidFailure[];
} {
  return { count: core.count(COUNTER.failures), first: core.failures.value };
}

/** @internal */
export function deadlock(core: IoasidCore, what: string): Refusal<'EDEADLK'> {
  const who = core.lock === LOCK.allocator ? 'an allocator or a wake-up' : 'a notifier';
  return refuse('EDEADLK', `${what} from ${who}: the core's lock is held`);
}

/** Whether `handle` still names what it was made for. @internal */
export function isLive<T extends object>(handles: Refs<T>, handle: T & { readonly record: number }): boolean {
  return handles.at(handle.record) === handle;
}

/**
 * Undefined if `set` lives and has `id`.
 *
 * @internal
 */
export function checkOwner(set: IoasidSet, id: number): Refusal<'EINVAL' | 'ENOENT' | 'EACCES'> | undefined {
  const { core } = set;
  if (id >>> 0 !== id || id > Ioasid.last) return refuse('EINVAL', `${id} is no IOASID`);
  if (core.sets.handles.at(set.record) !== set) return goneSet(set);
  if (id < core.ids.length && isOf(core.ids, id, set.record)) return undefined;
  if (stateOf(core.ids, id) === STATE.FREE) return refuse('ENOENT', `IOASID ${id} is free`);
  return refuse('EACCES', `IOASID ${id} is not of ${set.name}`);
}

/** @internal */
export function goneSet(set: IoasidSet): Refusal<'ENOENT'> {
  return refuse('ENOENT', `${set.name} is gone`);
}
