/**
 * A cache of translations: the IOTLB of an IOMMU, the device TLB of a function. An entry holds for a space (a
 * domain), a tag in it (a PASID), and a naturally aligned run of pages; which numbers stand for what is the
 * owner's part. Several sizes of run live beside each other: each that is there costs a look-up one probe.
 *
 * Nothing here allocates but the constructor. One run of pages is found and removed in constant time. Entries of the
 * kinds that the owner has listed are also linked by space, so that removing those of a space looks at no others.
 */
import { Bug, type Restorable, Words } from '../../base/index.js';
import { type CacheOptions, hash3, NONE, Slots } from './slots.js';

/** A translation, as it is filled in. Owned by the caller. */
export interface PageEntry {
  /** A domain, or what else keeps entries apart: a signed word. */
  space: number;
  /** A PASID, or what else: a signed word. */
  tag: number;
  /** The page that was translated, its frame, and how many pages (a power of two) around it go the same way. */
  page: number;
  frame: number;
  pages: number;
  /** A set of RIGHT. */
  rights: number;
  /** The owner's: 8 bits. */
  kind: number;
}

/** An empty {@link PageEntry}. */
export const pageEntry = (): PageEntry => ({
  space: 0,
  tag: 0,
  page: 0,
  frame: 0,
  pages: 1,
  rights: 0,
  kind: 0,
});

/** A run of pages. In a record: a large page number in a call that is not inlined is allocated. */
export interface PageSpan {
  readonly page: number;
  readonly pages: number;
}

/** Which entries to remove: those that agree with all that is named. */
export interface PageMatch {
  readonly space?: number;
  readonly tag?: number;
  readonly kind?: number;
}

/** What a cache is, and which of its entries are listed by space: those whose kind is `kind` in the bits of `mask`. */
export interface PageCacheOptions extends CacheOptions {
  readonly listed?: { readonly mask: number; readonly kind: number };
}

/** The words of an entry. */
const SPACE = 0;
const TAG = 1;
const PAGE_LO = 2;
/** Bits 19:0 of it; above them the logarithm of the run's pages. */
const PAGE_HI = 3;
const FRAME_LO = 4;
/** Bits 19:0; above them the rights, and the kind. */
const FRAME_HI = 5;
/** Of a listed entry: the slots after it and before it in its list (plus 1). */
const AFTER = 6;
const BEFORE = 7;
const ENTRY_WORDS = 8;
/** A list for each domain that there can be, and fewer in a small cache. */
const MOST_LISTS = 1 << 16;

const HIGH = 0xfffff;
const TWO_32 = 2 ** 32;
const INVERSE_32 = 1 / TWO_32;
/** Sizes of runs: 2^0 to 2^52 pages. */
const SIZES = 53;

export class PageCache implements Restorable {
  readonly #slots: Slots;
  readonly #state: Words;
  readonly #words: Int32Array;
  /** How many entries there are of each size. */
  readonly #counts = new Words(SIZES, 64);
  /** Of each list the first slot (plus 1). Spaces may share one. */
  readonly #lists: Words;
  readonly #listMask: number;
  /** What of {@link FRAME_HI} says that an entry is listed; none of 0 and 1. */
  readonly #listedMask: number;
  readonly #listedKind: number;
  /** The sizes that there are, and how many of them: follows from the counts. */
  readonly #sizes = new Int32Array(SIZES);
  #sizeCount = 0;
  /** The page sought, in halves. */
  #lo = 0;
  #hi = 0;

  constructor({ listed, ...options }: PageCacheOptions) {
    this.#slots = new Slots(options);
    this.#listMask =
      listed === undefined ? 0 : Math.min(MOST_LISTS, 2 ** Math.ceil(Math.log2(options.entries))) - 1;
    this.#lists = new Words(this.#listMask + 1, 16);
    this.#listedMask = listed === undefined ? 0 : listed.mask << 24;
    this.#listedKind = listed === undefined ? 1 : listed.kind << 24;
    this.#state = new Words(options.entries * ENTRY_WORDS, 16);
    this.#words = this.#state.words;
  }

  /** How many entries it holds. */
  get used(): number {
    return this.#slots.used;
  }

  get entries(): number {
    return this.#slots.entries;
  }

  /**
   * Names the page that the next calls are about. It stands apart, for a page number of more than 32 bits that
   * goes into a call that is not inlined is allocated.
   */
  seek(page: number): void {
    this.#lo = page | 0;
    this.#hi = (page * INVERSE_32) | 0;
  }

  /** The slot of the entry that holds for the page sought, or {@link NONE}. */
  find(space: number, tag: number): number {
    for (let i = 0; i < this.#sizeCount; i++) {
      const slot = this.#probe(space, tag, this.#sizes[i] ?? 0);
      if (slot !== NONE) return slot;
    }
    return NONE;
  }

