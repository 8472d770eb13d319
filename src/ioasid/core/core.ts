/**
 * The state of one machine's IOASID core, drivers/iommu/ioasid.c's static variables as one object, so that a host
 * and its guests have one each; and what callers hold of it. The two name each other, so they stand in one file.
 * The functions on them are in the folders named after what they do.
 *
 * All of it goes back to a marked state: numbers stand in `Words`, the few objects in what keeps an
 * `UndoLog`. Everything is under
 * one lock, as in the series; here nothing runs beside a call, and the lock is what a handler or an allocator
 * finds taken when it calls back: `EDEADLK`, where Linux would hang.
 */
import {
  assert,
  type Chooser,
  type FieldValue,
  KeptTable,
  KeptValue,
  type Restorable,
  UndoLog,
  Words,
} from '../../base/index.js';
import { FreeBitmap, type FreeIds } from '../tables/bitmap.js';
import { FreeQueue } from '../tables/free-queue.js';
import { boundOf, IdColumns, setOf, spidOf } from '../tables/id-columns.js';
import { HandlePool, Pool } from '../tables/pool.js';
import { SpidTable } from '../tables/spid-table.js';
import type { AllocatorGroup } from './allocator-ops.js';
import { Ioasid, MAX_CAPACITY, type Spid } from './ids.js';
import {
  DEFAULT_ORDER,
  type IoasidEventKind,
  type IoasidFailure,
  type IoasidOptions,
  type NotifierPriority,
} from './options.js';

/**
 * An address space, as the token of a set of type `mm`: the object itself, so that it cannot be reused while the set
 * has it.
 */
export interface IoasidToken {
  /** What tables call it: `vm1`, `pid 4711`. */
  readonly name: string;
}

export type IoasidSetType = 'none' | 'mm';

/** A partition of the ids with an owner. Made by `ioasidSetAlloc`. */
export class IoasidSet {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly type: IoasidSetType;
  readonly token: IoasidToken | undefined;

  /** @internal */
  constructor(core: IoasidCore, record: number, of: { type: IoasidSetType; token: IoasidToken | undefined }) {
    this.core = core;
    this.record = record;
    this.type = of.type;
    this.token = of.token;
  }

  /** What messages and tables call it. */
  get name(): string {
    return this.token === undefined ? `set ${this.record}` : `set ${this.record} (${this.token.name})`;
  }
}

/** Whatever has a name and a record. Each kind says which it is, so that one is not taken for another. */
class Named {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly name: string;

  /** @internal */
  constructor(core: IoasidCore, record: number, name: string) {
    this.core = core;
    this.record = record;
    this.name = name;
  }
}

/**
 * In whose name references are held and work is done: `kvm:vm1`, `iommu0`, `vdcm:vdev3`. Made by `ioasidHolderAlloc`.
 */
export class IoasidHolder extends Named {
  readonly kind = 'holder';
  /** Wakes whoever does its work. */
  readonly wake: (() => void) | undefined;

  /** @internal */
  constructor(core: IoasidCore, record: number, of: { name: string; wake: (() => void) | undefined }) {
    super(core, record, of.name);
    this.wake = of.wake;
  }
}

/**
 * A node of the hierarchy that charges ids, as a cgroup does. Made by `ioasidControllerAlloc`; its name is its path.
 */
export class IoasidController extends Named {
  readonly kind = 'controller';
}

/** Somebody whose sets together have a limit, as an rlimit is. Made by `ioasidUserAlloc`. */
export class IoasidUser extends Named {
  readonly kind = 'user';
}

/** What a handler is told: `struct ioasid_nb_args`. One object serves all: read it, do not keep it. */
export interface IoasidEvent {
  readonly kind: IoasidEventKind;
  readonly id: Ioasid;
  /** The SPID by which the id is bound; on UNBIND, was bound. */
  readonly spid: Spid | undefined;
  readonly set: IoasidSet | undefined;
  /** The private data of the id. */
  readonly data: number;
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

/** A notifier on a chain, or waiting for the set of its token. Made by `ioasidRegisterNotifier` and its like. */
export class IoasidSubscription {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly notifier: IoasidNotifier;
  /** The token that it was registered for. */
  readonly token: IoasidToken | undefined;

