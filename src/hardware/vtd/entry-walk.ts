/**
 * The part of a translation that goes through the tables of devices and PASIDs: the walk up to a request's address
 * space, from entries that are cached as far as there are such, and what it teaches the context cache and the PASID
 * cache (VT-d 4.1, 3.4 and 6.2.2 to 6.2.4). The part that comes after it is {@link PagingWalk}'s.
 */
import { PASID_TABLE_ENTRY } from '../../spec/index.js';
import { NONE } from '../cache/slots.js';
import type { FrameReader } from '../memory.js';
import type { DeviceTables } from './device-tables.js';
import type { EntryTags } from './entry-cache.js';
import {
  ACCESS_FAULTS,
  CONTEXT,
  CONTEXT_FAULTS,
  entryFault,
  PASID_FAULTS,
  summaryOf,
} from './entry-summary.js';
import type { UnitFormat } from './format.js';
import type { Request } from './request.js';
import type { TableReader } from './table-reader.js';
import type { UnitCaches } from './unit-caches.js';
import type { Walk } from './walk.js';

/** Told of each PASID table entry that is taken in from memory, as it was read. Never changes anything. */
export type EntryAudit = (tags: EntryTags, words: Int32Array, at: number) => void;

/** What it is made of: what tables are read from, and the same where the unit does not snoop all that it reads. */
export interface EntryWalkOptions {
  readonly format: UnitFormat;
  readonly caches: UnitCaches;
  readonly reader: FrameReader;
  readonly tableReader: TableReader | undefined;
}

const { FPD } = PASID_TABLE_ENTRY;

export class EntryWalk {
  /** Who watches. */
  audit: EntryAudit | undefined;
  /** Whether FPD keeps a fault of the request from being recorded. */
  silenced = false;
  /** Whether the walk has read an entry that was not cached. */
  hasRead = false;
  readonly #format: UnitFormat;
  readonly #caches: UnitCaches;
  readonly #reader: FrameReader;
  readonly #tableReader: TableReader | undefined;
  readonly #tags = { rid: 0, pasid: 0, domain: 0, summary: 0, value: 0 };

  constructor({ format, caches, reader, tableReader }: EntryWalkOptions) {
    this.#format = format;
    this.#caches = caches;
    this.#reader = reader;
    this.#tableReader = tableReader;
  }

  /** Goes to a request's address space, with the slots of the entries that are known; 0, or why there is none. */
  locate(walk: Walk, request: Request): number {
    const { contexts, pasids, foundContext, foundPasid } = this.#caches;
    const context = foundContext === NONE ? undefined : contexts.apart(foundContext);
    const space = foundPasid === NONE ? undefined : pasids.apart(foundPasid);
    if (context !== undefined && space !== undefined && walk.tables.isScalable) {
      this.hasRead = false;
      this.silenced = walk.beginWithin(request, context, space) && walk.tables.silenced;
      // What the walk has found against the request is told as it goes on.
      return 0;
    }
    const fault = this.takeContext(walk, request, foundContext);
    if (fault !== 0 || walk.stage !== 'pasid-directory') return fault;
    return this.takePasid(walk, request, foundPasid);
  }

