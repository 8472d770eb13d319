/**
 * The part of a translation that goes through paging structures: the walk, begun as far down as the
 * paging-structure caches allow, with the marks that it leaves, and what it teaches the caches (VT-d 4.1, 3.6 to
 * 3.8 and 6.2.5).
 *
 * The ways to first-stage tables are kept by domain and PASID, where nested with the frames that the second stage
 * gave them; those to second-stage tables by domain, and by what their PASID's entry makes of them (whether it
 * keeps accessed bits, and whether X counts). A way is kept once a table was reached by it, whatever becomes of
 * the walk further down. The way to a nested table that cannot be marked is not.
 */
import { NONE } from '../cache/slots.js';
import type { AccessedDirty } from './accessed-dirty.js';
import type { TableCache } from './table-cache.js';
import type { Request, Walk } from './walk.js';

export class PagingWalk {
  readonly #marks: AccessedDirty;
  readonly #first: TableCache | undefined;
  readonly #second: TableCache | undefined;
  /** The level of the first-stage table that the way was kept to; 0 if it was walked. */
  #skippedTo = 0;

  /** Without caches where they are undefined. */
  constructor(marks: AccessedDirty, first: TableCache | undefined, second: TableCache | undefined) {
    this.#marks = marks;
    this.#first = first;
    this.#second = second;
  }

  /** Goes on with a walk that stands before its first paging entry; 0, or why the request fails. */
  run(walk: Walk, request: Request): number {
    this.#marks.begin();
    this.#begin(walk, request);
    /** Whether the second stage is read, and nothing else done. */
    const isPlain = this.#second === undefined && !walk.tables.space.secondAccessedDirty;
    for (;;) {
      let fault = 0;
      if (walk.stage === 'second-stage') {
        if (isPlain) walk.runSecond();
        else fault = this.#marks.secondStep(walk, request);
        if (!isPlain && walk.stage === 'second-stage') this.#keepSecond(walk);
      } else if (walk.stage === 'first-stage') {
        fault = this.#firstStep(walk, request);
        this.#skipInSecond(walk);
      } else {
        return walk.stage === 'done' ? 0 : walk.fault;
      }
      if (fault !== 0) return fault;
    }
  }

  #begin(walk: Walk, request: Request): void {
    const { space } = walk.tables;
    this.#second?.within(space.domain, (space.secondAccessedDirty ? 1 : 0) | (space.executeRequests ? 2 : 0));
    const first = this.#first;
    this.#skippedTo = 0;
    if (first !== undefined && space.firstLevels !== 0) {
      first.within(space.domain, walk.pasid);
      first.seek(request);
      for (let level = 2; level <= space.firstLevels; level++) {
        const at = first.find(level);
        if (at === NONE) continue;
        this.#skippedTo = level - 1;
        walk.skipToFirst(level - 1, first.frameOf(at), first.rightsOf(at));
        return;
      }
    }
    this.#skipInSecond(walk);
  }

  #firstStep(walk: Walk, request: Request): number {
    const first = this.#first;
    const { space } = walk.tables;
    const { level, frame, firstRights } = walk;
    const isKept = first === undefined || level === space.firstLevels || level === this.#skippedTo;
    const fault = this.#marks.firstStep(walk, request);
    if (isKept || !this.#marks.isTableWritable) return fault;
    first.fill(first.add(level + 1, firstRights, space.translation === 'nested'), frame);
    return fault;
  }

  #keepSecond(walk: Walk): void {
    const second = this.#second;
    if (second !== undefined) second.fill(second.add(walk.level + 1, walk.rights, false), walk.frame);
  }

  #skipInSecond(walk: Walk): void {
    const second = this.#second;
    if (second === undefined || walk.stage !== 'second-stage') return;
    const { secondLevels } = walk.tables.space;
    second.seek(walk.guest);
    for (let level = 2; level <= secondLevels; level++) {
      const at = second.find(level);
      if (at === NONE) continue;
      walk.skipToSecond(level - 1, second.frameOf(at), second.rightsOf(at));
      return;
    }
  }
}