  /** @internal */
  constructor(
    core: IoasidCore,
    record: number,
    of: { notifier: IoasidNotifier; token: IoasidToken | undefined },
  ) {
    this.core = core;
    this.record = record;
    this.notifier = of.notifier;
    this.token = of.token;
  }
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
  /** Registrations so far. */
  sequence: 4,
  /** The first subscriber on the system-wide chain. */
  chain: 5,
  /** The first subscriber that waits for its token's set. */
  waiting: 6,
} as const;

/** Who holds the lock: nobody, a notifier, or a callback that may look only. */
export const LOCK = { none: 0, handler: 1, allocator: 2 } as const;

const KEPT_FAILURES = 64;
/** An id's word has 24 bits for its set. */
const MAX_SETS = 0xff_ffff;

/** Made by `ioasidCreate`. What it shows is `mark`, `restore` and what it was made with; the rest is the core's own. */
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
  /** @internal */ readonly sets = new HandlePool<IoasidSet>(4, MAX_SETS);
  /** @internal */ readonly holders = new HandlePool<IoasidHolder>(3);
  /** @internal */ readonly controllers = new HandlePool<IoasidController>(3);
  /** @internal */ readonly users = new HandlePool<IoasidUser>(2);
  /** @internal */ readonly subscribers = new HandlePool<IoasidSubscription>(2);
  readonly #log = new UndoLog();
  /** @internal */ readonly tokens = {
    none: new KeptTable<IoasidToken, IoasidSet>(this.#log),
    mm: new KeptTable<IoasidToken, IoasidSet>(this.#log),
  };
  /** @internal */ readonly allocators = new KeptValue<readonly AllocatorGroup[]>(this.#log, []);
  /** The first callbacks that threw, oldest first. @internal */
  readonly failures = new KeptValue<readonly IoasidFailure[]>(this.#log, []);

  /** Who holds the lock: one of {@link LOCK}. @internal */ lock: number = LOCK.none;
  /** The id that is being announced, or 0: the core's own reference to it. @internal */ announcing = 0;
  /** Whether work queued in the announcement belongs to the next round of tear-down. @internal */ nextRound = false;
  /** The SPID that UNBIND is announced for: its record has forgotten it. @internal */ unbound:
    | Spid
    | undefined;
  /** How often work was taken. It is no part of the state, and is not put back. @internal */ tickets = 0;
  /** The event that handlers are given. @internal */ readonly event: {
    -readonly [Key in keyof IoasidEvent]: IoasidEvent[Key];
  };
  /** An error that is no handler's own, and came up in one: thrown when the announcement is over. @internal */ bug: unknown;

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
      this.#log,
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
    this.bug = undefined;
    this.unbound = undefined;
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
    const { faults } = this;
    return faults !== undefined && this.#callOut(() => faults.choose(2, `ioasid: ${what}`)) === 1;
  }

  /** One event of the trace about an id. @internal */
  emit(kind: string, id: number, fields: Readonly<Record<string, FieldValue>> = {}): void {
    if (this.#options.traces?.(kind) === false) return;
    const { ids } = this;
    const spid = boundOf(ids, id) === 0 ? {} : { spid: spidOf(ids, id) };
    this.emitOther(kind, { id, set: setOf(ids, id), ...spid, ...fields });
  }

  /** One event of the trace. @internal */
  emitOther(kind: string, fields: Readonly<Record<string, FieldValue>>): void {
    const { trace, traces, actor = 'ioasid' } = this.#options;
    if (trace === undefined || traces?.(kind) === false) return;
    const step = this.step() >>> 0;
    this.#callOut(() => {
      trace({ step, actor, layer: 'ioasid', kind, fields });
    });
  }

  /** Keeps and tells that a callback threw. @internal */
  failed(failure: IoasidFailure): void {
    this.add(COUNTER.failures, 1);
    if (this.failures.value.length < KEPT_FAILURES) this.failures.value = [...this.failures.value, failure];
    const { report } = this.#options;
    if (report === undefined) return;
    try {
      this.#callOut(() => {
        report(failure);
      });
    } catch (error) {
      // In an announcement the others hear first, and then it is told.
      if (this.lock !== LOCK.handler) throw error;
    }
  }

  /**
   * Calls whoever made the core, who may look and no more. What he throws is an error of the run (a replay that
   * went another way, say): it reaches the caller, and is not taken for the failure of a handler that it passed
   * through.
   */
  #callOut<T>(call: () => T): T {
    const { lock } = this;
    this.lock = LOCK.allocator;
    try {
      return call();
    } catch (error) {
      if (lock === LOCK.handler) this.bug ??= error;
      throw error;
    } finally {
      this.lock = lock;
    }
  }
}

const dirtyChunksOf = (part: Restorable): number =>
  'dirtyChunks' in part && typeof part.dirtyChunks === 'number' ? part.dirtyChunks : 0;
