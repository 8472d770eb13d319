/** What the core keeps of one holder: how much it has, and the queue of its work that may run now. */
import type { IoasidCore } from '../core/core.js';
import { add } from '../tables/add.js';

/** Words of a holder's record: how much it has, and its items that may run now, first and last. */
export const HOLDER = { references: 0, work: 1, firstReady: 2, lastReady: 3 } as const;

export const holderWord = (core: IoasidCore, holder: number, which: number): number =>
  core.holders.store.words[(holder << 3) + which] ?? 0;

/** Counts `by` more references of a holder. */
export function countReference(core: IoasidCore, holder: number, by: number): void {
  add(core.holders.store, (holder << 3) + HOLDER.references, by);
}

/** Counts `by` more items of work of a holder. */
export function countWork(core: IoasidCore, holder: number, by: number): void {
  add(core.holders.store, (holder << 3) + HOLDER.work, by);
}
