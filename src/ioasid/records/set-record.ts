/** What the core keeps of one set: words of its record, and the list of its ids. */
import type { IoasidCore } from '../core/core.js';
import { nextOf, prevOf, setNext, setPrev } from '../tables/id-columns.js';

/** Words of a set's record. */
export const SET = {
  /** How many ids it may have at a time; so many are reserved for it. */
  quota: 0,
  /** How many it has, those being freed included. */
  used: 1,
  /** The first of them. */
  head: 2,
  /** The first subscriber on its chain. */
  chain: 3,
  /** 1 once its owner has let go of it. */
  ownerGone: 4,
  /** The record of the controller that its ids are charged to, or 0. */
  controller: 5,
  /** The record of the user whose limit its quota counts against, or 0. */
  user: 6,
} as const;

/** The index in `core.sets.store` of word `which` of a set. */
export const setWordAt = (record: number, which: number): number => (record << 4) + which;

/** Word `which` of a set. */
export const setWord = (core: IoasidCore, record: number, which: number): number =>
  core.sets.store.words[(record << 4) + which] ?? 0;

/** Puts an id at the head of its set's list, and counts it. */
export function linkId(core: IoasidCore, record: number, id: number): void {
  const { ids } = core;
  const { store } = core.sets;
  const at = record << 4;
  const head = store.words[at + SET.head] ?? 0;
  setNext(ids, id, head);
  setPrev(ids, id, 0);
  if (head !== 0) setPrev(ids, head, id);
  store.touch(at);
  store.words[at + SET.head] = id;
  store.words[at + SET.used] = (store.words[at + SET.used] ?? 0) + 1;
}

/** Takes an id out of its set's list, and no longer counts it. */
export function unlinkId(core: IoasidCore, record: number, id: number): void {
  const { ids } = core;
  const { store } = core.sets;
  const at = record << 4;
  const next = nextOf(ids, id);
  const prev = prevOf(ids, id);
  store.touch(at);
  if (prev === 0) store.words[at + SET.head] = next;
  else setNext(ids, prev, next);
  if (next !== 0) setPrev(ids, next, prev);
  store.words[at + SET.used] = (store.words[at + SET.used] ?? 0) - 1;
}

/**
 * The ids that a set has now, ascending. A copy: whoever walks it may change the set, and must look again
 * whether an id is still there.
 */
export function idsOfSet(core: IoasidCore, record: number): Int32Array {
  const list = new Int32Array(setWord(core, record, SET.used));
  let id = setWord(core, record, SET.head);
  for (let at = 0; id !== 0; at++) {
    list[at] = id;
    id = nextOf(core.ids, id);
  }
  return list.sort();
}
