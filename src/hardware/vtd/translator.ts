/**
 * A VT-d unit's translation: what its caches answer, and the walk that fills them. After VT-d 4.1, 3.4 to 3.8
 * and 6.2.
 *
 * A request is looked up in three caches: the context entry of its requester, the PASID table entry of its
 * requester and PASID, and the IOTLB. What all three grant together passes; everything else goes the slow way:
 * a walk, fed from the caches as far as they have its entries.
 *
 * Without caching mode, nothing faulty is cached. With it, faulty context and PASID entries are (under domain 0,
 * which software may not use then), and pages whose paging entry is not present or has a reserved bit set.
 */
import { type Chooser, numberOf, type Restorable, Words } from '../../base/index.js';
import { FAULT, PASID_TABLE_ENTRY, SECOND_STAGE_ENTRY } from '../../spec/index.js';
import { pageEntry } from '../cache/page-cache.js';
import { NONE } from '../cache/slots.js';
import type { FrameReader, Memory } from '../memory.js';
import { ALL_RIGHTS, RIGHT } from '../paging/step.js';
import type { MemoryRequest, TranslationCompletion } from '../pci/ports.js';
import { AccessedDirty, type BeforeMark } from './accessed-dirty.js';
import { type AddressSpace, type Context, DeviceTables } from './device-tables.js';
import type { EntryTags } from './entry-cache.js';
import {
  ACCESS_FAULTS,
  CONTEXT,
  CONTEXT_FAULTS,
  entryFault,
  KIND,
  NO_TRANSLATION,
  PASID_FAULTS,
  summaryOf,
} from './entry-summary.js';
import type { UnitFormat } from './format.js';
import { PagingWalk } from './paging-walk.js';
import { isInterruptFrame, NO_PASID, type Request } from './request.js';
import { TableReader } from './table-reader.js';
import { type CacheSizes, FOUND, TAG, UnitCaches } from './unit-caches.js';
import { Walk } from './walk.js';

/** What a translator is made of. */
export interface TranslatorOptions {
  readonly name: string;
  readonly format: UnitFormat;
  readonly memory: Memory;
  /** What a unit sees of memory that does not snoop; left out where writes of CPUs are seen at once. */
  readonly writtenBack?: FrameReader;
  readonly chooser: Chooser;
  readonly caches?: CacheSizes;
  readonly beforeMark?: BeforeMark;
}

/** Told of each PASID table entry that is taken in from memory, as it was read. Never changes anything. */
export type EntryAudit = (tags: EntryTags, words: Int32Array, at: number) => void;

/** RTADDR.TTM. */
const TABLE_MODE = { LEGACY: 0, SCALABLE: 1, ABORT: 3 } as const;

/** The state's words: whether translation is on, the root table as latched. */
const ENABLED = 0;
const ROOT_FRAME_LO = 1;
const ROOT_FRAME_HI = 2;
const MODE = 3;
const STATE_WORDS = 4;

const TWO_32 = 2 ** 32;
/** Constants of this module: the engine folds them, and would load what is imported at each use. */
const { FIRST, SECOND, NESTED } = KIND;
const { FPD } = PASID_TABLE_ENTRY;
const { R, W } = SECOND_STAGE_ENTRY;

export class Translator implements Restorable {
  readonly caches: UnitCaches;
  /** Who watches. */
  audit: EntryAudit | undefined;
  /** The reason of the last request that failed, and whether FPD keeps it from being recorded. */
  fault = 0;
  silenced = false;
  readonly #format: UnitFormat;
  /** What tables are read from. */
  readonly #reader: FrameReader;
  /** The same, where the unit does not snoop all that it reads. */
  readonly #tableReader: TableReader | undefined;
  readonly #state = new Words(STATE_WORDS, 2);
  readonly #marks: AccessedDirty;
  readonly #paging: PagingWalk;
  readonly #entry = pageEntry();
  readonly #tags = { rid: 0, pasid: 0, domain: 0, summary: 0, value: 0 };
  /** The walk of the root table that it was made for. */
  #walk: Walk | undefined;
  #walkRoot = 0;
  #walkMode = 0;
  /** False where the root table may be another since. */
  #isWalkCurrent = false;
  /** Whether the walk has read an entry that was not cached. */
  #hasRead = false;

