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
import type { AccessedDirty } from './accessed-dirty.js';
import type { AddressSpace } from './device-tables.js';
import type { Request } from './request.js';
import { type TableCache, tableWays } from './table-cache.js';
import type { Walk } from './walk.js';

/** What keeps ways through the second stage apart that one domain's address spaces do not share. */
export const tagOfSecond = ({ secondAccessedDirty, executeRequests }: AddressSpace): number =>
  (secondAccessedDirty ? 1 : 0) | (executeRequests ? 2 : 0);

export class PagingWalk {
  readonly #marks: AccessedDirty;
  readonly #first: TableCache | undefined;
  readonly #second: TableCache | undefined;
  /** The level of the first-stage table that the way was kept to; 0 if it was walked. */
  #skippedTo = 0;
  readonly #ways = tableWays();

  /** Without caches where they are undefined. */
  constructor(marks: AccessedDirty, first: TableCache | undefined, second: TableCache | undefined) {
    this.#marks = marks;
    this.#first = first;
    this.#second = second;
  }

  /** Goes on with a walk that stands before its first paging entry; 0, or why the request fails. */
  run(walk: Walk, request: Request): number {
    const { secondAccessedDirty } = walk.tables.space;
    this.#marks.begin();
    this.#begin(walk);
    for (;;) {
      const { stage } = walk;
      let fault = 0;
      if (stage === 'first-stage') fault = this.#firstStep(walk, request);
      else if (stage !== 'second-stage') return walk.fault;
      else if (secondAccessedDirty) fault = this.#markSecond(walk, request);
      else this.#readSecond(walk);
      if (fault !== 0) return fault;
    }
  }

  #begin(walk: Walk): void {
    const { space } = walk.tables;
    this.#second?.within(space.domain, tagOfSecond(space));
    this.#skippedTo = 0;
    const first = this.#first;
    if (first === undefined || space.firstLevels === 0) return;
    first.within(space.domain, walk.pasid);
    first.seek(walk.pageLow, walk.pageHigh);
    if (!first.findLowest(space.firstLevels)) return;
    this.#skippedTo = first.level;
    walk.skipToFirst(first);
  }

  #firstStep(walk: Walk, request: Request): number {
    const first = this.#first;
    const { space } = walk.tables;
    const { level, frame, firstRights } = walk;
    const isKept = first === undefined || level === space.firstLevels || level === this.#skippedTo;
    const fault = this.#marks.firstStep(walk, request);
    if (isKept || !this.#marks.isTableWritable) return fault;
    this.#ways.frames[level] = frame;
    this.#ways.rights[level] = firstRights;
    first.add(level + 1, this.#ways, space.translation === 'nested');
    return fault;
  }

  /** Through the second stage, where nothing happens between its entries. */
  #readSecond(walk: Walk): void {
    const second = this.#second;
    if (second === undefined) {
      walk.runSecond();
      return;
    }
    if (this.#skipInSecond(walk, second)) {
      if (walk.fault !== 0) return;
      if (second.level === 1) {
        walk.stepSecond();
        return;
      }
    }
    const from = walk.level;
    const to = walk.runSecond();
    for (let level = from; level > to; level--) second.add(level, walk.ways, false);
  }

  /** Through the second stage, with marks. */
  #markSecond(walk: Walk, request: Request): number {
    const second = this.#second;
    if (second !== undefined) this.#skipInSecond(walk, second);
    let fault = 0;
    while (walk.stage === 'second-stage' && fault === 0) {
      const { level } = walk;
      fault = this.#marks.secondStep(walk, request);
      if (second === undefined || walk.stage !== 'second-stage') continue;
      this.#ways.frames[level - 1] = walk.frame;
      this.#ways.rights[level - 1] = walk.rights;
      second.add(level, this.#ways, false);
    }
    return fault;
  }

  /** Whether a part of the way through the second stage is kept, and the walk goes on behind it. */
  #skipInSecond(walk: Walk, second: TableCache): boolean {
    second.seek(walk.guestLow, walk.guestHigh);
    const isKept = second.findLowest(walk.tables.space.secondLevels);
    if (isKept) walk.skipToSecond(second);
    return isKept;
  }
}