  /** The frame that the page sought leads to, by the entry of `slot`, which holds for it. */
  frameOf(slot: number): number {
    const at = slot * ENTRY_WORDS;
    const size = (this.#words[at + PAGE_HI] ?? 0) >>> 20;
    const lo = (this.#words[at + FRAME_LO] ?? 0) | (this.#lo & ~lowMask(size));
    const hi = ((this.#words[at + FRAME_HI] ?? 0) & HIGH) | (this.#hi & ~highMask(size));
    return hi === 0 && lo >= 0 ? lo : hi * TWO_32 + (lo >>> 0);
  }

  pagesOf(slot: number): number {
    const size = (this.#words[slot * ENTRY_WORDS + PAGE_HI] ?? 0) >>> 20;
    return size < 31 ? 1 << size : 2 ** size;
  }

  rightsOf(slot: number): number {
    return ((this.#words[slot * ENTRY_WORDS + FRAME_HI] ?? 0) >>> 20) & 0xf;
  }

  kindOf(slot: number): number {
    return (this.#words[slot * ENTRY_WORDS + FRAME_HI] ?? 0) >>> 24;
  }

  /** Takes an entry in. One of the same pages and size is replaced; where there is no room, another has to go. */
  add(entry: PageEntry): void {
    const size = sizeOf(entry.pages);
    this.seek(entry.page);
    this.#put(entry, size, this.#probe(entry.space, entry.tag, size));
  }

  /** The same, of the page sought, which {@link PageCache.find} has not found under the entry's space and tag. */
  addSought(entry: PageEntry): void {
    this.#put(entry, sizeOf(entry.pages), NONE);
  }

  /** @param same the slot of the entry of the same pages and size */
  #put(entry: PageEntry, size: number, same: number): void {
    const lo = this.#lo & lowMask(size);
    const hi = (this.#hi & highMask(size)) | (size << 20);
    const slot = same !== NONE ? same : this.#place(size, hash3(lo, entry.tag, entry.space ^ hi));
    const at = slot * ENTRY_WORDS;
    this.#state.touch(at);
    const words = this.#words;
    const high = ((entry.frame / TWO_32) & highMask(size)) | (entry.rights << 20) | (entry.kind << 24);
    // The words of a free slot are not listed.
    const was = (words[at + FRAME_HI] ?? 0) & this.#listedMask;
    const becomes = high & this.#listedMask;
    const moves = was !== becomes || words[at + SPACE] !== entry.space;
    if (moves && was === this.#listedKind) this.#unlink(at);
    words[at + SPACE] = entry.space;
    words[at + TAG] = entry.tag;
    words[at + PAGE_LO] = lo;
    words[at + PAGE_HI] = hi;
    words[at + FRAME_LO] = (entry.frame | 0) & lowMask(size);
    words[at + FRAME_HI] = high;
    if (moves && becomes === this.#listedKind) this.#link(slot);
  }

  remove(slot: number): void {
    const at = slot * ENTRY_WORDS;
    if (((this.#words[at + FRAME_HI] ?? 0) & this.#listedMask) === this.#listedKind) {
      this.#unlink(at);
      this.#state.set(at + FRAME_HI, 0);
    }
    this.#slots.release(slot);
    this.#count((this.#words[at + PAGE_HI] ?? 0) >>> 20, -1);
  }

  /** Removes the listed entries of a space, and looks at no others but those of its list. */
  removeListed(space: number): void {
    let slot = (this.#lists.words[space & this.#listMask] ?? 0) - 1;
    while (slot !== NONE) {
      const at = slot * ENTRY_WORDS;
      const after = (this.#words[at + AFTER] ?? 0) - 1;
      if (this.#words[at + SPACE] === space) this.remove(slot);
      slot = after;
    }
  }

  /** Removes what holds for any of the pages of a run: a power of two of them, that divides the first. */
  removePages(space: number, tag: number, run: PageSpan): void {
    const { page, pages } = run;
    for (let i = this.#sizeCount - 1; i >= 0; i--) {
      const size = this.#sizes[i] ?? 0;
      const step = 2 ** size;
      if (pages / step > this.#slots.used) {
        this.removeOverlapping({ space, tag }, run);
        return;
      }
      for (let done = 0; done < pages; done += step) {
        this.seek(page + done);
        const slot = this.#probe(space, tag, size);
        if (slot !== NONE) this.remove(slot);
      }
    }
  }

  /** Removes what agrees with all that is named. Looks at every slot, as the next one does. */
  removeAll(match: PageMatch = {}): void {
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      if (this.#agrees(slot, match)) this.remove(slot);
    }
  }

  /** Removes what agrees with all that is named, and holds for any of the pages. */
  removeOverlapping(match: PageMatch, { page, pages }: PageSpan): void {
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      if (!this.#agrees(slot, match)) continue;
      const first = this.#pageOf(slot);
      if (first < page + pages && page < first + this.pagesOf(slot)) this.remove(slot);
    }
  }

  /** Shows every entry, in the order of the slots: for tests and `inspect`. */
  visit(show: (entry: Readonly<PageEntry>) => void): void {
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      const page = this.#pageOf(slot);
      this.seek(page);
      show({
        space: this.#words[slot * ENTRY_WORDS + SPACE] ?? 0,
        tag: this.#words[slot * ENTRY_WORDS + TAG] ?? 0,
        page,
        frame: this.frameOf(slot),
        pages: this.pagesOf(slot),
        rights: this.rightsOf(slot),
        kind: this.kindOf(slot),
      });
    }
  }

  /** Whether an entry leads to a frame: as {@link PageCache.visit} would find, and allocates nothing. */
  leadsTo(frame: number): boolean {
    const words = this.#words;
    for (let slot = this.#slots.taken(0); slot !== NONE; slot = this.#slots.taken(slot + 1)) {
      const at = slot * ENTRY_WORDS;
      const size = (words[at + PAGE_HI] ?? 0) >>> 20;
      const lo = ((words[at + FRAME_LO] ?? 0) ^ frame) & lowMask(size);
      if (lo === 0 && (((words[at + FRAME_HI] ?? 0) ^ (frame * INVERSE_32)) & HIGH & highMask(size)) === 0)
        return true;
    }
    return false;
  }

  mark(): void {
    this.#slots.mark();
    this.#state.mark();
    this.#counts.mark();
    this.#lists.mark();
  }

  restore(): void {
    this.#slots.restore();
    this.#state.restore();
    this.#counts.restore();
    this.#lists.restore();
    this.#listSizes();
  }

  /** Puts an entry at the head of its space's list. */
  #link(slot: number): void {
    const words = this.#words;
    const at = slot * ENTRY_WORDS;
    const list = (words[at + SPACE] ?? 0) & this.#listMask;
    const first = this.#lists.words[list] ?? 0;
    words[at + AFTER] = first;
    words[at + BEFORE] = 0;
    if (first !== 0) this.#state.set((first - 1) * ENTRY_WORDS + BEFORE, slot + 1);
    this.#lists.set(list, slot + 1);
  }

  /** Takes an entry, by its first word, out of its list. */
  #unlink(at: number): void {
    const words = this.#words;
    const after = words[at + AFTER] ?? 0;
    const before = words[at + BEFORE] ?? 0;
    if (after !== 0) this.#state.set((after - 1) * ENTRY_WORDS + BEFORE, before);
    if (before !== 0) this.#state.set((before - 1) * ENTRY_WORDS + AFTER, after);
    else this.#lists.set((words[at + SPACE] ?? 0) & this.#listMask, after);
  }

  /** The slot that an entry of a size gets: a free one, or that of one that has to go. */
  #place(size: number, hash: number): number {
    const victim = this.#slots.victim();
    if (victim === NONE) {
      this.#count(size, 1);
      return this.#slots.take(hash);
    }
    const before = (this.#words[victim * ENTRY_WORDS + PAGE_HI] ?? 0) >>> 20;
    if (before !== size) {
      this.#count(before, -1);
      this.#count(size, 1);
    }
    this.#slots.move(victim, hash);
    return victim;
  }

  /** The slot of the run of 2^size pages that the page sought lies in. */
  #probe(space: number, tag: number, size: number): number {
    const lo = this.#lo & lowMask(size);
    const hi = (this.#hi & highMask(size)) | (size << 20);
    const words = this.#words;
    let slot = this.#slots.first(hash3(lo, tag, space ^ hi));
    for (; slot !== NONE; slot = this.#slots.next(slot)) {
      const at = slot * ENTRY_WORDS;
      if (
        words[at + PAGE_LO] === lo &&
        words[at + PAGE_HI] === hi &&
        words[at + TAG] === tag &&
        words[at + SPACE] === space
      ) {
        return slot;
      }
    }
    return NONE;
  }

  #agrees(slot: number, match: PageMatch): boolean {
    const at = slot * ENTRY_WORDS;
    return (
      (match.space === undefined || this.#words[at + SPACE] === match.space) &&
      (match.tag === undefined || this.#words[at + TAG] === match.tag) &&
      (match.kind === undefined || this.kindOf(slot) === match.kind)
    );
  }

  #pageOf(slot: number): number {
    const at = slot * ENTRY_WORDS;
    return ((this.#words[at + PAGE_HI] ?? 0) & HIGH) * TWO_32 + ((this.#words[at + PAGE_LO] ?? 0) >>> 0);
  }

  #count(size: number, by: number): void {
    const count = (this.#counts.words[size] ?? 0) + by;
    this.#counts.set(size, count);
    if (count === 0 || (by === 1 && count === 1)) this.#listSizes();
  }

  #listSizes(): void {
    this.#sizeCount = 0;
    for (let size = 0; size < SIZES; size++) {
      if ((this.#counts.words[size] ?? 0) > 0) this.#sizes[this.#sizeCount++] = size;
    }
  }
}

/** The logarithm of a run's pages. Small integers stay small integers: floating point takes its time. */
function sizeOf(pages: number): number {
  const small = pages | 0;
  if (small === pages && small > 0 && (small & (small - 1)) === 0) return 31 - Math.clz32(small);
  const size = Math.log2(pages);
  if (!Number.isInteger(size)) throw new Bug(`a run of ${pages} pages`);
  return size;
}

/** What the first page of a run of 2^size pages keeps of the halves of a page within. */
const lowMask = (size: number): number => (size < 32 ? -1 << size : 0);
const highMask = (size: number): number => (size <= 32 ? -1 : -1 << (size - 32));
