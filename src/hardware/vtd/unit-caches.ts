/**
 * All that a VT-d unit caches, and what invalidations take from it; after VT-d 4.1, 6.2 and 6.5.
 *
 * Tags: a context entry by requester; a PASID table entry by requester and PASID, with its domain; translations
 * and paging structures by domain and PASID (those of a second stage by domain alone), never by requester. An
 * entry stays until it is invalidated or another needs its place; with `forgets`, the run's choices may lose one
 * at any use.
 */
import { type Chooser, type Restorable, Words } from '../../base/index.js';
import { PageCache, type PageEntry, type PageSpan } from '../cache/page-cache.js';
import { NONE } from '../cache/slots.js';
import { RIGHT } from '../paging/step.js';
import type { MemoryRequest, TranslationCompletion } from '../pci/ports.js';
import { type AddressSpace, type Context, emptyAddressSpace, emptyContext } from './device-tables.js';
import { EntryCache } from './entry-cache.js';
import { allows, CONTEXT, KIND, NO_TRANSLATION, SPACE } from './entry-summary.js';
import { isInterruptFrame, NO_PASID } from './request.js';
import { TableCache } from './table-cache.js';

/** How much is cached, and how well. */
export interface CacheSizes {
  readonly context?: number;
  readonly pasid?: number;
  readonly iotlb?: number;
  /** Paging structures: entries of the first stage's cache, and as many of the second's; 0 for none at all. */
  readonly pagingStructures?: number;
  /** Whether an entry may be lost at any use, by choice. */
  readonly forgets?: boolean;
}

/** Pages that an invalidation names: a power of two of them, that divides the first. */
export interface PageRun extends PageSpan {
  /** IH: only leaves have changed, so what is kept of the way to them may stay. */
  readonly leafOnly: boolean;
}

/** Tags of the IOTLB beside PASIDs: of a second-stage translation, and of one that holds for every PASID. */
export const TAG = { SECOND: -1, GLOBAL: -2 } as const;

/**
 * What {@link UnitCaches.lookUp} answers: nothing to be had, a translation, or pass-through; or an address space that
 * takes such requests, and no translation in it for the page.
 */
export const FOUND = { NOTHING: 0, TRANSLATION: 1, PASS: 2, SPACE: 3 } as const;

/** The state's word: whether the IOTLB has ever held a translation for every PASID. */
const HAS_GLOBAL = 0;
const STATE_WORDS = 1;

const CONTEXT_WORDS = 8;
const PASID_WORDS = 16;

export class UnitCaches implements Restorable {
  readonly contexts: EntryCache<Context>;
  readonly pasids: EntryCache<AddressSpace>;
  readonly iotlb: PageCache;
  /** Paging structures of the first stage, and of the second. */
  readonly firstTables: TableCache | undefined;
  readonly secondTables: TableCache | undefined;
  readonly forgets: boolean;
  /** The slots of the context and PASID entries that the last look-up found and left; {@link NONE} else. */
  foundContext = NONE;
  foundPasid = NONE;
  readonly #chooser: Chooser;
  readonly #forgetting: string;
  readonly #state = new Words(STATE_WORDS, 1);
  readonly #parts: readonly Restorable[];

  /** @param name of the unit */
  constructor(name: string, chooser: Chooser, sizes: CacheSizes) {
    const { context = 64, pasid = 64, iotlb = 256, pagingStructures = 32, forgets = false } = sizes;
    this.forgets = forgets;
    this.#chooser = chooser;
    this.#forgetting = `${name} forgets`;
    const called = (what: string, entries: number) => ({ name: `${name} ${what}`, entries, chooser });
    this.contexts = new EntryCache(called('context cache', context), CONTEXT_WORDS, emptyContext);
    this.pasids = new EntryCache(called('PASID cache', pasid), PASID_WORDS, emptyAddressSpace);
    this.iotlb = new PageCache({
      ...called('IOTLB', iotlb),
      listed: { mask: SPACE.KIND, kind: KIND.NESTED },
    });
    if (pagingStructures !== 0) {
      this.firstTables = new TableCache(called('first-stage paging structures', pagingStructures));
      this.secondTables = new TableCache(called('second-stage paging structures', pagingStructures));
    }
    const tables = [this.firstTables, this.secondTables].filter((each) => each !== undefined);
    this.#parts = [this.contexts, this.pasids, this.iotlb, ...tables, this.#state];
  }

