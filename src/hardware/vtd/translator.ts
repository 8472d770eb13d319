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
import { FAULT, SECOND_STAGE_ENTRY } from '../../spec/index.js';
import { pageEntry } from '../cache/page-cache.js';
import type { FrameReader, Memory } from '../memory.js';
import { ALL_RIGHTS, RIGHT } from '../paging/step.js';
import type { MemoryRequest, TranslationCompletion } from '../pci/ports.js';
import { AccessedDirty, type BeforeMark } from './accessed-dirty.js';
import { DeviceTables } from './device-tables.js';
import { KIND, NO_TRANSLATION } from './entry-summary.js';
import { type EntryAudit, EntryWalk } from './entry-walk.js';
import type { UnitFormat } from './format.js';
import { LeafWalk } from './leaf-walk.js';
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
const { R, W } = SECOND_STAGE_ENTRY;

export class Translator implements Restorable {
  readonly caches: UnitCaches;
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
  readonly #entries: EntryWalk;
  readonly #paging: PagingWalk;
  /** Without it all tables are walked: where paging structures are not cached, or are not snooped. */
  readonly #leaves: LeafWalk | undefined;
  readonly #entry = pageEntry();
  /** The walk of the root table that it was made for. */
  #walk: Walk | undefined;
  #walkRoot = 0;
  #walkMode = 0;
  /** False where the root table may be another since. */
  #isWalkCurrent = false;

  constructor(options: TranslatorOptions) {
    const { name, format, memory, chooser, caches = {}, writtenBack, beforeMark } = options;
    this.#format = format;
    this.#tableReader = writtenBack && new TableReader(memory, writtenBack, format);
    this.#reader = this.#tableReader ?? memory;
    this.caches = new UnitCaches(name, chooser, caches);
    this.#entries = new EntryWalk({
      format,
      caches: this.caches,
      reader: this.#reader,
      tableReader: this.#tableReader,
    });
    this.#marks = new AccessedDirty(memory, this.#reader, beforeMark);
    const { firstTables: first, secondTables: second } = this.caches;
    this.#paging = new PagingWalk(this.#marks, first, second);
    if (first === undefined || second === undefined || writtenBack !== undefined) return;
    this.#leaves = new LeafWalk({ format, memory, caches: this.caches, first, second });
  }

  /** Who watches the PASID table entries that are taken in. */
  set audit(audit: EntryAudit | undefined) {
    this.#entries.audit = audit;
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
    if (found === FOUND.SPACE && this.#leaves?.run(request, out) === true) return true;
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
    this.fault = walk.fault !== 0 ? walk.fault : this.#entries.takePasid(walk, request);
    this.silenced = walk.tables.silenced;
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
    const walk = this.#currentWalk();
    if (walk === undefined) return this.#refuse(this.#rootFault());
    const entries = this.#entries;
    const located = entries.locate(walk, request);
    this.silenced = entries.silenced;
    if (located !== 0) return this.#refuse(located);
    // Now that its address space is known, the translation may be, by way of another requester.
    if (entries.hasRead && this.caches.lookUp(request, out) === FOUND.TRANSLATION) return true;
    this.fault = this.#translate(walk, request);
    if (this.fault !== 0) return false;
    out.frame = walk.target;
    out.pages = walk.pages;
    out.rights = walk.rights;
    out.isGlobal = false;
    this.#keep(walk, request);
    return true;
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

  /** As {@link EntryWalk.takeContext}, where there is a root table. */
  #takeContext(request: Request): number {
    const walk = this.#currentWalk();
    if (walk === undefined) return this.#rootFault();
    const fault = this.#entries.takeContext(walk, request);
    this.silenced = this.#entries.silenced;
    return fault;
  }

  /** Why there is no walk. */
  #rootFault(): number {
    this.silenced = false;
    return this.#state.words[MODE] === TABLE_MODE.ABORT && this.#format.abortDma
      ? FAULT.ABORT_DMA_MODE
      : FAULT.ROOT_TABLE_ADDRESS_INVALID;
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