  constructor(options: TranslatorOptions) {
    const { name, format, memory, chooser, caches = {}, writtenBack, beforeMark } = options;
    this.#format = format;
    this.#tableReader = writtenBack && new TableReader(memory, writtenBack, format);
    this.#reader = this.#tableReader ?? memory;
    this.caches = new UnitCaches(name, chooser, caches);
    this.#marks = new AccessedDirty(memory, this.#reader, beforeMark);
    this.#paging = new PagingWalk(this.#marks, this.caches.firstTables, this.caches.secondTables);
  }

  get isEnabled(): boolean {
    return this.#state.words[ENABLED] === 1;
  }

  set isEnabled(enabled: boolean) {
    this.#state.set(ENABLED, enabled ? 1 : 0);
  }

  get isScalable(): boolean {
    return this.#state.words[MODE] === TABLE_MODE.SCALABLE;
  }

  /** Takes a root table (RTADDR): its frame and TTM. What is cached stays. */
  latchRoot(frame: number, mode: number): void {
    this.#state.set(ROOT_FRAME_LO, frame | 0);
    this.#state.set(ROOT_FRAME_HI, (frame / TWO_32) | 0);
    this.#state.set(MODE, mode);
    this.#isWalkCurrent = false;
  }

  /**
   * Where an untranslated request goes.
   *
   * @param out filled if it may pass
   * @returns whether it may; {@link Translator.fault} says why not
   */
  remap(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (this.#state.words[ENABLED] !== 1) return this.#untranslated(request, out);
    const found = this.caches.lookUp(request, out);
    if (found === FOUND.TRANSLATION) return true;
    if (found === FOUND.PASS && this.#pass(request, out)) return true;
    return this.#byWalk(request, out);
  }

  /** Whether a requester may send translation requests and translated ones; {@link Translator.fault} if not. */
  mayTranslate(request: Request): boolean {
    this.fault = this.#takeContext(request);
    if (this.fault !== 0) return false;
    const walk = this.#walk;
    if (walk === undefined || walk.tables.context.deviceTlb) return true;
    this.silenced = walk.tables.silenced;
    this.fault = this.isScalable ? FAULT.DTE_CLEAR : FAULT.TRANSLATION_TYPE_BLOCKS;
    return false;
  }

  /** Whether a requester may ask for pages of a PASID; {@link Translator.fault} if not. */
  mayRequestPages(request: Request): boolean {
    if (!this.isScalable) return this.#refuse(FAULT.PAGE_REQUEST_IN_LEGACY_MODE);
    this.fault = this.#takeContext(request);
    const walk = this.#walk;
    if (this.fault !== 0 || walk === undefined) return false;
    this.silenced = walk.tables.silenced;
    if (!walk.tables.context.pageRequests) return this.#refuse(FAULT.PRE_CLEAR);
    this.fault = walk.fault !== 0 ? walk.fault : this.#takePasid(walk, request);
    return this.fault === 0;
  }

  /** Forgets context entries: all, a domain's, or those of a requester but for the bits of `ridMask`. */
  invalidateContexts(match: { rid?: number; ridMask?: number; domain?: number } = {}): void {
    // Scalable-mode context entries have no domain: one that names a domain covers them all.
    if (match.domain !== undefined && this.isScalable) this.caches.contexts.remove();
    else this.caches.contexts.remove(match);
  }

  mark(): void {
    this.caches.mark();
    this.#state.mark();
  }

  restore(): void {
    this.caches.restore();
    this.#state.restore();
    this.#isWalkCurrent = false;
  }

  /** Pass-through. */
  #pass(request: MemoryRequest, out: TranslationCompletion): boolean {
    const { page } = request;
    if (page >= this.#format.frameLimit || isInterruptFrame(page)) return false;
    out.frame = page;
    out.pages = 1;
    out.rights = ALL_RIGHTS;
    out.isGlobal = false;
    return true;
  }

  /** With translation off: what is no plain request has nothing to go by. */
  #untranslated(request: MemoryRequest, out: TranslationCompletion): boolean {
    this.fault = 0;
    if (request.pasid !== NO_PASID) return false;
    return this.#pass(request, out);
  }

  #byWalk(request: MemoryRequest, out: TranslationCompletion): boolean {
    this.#hasRead = false;
    const { foundContext, foundPasid } = this.caches;
    const located = this.#locate(request, foundContext, foundPasid);
    // Now that its address space is known, the translation may be, by way of another requester.
    if (located === 0 && this.#hasRead && this.caches.lookUp(request, out) === FOUND.TRANSLATION) return true;
    const walk = this.#walk;
    this.fault = located === 0 && walk !== undefined ? this.#translate(walk, request) : located;
    if (this.fault !== 0 || walk === undefined) return false;
    out.frame = walk.target;
    out.pages = walk.pages;
    out.rights = walk.rights;
    out.isGlobal = false;
    this.#keep(walk, request);
    return true;
  }

  /** Walks to a request's address space; 0, or why there is none. */
  #locate(request: Request, contextSlot: number, pasidSlot: number): number {
    const context = contextSlot === NONE ? undefined : this.caches.contexts.apart(contextSlot);
    const space = pasidSlot === NONE ? undefined : this.caches.pasids.apart(pasidSlot);
    if (context !== undefined && space !== undefined && this.isScalable)
      return this.#locateKept(request, context, space);
    const fault = this.#takeContext(request, contextSlot);
    const walk = this.#walk;
    if (fault !== 0 || walk === undefined || walk.stage !== 'pasid-directory') return fault;
    return this.#takePasid(walk, request, pasidSlot);
  }