  /** Whether what is cached lets a request pass; `out` is filled for a translation. */
  lookUp(request: MemoryRequest, out: TranslationCompletion): number {
    const { contexts, pasids, iotlb } = this;
    const { rid, page } = request;
    let { pasid, rights } = request;
    const context = contexts.find(rid, 0);
    this.foundContext = context;
    this.foundPasid = NONE;
    if (context === NONE) return FOUND.NOTHING;
    const said = contexts.summaryOf(context);
    if (pasid === NO_PASID && isInterruptFrame(page)) return FOUND.NOTHING;
    let domain = contexts.domainOf(context);
    let space = contexts.valueOf(context);
    let entry = NONE;
    if ((said & CONTEXT.LEGACY) !== 0) {
      if (pasid !== NO_PASID) return FOUND.NOTHING;
    } else {
      if (pasid === NO_PASID) {
        pasid = space;
        rights = (said & CONTEXT.PRIVILEGED) === 0 ? rights | RIGHT.USER : rights & ~RIGHT.USER;
      } else if ((said & CONTEXT.PASID) === 0) return FOUND.NOTHING;
      entry = pasids.find(rid, pasid);
      this.foundPasid = entry;
      if (entry === NONE) return FOUND.NOTHING;
      domain = pasids.domainOf(entry);
      space = pasids.summaryOf(entry);
    }
    if (!allows(space, rights)) return FOUND.NOTHING;
    const kind = space & SPACE.KIND;
    if (kind === KIND.PASS) return FOUND.PASS;
    iotlb.seek(page);
    const slot = this.#translation(domain, kind === KIND.SECOND ? TAG.SECOND : pasid);
    if (slot === NONE) return FOUND.SPACE;
    if ((rights & ~iotlb.rightsOf(slot)) !== 0) return FOUND.NOTHING;
    if (this.forgets && this.#loses(context, entry, slot)) return FOUND.NOTHING;
    out.frame = iotlb.frameOf(slot);
    out.pages = iotlb.pagesOf(slot);
    out.rights = iotlb.rightsOf(slot);
    out.isGlobal = false;
    return FOUND.TRANSLATION;
  }

  /** The reason that is cached for a page of an address space (caching mode); 0 if there is none. */
  faultOf(domain: number, tag: number, page: number): number {
    const { iotlb } = this;
    iotlb.seek(page);
    const slot = this.#translation(domain, tag);
    if (slot === NONE || (iotlb.kindOf(slot) & NO_TRANSLATION) === 0) return 0;
    const fault = iotlb.frameOf(slot);
    if (!this.forgets || this.#chooser.choose(2, this.#forgetting) === 0) return fault;
    iotlb.remove(slot);
    return 0;
  }

  /** Keeps a translation, or the reason why there is none. */
  keep(entry: PageEntry): void {
    this.#note(entry);
    this.iotlb.add(entry);
  }

  /** The same of the page that the last look-up has found no translation of, under the tag that it was sought by. */
  keepSought(entry: PageEntry): void {
    this.#note(entry);
    this.iotlb.addSought(entry);
  }

  /** What the IOTLB holds from now on. */
  #note(entry: PageEntry): void {
    if (entry.tag === TAG.GLOBAL) this.#state.set(HAS_GLOBAL, 1);
  }

  /** Forgets everything. */
  invalidateAll(): void {
    this.contexts.remove();
    this.pasids.remove();
    this.invalidateDomain();
  }

  /** Forgets translations and paging structures: all, or a domain's. */
  invalidateDomain(domain?: number): void {
    this.iotlb.removeAll(domain === undefined ? {} : { space: domain });
    this.firstTables?.remove(domain === undefined ? {} : { domain });
    this.secondTables?.remove(domain === undefined ? {} : { domain });
    if (this.iotlb.used > 0 || domain !== undefined) return;
    this.#state.set(HAS_GLOBAL, 0);
  }

  /**
   * Forgets second-stage translations of pages of a domain. Nested ones, and the ways to nested tables, have no
   * guest-physical address to go by: all of the domain go.
   */
  invalidatePages(domain: number, run: PageRun): void {
    this.iotlb.removePages(domain, TAG.SECOND, run);
    this.iotlb.removeListed(domain);
    this.firstTables?.removeNested(domain);
    if (!run.leafOnly) this.secondTables?.removePages(domain, undefined, run);
  }

  /** Forgets translations of a PASID, and those that hold for every PASID of its domain. */
  invalidatePasid(domain: number, pasid: number): void {
    this.iotlb.removeAll({ space: domain, tag: pasid });
    if (this.#hasGlobal) this.iotlb.removeAll({ space: domain, tag: TAG.GLOBAL });
    this.firstTables?.remove({ domain, tag: pasid });
  }

  /** Forgets translations of pages of a PASID, and those of them that hold for every PASID. */
  invalidatePasidPages(domain: number, pasid: number, run: PageRun): void {
    this.iotlb.removePages(domain, pasid, run);
    if (this.#hasGlobal) this.iotlb.removePages(domain, TAG.GLOBAL, run);
    if (!run.leafOnly) this.firstTables?.removePages(domain, pasid, run);
  }

  mark(): void {
    for (const each of this.#parts) each.mark();
  }

  restore(): void {
    for (const each of this.#parts) each.restore();
  }

  get #hasGlobal(): boolean {
    return this.#state.words[HAS_GLOBAL] === 1;
  }

  /** The slot of the translation of the page sought. */
  #translation(domain: number, tag: number): number {
    const slot = this.iotlb.find(domain, tag);
    if (slot !== NONE || tag === TAG.SECOND || !this.#hasGlobal) return slot;
    return this.iotlb.find(domain, TAG.GLOBAL);
  }

  /** Whether one of the entries that a request would use is lost now, by choice. */
  #loses(context: number, entry: number, slot: number): boolean {
    const lost = this.#chooser.choose(4, this.#forgetting);
    this.foundContext = NONE;
    this.foundPasid = NONE;
    if (lost === 1) this.iotlb.remove(slot);
    else if (lost === 2 && entry !== NONE) this.pasids.removeSlot(entry);
    else if (lost === 3) this.contexts.removeSlot(context);
    return lost !== 0;
  }
}
