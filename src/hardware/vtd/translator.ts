/**
 * A VT-d unit's translation: its caches, and the walk that fills them. After VT-d 4.1, 3.4 to 3.8 and 6.2.
 *
 * A request is looked up in three caches: the context entry of its requester, the PASID table entry of its
 * requester and PASID, and the IOTLB. The IOTLB is tagged by domain and PASID (a second-stage translation by
 * domain alone), never by requester. What all three grant together passes; everything else goes the slow way:
 * a walk, fed from the caches as far as they have its entries.
 *
 * An entry stays until it is invalidated or another needs its place; with `forgets`, the run's choices may lose
 * it at any use. Paging-structure caches are left out. Without caching mode, no faulty entry is cached; with it,
 * faulty context and PASID entries are (under domain 0), but never faulty translations.
 */
import { type Chooser, type Restorable, Words } from '../../base/index.js';
import { FAULT, PASID_TABLE_ENTRY } from '../../spec/index.js';
import { PageCache, pageEntry } from '../cache/page-cache.js';
import { NONE } from '../cache/slots.js';
import type { Memory } from '../memory.js';
import { ALL_RIGHTS, RIGHT } from '../paging/step.js';
import type { MemoryRequest, TranslationCompletion } from '../pci/ports.js';
import { AccessedDirty } from './accessed-dirty.js';
import { DeviceTables } from './device-tables.js';
import { EntryCache } from './entry-cache.js';
import {
  ACCESS_FAULTS,
  allows,
  CONTEXT,
  CONTEXT_FAULTS,
  entryFault,
  KIND,
  KIND_OF,
  PASID_FAULTS,
  SPACE,
  summaryOf,
} from './entry-summary.js';
import type { UnitFormat } from './format.js';
import { INTERRUPT_FRAMES, NO_PASID, type Request, Walk } from './walk.js';

/** How much is cached, and how well. */
export interface CacheSizes {
  readonly context?: number;
  readonly pasid?: number;
  readonly iotlb?: number;
  /** Whether an entry may be lost at any use, by choice. */
  readonly forgets?: boolean;
}

/** What a translator is made of. */
export interface TranslatorOptions {
  readonly name: string;
  readonly format: UnitFormat;
  readonly memory: Memory;
  readonly chooser: Chooser;
  /** CAP.CM: faulty entries are cached too. */
  readonly cachingMode: boolean;
  readonly caches?: CacheSizes;
}

/** RTADDR.TTM. */
const TABLE_MODE = { LEGACY: 0, SCALABLE: 1, ABORT: 3 } as const;

/** Tags of the IOTLB beside PASIDs: of a second-stage translation, and of one that holds for every PASID. */
export const TAG = { SECOND: -1, GLOBAL: -2 } as const;

/** The state's words: whether translation is on, the root table as latched, what the IOTLB has ever held. */
const ENABLED = 0;
const ROOT_FRAME_LO = 1;
const ROOT_FRAME_HI = 2;
const MODE = 3;
const HAS_GLOBAL = 4;
const HAS_NESTED = 5;
const STATE_WORDS = 6;

const TWO_32 = 2 ** 32;
const CONTEXT_WORDS = 8;
const PASID_WORDS = 16;

export class Translator implements Restorable {
  readonly contexts: EntryCache;
  readonly pasids: EntryCache;
  readonly iotlb: PageCache;
  /** The reason of the last request that failed, and whether FPD keeps it from being recorded. */
  fault = 0;
  silenced = false;
  readonly #format: UnitFormat;
  readonly #memory: Memory;
  readonly #chooser: Chooser;
  readonly #cachingMode: boolean;
  readonly #forgets: boolean;
  readonly #forgetting: string;
  readonly #state = new Words(STATE_WORDS, 2);
  readonly #marks: AccessedDirty;
  readonly #entry = pageEntry();
  readonly #tags = { rid: 0, pasid: 0, domain: 0, summary: 0, value: 0 };
  /** The walk of the root table that it was made for. */
  #walk: Walk | undefined;
  #walkRoot = 0;
  #walkMode = 0;
  /** Whether the walk has read an entry that was not cached. */
  #hasRead = false;

