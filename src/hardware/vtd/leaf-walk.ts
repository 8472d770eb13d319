/**
 * A walk of which all but the leaves is known: the paging-structure caches have the way to the first stage's last
 * table, and where nested that to the second stage's too (VT-d 4.1, 3.6, 3.8 and 6.2.5). It reads those one or two
 * entries, and takes a third of the time of the walk that can stop at every entry.
 *
 * It answers what that walk would: entries are judged by the same steps, and everything out of the ordinary is left
 * to that walk, untouched. That is a way that is not known, a fault, a large page, a mark that is to be made, a page
 * that holds for every PASID, and a request without a PASID.
 */
import { pageEntry } from '../cache/page-cache.js';
import { NONE } from '../cache/slots.js';
import { ABSENT, type Memory } from '../memory.js';
import { isCanonical } from '../paging/first-stage.js';
import { ENTRY, ENTRY_WORDS, indexOf, pagingStep, RIGHT } from '../paging/step.js';
import type { MemoryRequest, TranslationCompletion } from '../pci/ports.js';
import { isDirtyOfSecond, isDirtyPage, isGlobalPage, marksOfFirst, marksOfSecond } from './accessed-dirty.js';
import { isBeyondSecond, neededOfFirst, rightsOfEntry, secondStageOf } from './address-space.js';
import type { AddressSpace } from './device-tables.js';
import { KIND } from './entry-summary.js';
import type { UnitFormat } from './format.js';
import { tagOfSecond } from './paging-walk.js';
import { isInterruptFrame, NO_PASID, type Request } from './request.js';
import type { TableCache } from './table-cache.js';
import type { UnitCaches } from './unit-caches.js';

/** Constants of this module: the engine folds them, and would load what is imported at each use. */
const { LEAF } = ENTRY;
const { FIRST, NESTED } = KIND;
const { WRITE, USER } = RIGHT;
const NOT_THERE = ABSENT;
const UNKNOWN = NONE;
const WORDS = ENTRY_WORDS;
const INVERSE_32 = 1 / 2 ** 32;
/** The entries of the way that lead to tables of level 1. */
const LAST_TABLE = 2;

/** What it is made of: memory that the unit snoops, and its caches; of these, the ways to tables of either stage. */
export interface LeafWalkOptions {
  readonly format: UnitFormat;
  readonly memory: Memory;
  readonly caches: UnitCaches;
  readonly first: TableCache;
  readonly second: TableCache;
}

/**
 * In steps of which each begins with what is sure to be there: what a miss of the caches leaves out would seem rare to
 * the engine, which would call what it leads to instead of making it a part.
 */
export class LeafWalk {
  readonly #format: UnitFormat;
  readonly #memory: Memory;
  readonly #caches: UnitCaches;
  readonly #first: TableCache;
  readonly #second: TableCache;
  readonly #step = pagingStep();
  readonly #entry = pageEntry();
  /** The rights that the entries so far grant. */
  #rights = 0;
  /** Whether none of them has to be marked before a write. */
  #isDirty = false;

  constructor({ format, memory, caches, first, second }: LeafWalkOptions) {
    this.#format = format;
    this.#memory = memory;
    this.#caches = caches;
    this.#first = first;
    this.#second = second;
  }

  /**
   * Translates the page of a request after the caches were looked up, have an address space that takes it, and no
   * translation; and keeps the translation.
   *
   * @param out filled if it was translated
   * @returns false where another walk has to
   */
  run(request: MemoryRequest, out: TranslationCompletion): boolean {
    const { contexts, pasids, foundContext, foundPasid } = this.#caches;
    const { pasid } = request;
    if (pasid === NO_PASID || foundPasid === UNKNOWN) return false;
    const context = contexts.apart(foundContext);
    const space = pasids.apart(foundPasid);
    if (context === undefined || space === undefined || pasid >= context.pasidLimit) return false;
    const way = this.#wayOfFirst(request, space);
    return way !== UNKNOWN && this.#readFirst(way, request, space) && this.#finish(request, space, out);
  }

  #wayOfFirst({ page, pasid }: Request, space: AddressSpace): number {
    const first = this.#first;
    const high = (page * INVERSE_32) | 0;
    if (!isCanonical(high, space.firstLevels)) return UNKNOWN;
    first.within(space.domain, pasid);
    first.seek(page | 0, high);
    return first.find(LAST_TABLE);
  }

  #readFirst(way: number, { page, rights }: Request, space: AddressSpace): boolean {
    const first = this.#first;
    const memory = this.#memory;
    const step = this.#step;
    const at = memory.at(first.frameOf(way), indexOf(page | 0, 0, 1) * WORDS);
    if (at === NOT_THERE) return false;
    const { words } = memory;
    if (this.#format.firstStage.step(1, words, at, step) !== LEAF) return false;
    const granted = rightsOfEntry(space) & first.rightsOf(way) & step.rights;
    if ((neededOfFirst(rights, (rights & USER) === 0, space) & ~granted) !== 0) return false;
    const entry = words[at] ?? 0;
    const marks = marksOfFirst((rights & WRITE) !== 0, space);
    if ((entry & marks) !== marks || isGlobalPage(entry)) return false;
    this.#rights = granted;
    this.#isDirty = isDirtyPage(entry);
    if (space.translation !== 'nested') return true;
    const next = this.#wayOfSecond(space);
    return next !== UNKNOWN && this.#readSecond(next, rights, space);
  }

  /** The way to the table of the second stage for the page that the first has led to. */
  #wayOfSecond(space: AddressSpace): number {
    const second = this.#second;
    const page = this.#step.frame;
    if (isBeyondSecond(page, space, this.#format)) return UNKNOWN;
    second.within(space.domain, tagOfSecond(space));
    second.seek(page | 0, (page * INVERSE_32) | 0);
    return second.find(LAST_TABLE);
  }

  #readSecond(way: number, rights: number, space: AddressSpace): boolean {
    const second = this.#second;
    const memory = this.#memory;
    const step = this.#step;
    const at = memory.at(second.frameOf(way), indexOf(step.frame | 0, 0, 1) * WORDS);
    if (at === NOT_THERE) return false;
    const { words } = memory;
    if (secondStageOf(this.#format, space).step(1, words, at, step) !== LEAF) return false;
    const granted = second.rightsOf(way) & step.rights;
    if ((rights & ~USER & ~granted) !== 0) return false;
    this.#rights &= granted;
    if (!space.secondAccessedDirty) return true;
    const entry = words[at] ?? 0;
    const marks = marksOfSecond((rights & WRITE) !== 0);
    this.#isDirty = this.#isDirty && isDirtyOfSecond(entry);
    return (entry & marks) === marks;
  }

  /** Gives the frame that the last entry has led to for the page's, unless interrupts are there. */
  #finish({ pasid, page }: Request, space: AddressSpace, out: TranslationCompletion): boolean {
    const { frame } = this.#step;
    const rights = this.#rights;
    if (isInterruptFrame(frame)) return false;
    out.frame = frame;
    out.pages = 1;
    out.rights = rights;
    out.isGlobal = false;
    const entry = this.#entry;
    entry.space = space.domain;
    entry.tag = pasid;
    entry.page = page;
    entry.frame = frame;
    entry.pages = 1;
    // A write through an entry without dirty bit has to come back, and mark it.
    entry.rights = this.#isDirty ? rights : rights & ~WRITE;
    entry.kind = space.translation === 'nested' ? NESTED : FIRST;
    this.#caches.keepSought(entry);
    return true;
  }
}