  /** The same, where both entries are cached as they were taken apart. */
  #locateKept(request: Request, context: Context, space: AddressSpace): number {
    const walk = this.#currentWalk();
    if (walk === undefined) return this.#takeContext(request);
    this.silenced = walk.beginWithin(request, context, space) && walk.tables.silenced;
    // What the walk has found against the request is told as it goes on.
    return 0;
  }

  /** Walks the paging structures; 0, or why the request fails. */
  #translate(walk: Walk, request: Request): number {
    if (walk.stage === 'fault') return walk.fault;
    const { translation, domain, snoopsWalks } = walk.tables.space;
    this.#tableReader?.enterPaging(snoopsWalks);
    // Caching mode is about second-stage entries: absent ones of a first stage are never cached (Linux flushes none
    // of them when they come to be there).
    if (!this.#format.cachingMode || translation !== 'second-stage') return this.#paging.run(walk, request);
    const kept = this.caches.faultOf(domain, TAG.SECOND, request.page);
    if (kept !== 0) return forRequest(kept, request);
    const fault = this.#paging.run(walk, request);
    if (fault !== 0 && this.#isEntryFaulty(fault, walk)) this.#keepFault(walk, request, fault);
    return fault;
  }

  /** Whether a fault is one of a page's own paging entry, and of every request for it. */
  #isEntryFaulty(fault: number, walk: Walk): boolean {
    switch (fault) {
      case FAULT.SECOND_STAGE_RESERVED:
      case FAULT.PAGING_ENTRY_RESERVED:
        return true;
      case FAULT.SECOND_STAGE_DENIED:
      case FAULT.READ_DENIED:
      case FAULT.WRITE_DENIED:
        return (R.get(this.#reader.words, walk.at) | W.get(this.#reader.words, walk.at)) === 0;
      default:
        return false;
    }
  }

  /**
   * Begins a walk, up to the context entry, whose slot may be known.
   *
   * @returns 0 if the entry is sound (the walk may have found then that the request is not), or the reason
   */
  #takeContext(request: Request, found: number = NONE): number {
    this.silenced = false;
    const walk = this.#currentWalk();
    if (walk === undefined) {
      return this.#state.words[MODE] === TABLE_MODE.ABORT && this.#format.abortDma
        ? FAULT.ABORT_DMA_MODE
        : FAULT.ROOT_TABLE_ADDRESS_INVALID;
    }
    this.#tableReader?.enterTables();
    walk.begin(request);
    if (walk.fault !== 0) return walk.fault;
    const { contexts } = this.caches;
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

  /** Goes on to the PASID table entry, whose slot may be known; answers as {@link Translator.#takeContext}. */
  #takePasid(walk: Walk, request: Request, found: number = NONE): number {
    const { pasids } = this.caches;
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
    this.#hasRead = true;
    const slot = this.caches.contexts.add(tags, this.#reader.words, walk.at);
    if (isSound) this.#keepContextApart(walk.tables, slot);
  }

  /** Keeps the PASID table entry that the walk has just read. */
  #keepPasid(walk: Walk, rid: number): void {
    const { space, silenced } = walk.tables;
    const { pasids } = this.caches;
    const tags = this.#tags;
    const isSound = entryFault(PASID_FAULTS, walk) === 0;
    tags.rid = rid;
    tags.pasid = walk.pasid;
    tags.domain = isSound ? space.domain : 0;
    tags.summary = isSound ? summaryOf(space) : 0;
    tags.value = 0;
    this.#hasRead = true;
    const slot = pasids.add(tags, this.#reader.words, walk.at);
    this.audit?.(tags, this.#reader.words, walk.at);
    // The entries on the way silence faults too, and are not read again.
    FPD.set(pasids.words, pasids.at(slot), silenced ? 1 : 0);
    if (isSound) this.#keepSpaceApart(walk.tables, slot);
  }

  /** What a cached entry says, so that it need not be taken apart again. Legacy ones fill two records: left out. */
  #keepContextApart(tables: DeviceTables, slot: number): void {
    if (!tables.isScalable) return;
    tables.ownContext = this.caches.contexts.keepApart(slot, tables.ownContext);
  }

  #keepSpaceApart(tables: DeviceTables, slot: number): void {
    tables.ownSpace = this.caches.pasids.keepApart(slot, tables.ownSpace);
  }

  #keep(walk: Walk, request: Request): void {
    const { translation, domain } = walk.tables.space;
    if (translation === 'pass-through') return;
    const entry = this.#entry;
    const isFirst = translation !== 'second-stage';
    entry.space = domain;
    entry.tag = isFirst ? (this.#marks.isGlobal ? TAG.GLOBAL : walk.pasid) : TAG.SECOND;
    entry.page = request.page;
    entry.frame = walk.target;
    entry.pages = walk.pages;
    // A write through an entry without dirty bit has to come back, and mark it.
    entry.rights = this.#marks.isDirty ? walk.rights : walk.rights & ~RIGHT.WRITE;
    entry.kind = isFirst ? (translation === 'nested' ? NESTED : FIRST) : SECOND;
    this.caches.keep(entry);
  }

  #keepFault(walk: Walk, request: Request, fault: number): void {
    const entry = this.#entry;
    entry.space = walk.tables.space.domain;
    entry.tag = TAG.SECOND;
    entry.page = request.page;
    entry.frame = fault;
    entry.pages = 1;
    entry.rights = 0;
    entry.kind = SECOND | NO_TRANSLATION;
    this.caches.keep(entry);
  }

  #currentWalk(): Walk | undefined {
    if (this.#isWalkCurrent) return this.#walk;
    this.#isWalkCurrent = true;
    const { words } = this.#state;
    const mode = words[MODE] ?? 0;
    const root = numberOf(words[ROOT_FRAME_LO] ?? 0, words[ROOT_FRAME_HI] ?? 0);
    const isKnown = mode === TABLE_MODE.LEGACY || (mode === TABLE_MODE.SCALABLE && this.#format.scalable);
    if (!isKnown) {
      this.#walk = undefined;
    } else if (this.#walk === undefined || this.#walkRoot !== root || this.#walkMode !== mode) {
      this.#walk = new Walk(this.#reader, root, new DeviceTables(this.#format, mode === TABLE_MODE.SCALABLE));
      this.#walkRoot = root;
      this.#walkMode = mode;
    }
    return this.#walk;
  }

  #refuse(fault: number): false {
    this.fault = fault;
    return false;
  }
}

/** A reason that was cached, told for another request: legacy mode tells reads from writes. */
function forRequest(fault: number, { rights }: Request): number {
  if (fault !== FAULT.READ_DENIED && fault !== FAULT.WRITE_DENIED) return fault;
  return (rights & RIGHT.WRITE) === 0 ? FAULT.READ_DENIED : FAULT.WRITE_DENIED;
}
