/**
 * What a core is made with, and what it tells whoever made it. No more than values: nothing here knows the core.
 */
import type { Chooser, EventSink } from '../../base/index.js';
import type { Ioasid } from './ids.js';

/** What is announced. */
export const EVENT_KINDS = ['ALLOC', 'FREE', 'BIND', 'UNBIND'] as const;
export type IoasidEventKind = (typeof EVENT_KINDS)[number];

/** The series' priorities: `IOASID_PRIO_CPU`, `_IOMMU`, `_DEVICE`, `_LAST`. */
export type NotifierPriority = 'cpu' | 'iommu' | 'device' | 'last';

/** The order of being told, if none is given. */
export const DEFAULT_ORDER = ['cpu', 'iommu', 'device'] as const satisfies NotifierPriority[];

/** A callback that threw. The core went on; what the callback had to do may not have been done. */
export interface IoasidFailure {
  /** The name of the notifier, the allocator or the holder. */
  readonly of: string;
  /** The event that was announced, or the function: `alloc`, `free`, `wake`. */
  readonly in: string;
  readonly id: Ioasid;
  readonly error: unknown;
}

/**
 * What a core is made with. `faults`, `report` and `trace` are called under the lock, where every call that
 * changes something is `EDEADLK`; what they throw reaches the caller, after whom the core is good for `restore` only.
 */
export interface IoasidOptions {
  /** Ids 0 to `capacity` - 1, of which 0 is never handed out: 2 to 2^20, which is the default. */
  readonly capacity?: number;
  /** The order of allocation: the `lowest` free id (default, as Linux), or `cyclic`: the one that is free longest. */
  readonly policy?: 'lowest' | 'cyclic';
  /** Who is told first, second and third; by default `cpu`, `iommu`, `device`. Those of priority `last` come last. */
  readonly order?: readonly NotifierPriority[];
  /**
   * The scheduler's step, which dates what happens; by default the core counts its own changes of state. Modulo 2^32.
   */
  readonly step?: () => number;
  /** Is asked before every internal step that can fail whether it does: `choose(2, 'ioasid: …')`, 1 for yes. */
  readonly faults?: Chooser;
  /** Is told of each callback that threw, at once and under the lock; see also `ioasidFailures`. */
  readonly report?: (failure: IoasidFailure) => void;
  /** Takes an event for each change. Without it none is made. */
  readonly trace?: EventSink;
  /** Whether somebody reads events of a kind now: the others are not made. All are read, if it is left out. */
  readonly traces?: (kind: string) => boolean;
  /** Who acts, in the trace. */
  readonly actor?: string;
  /** The key of the hash of SPIDs: 32 bits that guests do not know. */
  readonly hashKey?: number;
}
