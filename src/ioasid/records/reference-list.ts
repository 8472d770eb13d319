/** The references to one id: a record for each holder, with a count, in a list that begins at the id. */
import type { IoasidCore } from '../core/core.js';
import { holdersOf, setHolders } from '../tables/id-columns.js';

/** Words of a reference. */
export const REFERENCE = { holder: 0, count: 1, next: 2, since: 3 } as const;

export const referenceWord = (core: IoasidCore, reference: number, which: number): number =>
  core.references.store.words[(reference << 2) + which] ?? 0;

/** The record of the references that `holder` has to an id, or 0. */
export function findReference(core: IoasidCore, id: number, holder: number): number {
  const { words } = core.references.store;
  let reference = holdersOf(core.ids, id);
  while (reference !== 0 && words[(reference << 2) + REFERENCE.holder] !== holder) {
    reference = words[(reference << 2) + REFERENCE.next] ?? 0;
  }
  return reference;
}

/** Takes a record out of its id's list. */
export function removeReference(core: IoasidCore, id: number, reference: number): void {
  const { store } = core.references;
  const next = referenceWord(core, reference, REFERENCE.next);
  let before = holdersOf(core.ids, id);
  if (before === reference) {
    setHolders(core.ids, id, next);
    return;
  }
  while (referenceWord(core, before, REFERENCE.next) !== reference) {
    before = referenceWord(core, before, REFERENCE.next);
  }
  store.set((before << 2) + REFERENCE.next, next);
}