  constructor({ name, format, memory, chooser, cachingMode, caches = {} }: TranslatorOptions) {
    const { context = 64, pasid = 64, iotlb = 256, forgets = false } = caches;
    this.#format = format;
    this.#memory = memory;
    this.#chooser = chooser;
    this.#cachingMode = cachingMode;
    this.#forgets = forgets;
    this.#forgetting = `${name} forgets`;
    this.#marks = new AccessedDirty(memory);
    this.contexts = new EntryCache(
      { name: `${name} context cache`, entries: context, chooser },
      CONTEXT_WORDS,
    );
    this.pasids = new EntryCache({ name: `${name} PASID cache`, entries: pasid, chooser }, PASID_WORDS);
    this.iotlb = new PageCache({ name: `${name} IOTLB`, entries: iotlb, chooser });
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
  }

  /**
   * Where an untranslated request goes.
   *
   * @param out filled if it may pass
   * @returns whether it may; {@link Translator.fault} says why not
   */
  remap(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (this.#fromCaches(request, out)) return true;
    if (!this.isEnabled) return this.#untranslated(request, out);
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
    if (match.domain !== undefined && this.isScalable) this.contexts.remove();
    else this.contexts.remove(match);
  }

  /** Forgets PASID table entries: all, a domain's, or those of one PASID in it. */
  invalidatePasids(match: { domain?: number; pasid?: number } = {}): void {
    this.pasids.remove(match);
  }

  /** Forgets translations: all, or a domain's. */
  invalidateDomain(domain?: number): void {
    this.iotlb.removeAll(domain === undefined ? {} : { space: domain });
    if (this.iotlb.used > 0) return;
    this.#state.set(HAS_GLOBAL, 0);
    this.#state.set(HAS_NESTED, 0);
  }

  /**
   * Forgets second-stage translations of `pages` pages of a domain. Nested ones have no guest-physical address
   * to go by: all of the domain go.
   */
  invalidatePages(domain: number, page: number, pages: number): void {
    this.iotlb.removePages(domain, TAG.SECOND, page, pages);
    if (this.#state.words[HAS_NESTED] === 1) this.iotlb.removeAll({ space: domain, kind: KIND.NESTED });
  }

  /** Forgets translations of a PASID, and those that hold for every PASID of its domain. */
  invalidatePasid(domain: number, pasid: number): void {
    this.iotlb.removeAll({ space: domain, tag: pasid });
    if (this.#hasGlobal) this.iotlb.removeAll({ space: domain, tag: TAG.GLOBAL });
  }

  /** Forgets translations of `pages` pages of a PASID, and those of them that hold for every PASID. */
  invalidatePasidPages(
    domain: number,
    pasid: number,
    { page, pages }: { page: number; pages: number },
  ): void {
    this.iotlb.removePages(domain, pasid, page, pages);
    if (this.#hasGlobal) this.iotlb.removePages(domain, TAG.GLOBAL, page, pages);
  }

  mark(): void {
    for (const each of [this.contexts, this.pasids, this.iotlb, this.#state]) each.mark();
  }

  restore(): void {
    for (const each of [this.contexts, this.pasids, this.iotlb, this.#state]) each.restore();
  }

  get #hasGlobal(): boolean {
    return this.#state.words[HAS_GLOBAL] === 1;
  }

  /** Whether what is cached lets a request pass. */
  #fromCaches(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (this.#state.words[ENABLED] !== 1) return false;
    const { contexts, pasids, iotlb } = this;
    const { rid, page } = request;
    let { pasid, rights } = request;
    const context = contexts.find(rid, 0);
    if (context === NONE) return false;
    const said = contexts.summaryOf(context);
    if (pasid === NO_PASID && isInterruptFrame(page)) return false;
    let domain = contexts.domainOf(context);
    let space = contexts.valueOf(context);
    let entry = NONE;
    if ((said & CONTEXT.LEGACY) !== 0) {
      if (pasid !== NO_PASID) return false;
    } else {
      if (pasid === NO_PASID) {
        pasid = space;
        rights = (said & CONTEXT.PRIVILEGED) === 0 ? rights | RIGHT.USER : rights & ~RIGHT.USER;
      } else if ((said & CONTEXT.PASID) === 0) return false;
      entry = pasids.find(rid, pasid);
      if (entry === NONE) return false;
      domain = pasids.domainOf(entry);
      space = pasids.summaryOf(entry);
    }
    if (!allows(space, rights)) return false;
    const kind = space & SPACE.KIND;
    if (kind === KIND.PASS) return this.#pass(request, out);
    iotlb.seek(page);
    let slot = iotlb.find(domain, kind === KIND.SECOND ? TAG.SECOND : pasid);
    if (slot === NONE && kind !== KIND.SECOND && this.#hasGlobal) slot = iotlb.find(domain, TAG.GLOBAL);
    if (slot === NONE || (rights & ~iotlb.rightsOf(slot)) !== 0) return false;
    if (this.#forgets && this.#loses(context, entry, slot)) return false;
    out.frame = iotlb.frameOf(slot);
    out.pages = iotlb.pagesOf(slot);
    out.rights = iotlb.rightsOf(slot);
    out.isGlobal = false;
    return true;
  }

  /** Whether one of the entries that a request would use is lost now, by choice. */
  #loses(context: number, entry: number, slot: number): boolean {
    const lost = this.#chooser.choose(4, this.#forgetting);
    if (lost === 1) this.iotlb.remove(slot);
    else if (lost === 2 && entry !== NONE) this.pasids.removeSlot(entry);
    else if (lost === 3) this.contexts.removeSlot(context);
    return lost !== 0;
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
    const located = this.#locate(request);
    // Now that its address space is known, the translation may be, by way of another requester.
    if (located === 0 && this.#hasRead && this.#fromCaches(request, out)) return true;
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
  #locate(request: Request): number {
    const fault = this.#takeContext(request);
    const walk = this.#walk;
    if (fault !== 0 || walk === undefined || walk.stage !== 'pasid-directory') return fault;
    return this.#takePasid(walk, request);
  }

  /** Walks the paging structures; 0, or why the request fails. */
  #translate(walk: Walk, request: Request): number {
    this.#marks.begin();
    for (;;) {
      let marking = 0;
      if (walk.stage === 'first-stage') marking = this.#marks.firstStep(walk, request);
      else if (walk.stage === 'second-stage') marking = this.#marks.secondStep(walk, request);
      else return walk.stage === 'done' ? 0 : walk.fault;
      if (marking !== 0) return marking;
    }
  }

  /**
   * Begins a walk, up to the context entry.
   *
   * @returns 0 if the entry is sound (the walk may have found then that the request is not), or the reason
   */
  #takeContext(request: Request): number {
    this.silenced = false;
    const walk = this.#currentWalk();
    if (walk === undefined) {
      return this.#state.words[MODE] === TABLE_MODE.ABORT
        ? FAULT.ABORT_DMA_MODE
        : FAULT.ROOT_TABLE_ADDRESS_INVALID;
    }
    walk.begin(request);
    if (walk.fault !== 0) return walk.fault;
    const slot = this.contexts.find(request.rid, 0);
    if (slot !== NONE) {
      walk.take('context', this.contexts.words, this.contexts.at(slot));
    } else {
      walk.step();
      if (walk.fault !== 0) return walk.fault;
      const { frame, word } = walk;
      walk.step();
      const fault = entryFault(CONTEXT_FAULTS, walk);
      if (fault === 0 || (this.#cachingMode && !ACCESS_FAULTS.has(fault))) {
        this.#keepContext(request.rid, frame, word);
      }
    }
    this.silenced = walk.tables.silenced;
    return entryFault(CONTEXT_FAULTS, walk);
  }

  /** Goes on to the PASID table entry; answers as {@link Translator.#takeContext}. */
  #takePasid(walk: Walk, request: Request): number {
    const slot = this.pasids.find(request.rid, walk.pasid);
    if (slot !== NONE) {
      walk.take('pasid-table', this.pasids.words, this.pasids.at(slot));
    } else {
      walk.step();
      if (walk.fault === 0) {
        const { frame, word } = walk;
        walk.step();
        const fault = entryFault(PASID_FAULTS, walk);
        if (fault === 0 || (this.#cachingMode && !ACCESS_FAULTS.has(fault))) {
          this.#keepPasid(walk, request.rid, { frame, word });
        }
      }
    }
    this.silenced = walk.tables.silenced;
    return entryFault(PASID_FAULTS, walk);
  }

  #keepContext(rid: number, frame: number, word: number): void {
    const walk = this.#walk;
    if (walk === undefined) return;
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
    this.contexts.add(tags, this.#memory.words, this.#memory.at(frame) + word);
  }

  #keepPasid(walk: Walk, rid: number, { frame, word }: { frame: number; word: number }): void {
    const { space, silenced } = walk.tables;
    const tags = this.#tags;
    const isSound = entryFault(PASID_FAULTS, walk) === 0;
    tags.rid = rid;
    tags.pasid = walk.pasid;
    tags.domain = isSound ? space.domain : 0;
    tags.summary = isSound ? summaryOf(space) : 0;
    tags.value = 0;
    this.#hasRead = true;
    const slot = this.pasids.add(tags, this.#memory.words, this.#memory.at(frame) + word);
    // The entries on the way silence faults too, and are not read again.
    PASID_TABLE_ENTRY.FPD.set(this.pasids.words, this.pasids.at(slot), silenced ? 1 : 0);
  }

  #keep(walk: Walk, request: Request): void {
    const { translation, domain } = walk.tables.space;
    if (translation === 'pass-through') return;
    const entry = this.#entry;
    const isFirst = translation !== 'second-stage';
    const isGlobal = isFirst && this.#marks.isGlobal;
    entry.space = domain;
    entry.tag = isFirst ? (isGlobal ? TAG.GLOBAL : walk.pasid) : TAG.SECOND;
    entry.page = request.page;
    entry.frame = walk.target;
    entry.pages = walk.pages;
    // A write through an entry without dirty bit has to come back, and mark it.
    entry.rights = this.#marks.isDirty ? walk.rights : walk.rights & ~RIGHT.WRITE;
    entry.kind = KIND_OF[translation];
    if (isGlobal) this.#state.set(HAS_GLOBAL, 1);
    if (translation === 'nested') this.#state.set(HAS_NESTED, 1);
    this.iotlb.add(entry);
  }

  #currentWalk(): Walk | undefined {
    const { words } = this.#state;
    const mode = words[MODE] ?? 0;
    const root = (words[ROOT_FRAME_HI] ?? 0) * TWO_32 + ((words[ROOT_FRAME_LO] ?? 0) >>> 0);
    const isKnown = mode === TABLE_MODE.LEGACY || (mode === TABLE_MODE.SCALABLE && this.#format.scalable);
    if (!isKnown) {
      this.#walk = undefined;
    } else if (this.#walk === undefined || this.#walkRoot !== root || this.#walkMode !== mode) {
      this.#walk = new Walk(this.#memory, root, new DeviceTables(this.#format, mode === TABLE_MODE.SCALABLE));
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

const isInterruptFrame = (frame: number): boolean =>
  frame >= INTERRUPT_FRAMES.first && frame <= INTERRUPT_FRAMES.last;
