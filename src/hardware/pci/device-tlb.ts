/**
 * The translations that a function caches (its ATC), after PCIe 6.0, 10.3: by PASID and address, as translation
 * completions brought them. What an invalidate request names is gone at once; when the request is answered is
 * the function's part, which knows what is on its way.
 */
import type { Restorable } from '../../base/index.js';
import { PageCache, pageEntry } from '../cache/page-cache.js';
import { type CacheOptions, NONE } from '../cache/slots.js';
import type { DeviceTlbInvalidation, TranslationCompletion } from './ports.js';

/** Entries that hold for one PASID (or for requests without), and those that hold for all. */
const OWN = 0;
const GLOBAL = 1;
/** The tag of global entries. */
const ANY = 0;
const ALL_PAGES = 2 ** 52;

/** What a look-up asks. */
export interface DeviceTlbRequest {
  readonly pasid: number;
  readonly page: number;
  readonly rights: number;
}

export class DeviceTlb implements Restorable {
  readonly #cache: PageCache;
  readonly #entry = pageEntry();

  constructor(options: CacheOptions) {
    this.#cache = new PageCache(options);
  }

  /** How many translations it holds. */
  get used(): number {
    return this.#cache.used;
  }

  /** The frame that a request goes to, or {@link NONE} if no entry grants what it asks. */
  frameOf({ pasid, page, rights }: DeviceTlbRequest): number {
    this.#cache.seek(page);
    let slot = this.#cache.find(OWN, pasid);
    if (slot === NONE) slot = this.#cache.find(GLOBAL, ANY);
    if (slot === NONE || (rights & ~this.#cache.rightsOf(slot)) !== 0) return NONE;
    return this.#cache.frameOf(slot);
  }

  /** Takes in what a translation request was answered; nothing where nothing was granted. */
  fill({ pasid, page }: DeviceTlbRequest, completion: TranslationCompletion): void {
    if (completion.rights === 0) return;
    const entry = this.#entry;
    entry.space = completion.isGlobal ? GLOBAL : OWN;
    entry.tag = completion.isGlobal ? ANY : pasid;
    entry.page = page;
    entry.frame = completion.frame;
    entry.pages = completion.pages;
    entry.rights = completion.rights;
    this.#cache.add(entry);
  }

  /** Forgets what an invalidate request names: of one PASID also what holds for all. */
  invalidate(invalidation: DeviceTlbInvalidation): void {
    const { pasid, pages, isGlobal } = invalidation;
    const isWide = pages >= ALL_PAGES;
    if (isGlobal && isWide) this.#cache.removeAll();
    else if (isGlobal) this.#cache.removeOverlapping({}, invalidation);
    else if (isWide) {
      this.#cache.removeAll({ space: OWN, tag: pasid });
      this.#cache.removeAll({ space: GLOBAL });
    } else {
      this.#cache.removePages(OWN, pasid, invalidation);
      this.#cache.removePages(GLOBAL, ANY, invalidation);
    }
  }

  /** Forgets everything: ATS was disabled, or the function reset. */
  clear(): void {
    this.#cache.removeAll();
  }

  /** Shows each entry's PASID (undefined: all), page, frame and size: for tests and rules. */
  visit(
    show: (entry: { pasid: number | undefined; page: number; frame: number; pages: number }) => void,
  ): void {
    this.#cache.visit(({ space, tag, page, frame, pages }) => {
      show({ pasid: space === GLOBAL ? undefined : tag, page, frame, pages });
    });
  }

  /** Whether an entry leads to a frame. */
  leadsTo(frame: number): boolean {
    return this.#cache.leadsTo(frame);
  }

  mark(): void {
    this.#cache.mark();
  }

  restore(): void {
    this.#cache.restore();
  }
}