  /**
   * Begins a walk, up to the context entry, whose slot may be known.
   *
   * @returns 0 if the entry is sound (the walk may have found then that the request is not), or the reason
   */
  takeContext(walk: Walk, request: Request, found: number = NONE): number {
    this.silenced = false;
    this.hasRead = false;
    this.#tableReader?.enterTables();
    walk.begin(request);
    if (walk.fault !== 0) return walk.fault;
    const { contexts } = this.#caches;
    const slot = found === NONE ? contexts.find(request.rid, 0) : found;
    if (slot !== NONE) {
      const apart = contexts.apart(slot);
      if (apart !== undefined) {
        walk.takeContext(apart);
        this.silenced = walk.tables.silenced;
        return 0;
      }
      walk.take('context', contexts.words, contexts.at(slot));
      if (entryFault(CONTEXT_FAULTS, walk) === 0) this.#keepContextApart(walk.tables, slot);
    } else {
      walk.step();
      if (walk.fault !== 0) return walk.fault;
      walk.step();
      const fault = entryFault(CONTEXT_FAULTS, walk);
      if (fault === 0 || (this.#format.cachingMode && !ACCESS_FAULTS.has(fault))) {
        this.#keepContext(walk, request.rid);
      }
    }
    this.silenced = walk.tables.silenced;
    return entryFault(CONTEXT_FAULTS, walk);
  }

  /** Goes on to the PASID table entry, whose slot may be known; answers as {@link EntryWalk.takeContext}. */
  takePasid(walk: Walk, request: Request, found: number = NONE): number {
    const { pasids } = this.#caches;
    const slot = found === NONE ? pasids.find(request.rid, walk.pasid) : found;
    if (slot !== NONE) {
      const apart = pasids.apart(slot);
      if (apart !== undefined) {
        walk.takeSpace(apart);
        this.silenced = walk.tables.silenced;
        return 0;
      }
      walk.take('pasid-table', pasids.words, pasids.at(slot));
      if (entryFault(PASID_FAULTS, walk) === 0) this.#keepSpaceApart(walk.tables, slot);
    } else {
      walk.step();
      if (walk.fault === 0) {
        walk.step();
        const fault = entryFault(PASID_FAULTS, walk);
        if (fault === 0 || (this.#format.cachingMode && !ACCESS_FAULTS.has(fault))) {
          this.#keepPasid(walk, request.rid);
        }
      }
    }
    this.silenced = walk.tables.silenced;
    return entryFault(PASID_FAULTS, walk);
  }

  /** Keeps the context entry that the walk has just read. */
  #keepContext(walk: Walk, rid: number): void {
    const { context, space, isScalable } = walk.tables;
    const tags = this.#tags;
    const isSound = entryFault(CONTEXT_FAULTS, walk) === 0;
    tags.rid = rid;
    tags.pasid = 0;
    tags.domain = isSound && !isScalable ? space.domain : 0;
    tags.value = isScalable ? context.ridPasid : summaryOf(space);
    tags.summary =
      (isScalable ? 0 : CONTEXT.LEGACY) |
      (context.pasidEnabled ? CONTEXT.PASID : 0) |
      (context.ridPrivilege ? CONTEXT.PRIVILEGED : 0);
    if (!isSound) {
      // Leads every request to the walk, which finds the fault in the cached entry.
      tags.summary = CONTEXT.LEGACY;
      tags.value = 0;
    }
    this.hasRead = true;
    const slot = this.#caches.contexts.add(tags, this.#reader.words, walk.at);
    if (isSound) this.#keepContextApart(walk.tables, slot);
  }

  /** Keeps the PASID table entry that the walk has just read. */
  #keepPasid(walk: Walk, rid: number): void {
    const { space, silenced } = walk.tables;
    const { pasids } = this.#caches;
    const tags = this.#tags;
    const isSound = entryFault(PASID_FAULTS, walk) === 0;
    tags.rid = rid;
    tags.pasid = walk.pasid;
    tags.domain = isSound ? space.domain : 0;
    tags.summary = isSound ? summaryOf(space) : 0;
    tags.value = 0;
    this.hasRead = true;
    const slot = pasids.add(tags, this.#reader.words, walk.at);
    this.audit?.(tags, this.#reader.words, walk.at);
    // The entries on the way silence faults too, and are not read again.
    FPD.set(pasids.words, pasids.at(slot), silenced ? 1 : 0);
    if (isSound) this.#keepSpaceApart(walk.tables, slot);
  }

  /** What a cached entry says, so that it need not be taken apart again. Legacy ones fill two records: left out. */
  #keepContextApart(tables: DeviceTables, slot: number): void {
    if (!tables.isScalable) return;
    tables.ownContext = this.#caches.contexts.keepApart(slot, tables.ownContext);
  }

  #keepSpaceApart(tables: DeviceTables, slot: number): void {
    tables.ownSpace = this.#caches.pasids.keepApart(slot, tables.ownSpace);
  }
}
