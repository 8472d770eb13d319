/**
 * A page table that devices walk, in simulated memory: 3 to 5 levels, pages of 4 KiB, 2 MiB and 1 GiB where the unit
 * has them. Each entry is one store of 8 bytes, and leads to nothing that is not there yet; what is taken out may
 * still be walked, and is freed by who has flushed the caches. A large page that is cut becomes a table of smaller ones
 * first, which lead to the same frames: nothing has to be flushed for that. Left out: rights changed in place, memory
 * types.
 */
import { assert, isRefusal, KeptValue, type Refusal, refuse } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import { PAGE_BYTES, type Pa, paOf } from '../ids.js';
import type { PageRange } from './driver.js';
import type { IoEntryFormat, IoLeaf, IoRights } from './io-entries.js';

const ENTRIES = 512;
const ENTRY_BYTES = 8;

/** What of a table has been taken out: how many pages led somewhere, and the tables that are no longer in it. */
export interface TakenOut {
  readonly pages: number;
  readonly tables: readonly number[];
}

/** A run of pages and of frames, one for each. */
export interface IoMapping extends IoRights {
  readonly page: number;
  readonly frame: number;
  readonly count: number;
}

export interface IoTableOptions {
  readonly name: string;
  readonly format: IoEntryFormat;
  readonly levels: number;
  /** The levels at which a leaf may stand; level 1 among them. */
  readonly leaves: readonly number[];
}

/** A leaf that is to be stored. */
interface Place extends IoLeaf {
  readonly at: number;
  readonly level: number;
}

/** A table, and the pages that it serves. */
interface Table {
  readonly frame: number;
  readonly level: number;
  readonly base: number;
}

/** Pages that one entry of a level leads to. */
const SPANS = Array.from({ length: 6 }, (_, below) => ENTRIES ** below);
const spanOf = (level: number): number => SPANS[level - 1] ?? 0;

const entryAt = ({ frame, level }: Pick<Table, 'frame' | 'level'>, page: number): Pa =>
  paOf(frame, (Math.floor(page / spanOf(level)) % ENTRIES) * ENTRY_BYTES);

export class IoPageTable {
  readonly root: number;
  readonly levels: number;
  readonly #context: KernelContext;
  readonly #options: IoTableOptions;
  readonly #writtenBack: KeptValue<boolean>;
  /** Whether leaves that are stored from now on snoop. */
  readonly snoops: KeptValue<boolean>;
  readonly #entry = new Int32Array(2);
  /** The table of level 1 that a walk has come to last, by its place among all of them: its neighbours follow. */
  #near = -1;
  #nearFrame = 0;
  /** A restore may take the table away. */
  #nearEpoch = -1;

  private constructor(context: KernelContext, options: IoTableOptions, root: number) {
    this.#context = context;
    this.#options = options;
    this.root = root;
    this.levels = options.levels;
    this.#writtenBack = new KeptValue(context.log, false);
    this.snoops = new KeptValue(context.log, false);
  }

  /**
   * An empty table.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, options: IoTableOptions): IoPageTable | Refusal<'ENOMEM'> {
    const root = context.frames.alloc(ownerOf(options));
    return isRefusal(root) ? root : new IoPageTable(context, options, root);
  }

  /** The leaf that a page is led to by; undefined if there is none. */
  leaf(page: number): IoLeaf | undefined {
    const found = this.#leafAt(page);
    if (found === undefined) return undefined;
    const { format } = this.#options;
    const frame = format.frameOf(this.#entry) + (page % spanOf(found.level));
    return { frame, ...format.rightsOf(this.#entry) };
  }

  /**
   * Maps pages, with pages as large as they fit. No page of them may be mapped.
   *
   * @returns what was taken out again on failure, to be freed once it is flushed
   *
   * On failure: `EEXIST` if a page is mapped; `ENOMEM`. Nothing is mapped then.
   */
  map(
    mapping: IoMapping,
  ): { readonly refusal: Refusal<'EEXIST' | 'ENOMEM'>; readonly out: TakenOut } | undefined {
    const made: { at: number; frame: number }[] = [];
    const places: Place[] = [];
    const { page, frame, count, read, write } = mapping;
    for (let done = 0; done < count; ) {
      const of = { page: page + done, frame: frame + done, left: count - done };
      const place = this.#reserve(of, made);
      if (isRefusal(place)) return { refusal: place, out: this.#unmake(made) };
      const { at, level } = place;
      // Field by field: a spread with more behind it takes the engine's slow way, for each page that is mapped.
      places.push({ at, level, frame: of.frame, read, write });
      done += spanOf(level);
    }
    for (const place of places) {
      this.#options.format.toLeaf(place, { level: place.level, snoops: this.snoops.value }, this.#entry);
      this.#store(place.at);
    }
    return undefined;
  }

  /** Whether nothing is mapped. */
  get isEmpty(): boolean {
    return this.#pagesOf({ frame: this.root, level: this.levels, base: 0 }) === 0;
  }

  /**
   * Splits the large pages within which a range begins or ends, so that it cuts none.
   *
   * On failure: `ENOMEM`; what is mapped is as it was, some of it perhaps in smaller pages.
   */
  split({ first, last }: PageRange): Refusal<'ENOMEM'> | undefined {
    for (const page of [first - 1, last]) {
      while (this.#isWithinLeaf(page, page + 1)) {
        const refusal = this.#splitLeaf(page);
        if (refusal !== undefined) return refusal;
      }
    }
    return undefined;
  }

  /** The pages of a range that DMA has written to, large ones whole; from now on they count as not written to. */
  takeDirty(range: PageRange): PageRange[] {
    const dirty: PageRange[] = [];
    this.#leaves({ frame: this.root, level: this.levels, base: 0 }, range, (at, run) => {
      if (!this.#options.format.isDirty(this.#entry)) return;
      this.#options.format.clearDirty(this.#entry);
      this.#store(at);
      dirty.push(run);
    });
    return dirty;
  }

  /**
   * Takes all leaves of a range out, which cuts no page, and the tables that serve no other pages. What caches hold
   * of them is the caller's business.
   */
  unmap(range: PageRange): TakenOut {
    const tables: number[] = [];
    const pages = this.#clear({ frame: this.root, level: this.levels, base: 0 }, range, tables);
    return { pages, tables };
  }

  /** From now on each store is written back, and all that is there now. */
  writeBack(): void {
    if (this.#writtenBack.value) return;
    this.#writtenBack.value = true;
    for (const frame of this.#tables({ frame: this.root, level: this.levels, base: 0 })) {
      this.#context.platform.memory.flush(paOf(frame), PAGE_BYTES);
    }
  }

  /** Frees all of it. Nothing may walk it any more. */
  free(): void {
    this.freeTables(this.#tables({ frame: this.root, level: this.levels, base: 0 }));
  }

  /** Frees tables that were taken out. */
  freeTables(tables: readonly number[]): void {
    for (const frame of tables) this.#context.frames.free(frame);
  }

  /** Where the next leaf goes, with the tables that lead there. */
  #reserve(
    { page, frame, left }: { page: number; frame: number; left: number },
    made: { at: number; frame: number }[],
  ): { at: number; level: number } | Refusal<'EEXIST' | 'ENOMEM'> {
    const { format, leaves, name } = this.#options;
    for (let table = this.#start(page); ; table = this.#below(table, page)) {
      const at = entryAt(table, page);
      const { level } = table;
      const span = spanOf(level);
      const isTable = this.#load(at) && level > 1 && !format.isLarge(this.#entry);
      if (format.isPresent(this.#entry) && !isTable) {
        return refuse('EEXIST', `page ${page} of ${name} is mapped`);
      }
      const fits = page % span === 0 && frame % span === 0 && left >= span;
      if (!isTable && leaves.includes(level) && fits) return { at, level };
      if (isTable) continue;
      const below = this.#context.frames.alloc(ownerOf(this.#options));
      if (isRefusal(below)) return below;
      if (this.#writtenBack.value) this.#context.platform.memory.flush(paOf(below), PAGE_BYTES);
      format.toTable(below, this.#entry);
      this.#store(at);
      made.push({ at, frame: below });
    }
  }

  /** Takes tables out that were put in for nothing. */
  #unmake(made: readonly { at: number; frame: number }[]): TakenOut {
    for (const { at } of made.toReversed()) this.#clearAt(at);
    this.#near = -1;
    return { pages: 0, tables: made.map(({ frame }) => frame) };
  }

  /** Takes out what of a table lies in the range; how many pages that were. */
  #clear(table: Table, range: PageRange, out: number[]): number {
    const { format } = this.#options;
    const span = spanOf(table.level);
    const from = Math.max(0, Math.floor((range.first - table.base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((range.last - table.base) / span));
    let pages = 0;
    for (let index = from; index <= to; index++) {
      const at = paOf(table.frame, index * ENTRY_BYTES);
      if (!this.#load(at)) continue;
      const base = table.base + index * span;
      if (table.level === 1 || format.isLarge(this.#entry)) {
        pages += span;
        this.#clearAt(at);
        continue;
      }
      const below = { frame: format.frameOf(this.#entry), level: table.level - 1, base };
      if (range.first > base || range.last < base + span - 1) {
        pages += this.#clear(below, range, out);
        continue;
      }
      pages += this.#pagesOf(below);
      this.#clearAt(at);
      this.#near = -1;
      out.push(...this.#tables(below));
    }
    return pages;
  }

  /** Calls `visit` with each leaf that has a page in the range, its entry loaded. */
  #leaves(table: Table, range: PageRange, visit: (at: number, run: PageRange) => void): void {
    const { format } = this.#options;
    const span = spanOf(table.level);
    const from = Math.max(0, Math.floor((range.first - table.base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((range.last - table.base) / span));
    for (let index = from; index <= to; index++) {
      const at = paOf(table.frame, index * ENTRY_BYTES);
      if (!this.#load(at)) continue;
      const base = table.base + index * span;
      if (table.level === 1 || format.isLarge(this.#entry)) visit(at, { first: base, last: base + span - 1 });
      else this.#leaves({ frame: format.frameOf(this.#entry), level: table.level - 1, base }, range, visit);
    }
  }

  /** Puts a table of pages of the next size in the place of the large page that a page lies in. */
  #splitLeaf(page: number): Refusal<'ENOMEM'> | undefined {
    const below = this.#context.frames.alloc(ownerOf(this.#options));
    if (isRefusal(below)) return below;
    const found = this.#leafAt(page);
    assert(found !== undefined && found.level > 1, 'a page that is split is large');
    // Hardware may mark the large page accessed or dirty meanwhile: then its parts are, too.
    for (let leaf = new Int32Array(2); leaf.some((word, i) => word !== this.#entry[i]); ) {
      leaf = Int32Array.from(this.#entry);
      this.#fillParts(leaf, { frame: below, level: found.level - 1 });
      this.#load(found.at);
    }
    this.#options.format.toTable(below, this.#entry);
    this.#store(found.at);
    return undefined;
  }

  /** Fills a table that nothing leads to yet with the parts of a large page. */
  #fillParts(leaf: Int32Array, { frame, level }: Pick<Table, 'frame' | 'level'>): void {
    const { format } = this.#options;
    const first = format.frameOf(leaf);
    for (let index = 0; index < ENTRIES; index++) {
      this.#entry.set(leaf);
      format.toPart(first + index * spanOf(level), level, this.#entry);
      this.#store(paOf(frame, index * ENTRY_BYTES));
    }
  }

  /** How many pages a table and those below it lead on. */
  #pagesOf(table: Table): number {
    let pages = 0;
    this.#each(table, (isLeaf, below) => {
      pages += isLeaf ? spanOf(table.level) : this.#pagesOf(below);
    });
    return pages;
  }

  /** A table and all below it. */
  #tables(table: Table): number[] {
    const found = [table.frame];
    if (table.level > 1) {
      this.#each(table, (isLeaf, below) => {
        if (!isLeaf) found.push(...this.#tables(below));
      });
    }
    return found;
  }

  /** Calls `visit` with each entry of a table that is present. All of it is read at once: most of it is empty. */
  #each(table: Table, visit: (isLeaf: boolean, below: Table) => void): void {
    const { format } = this.#options;
    const { frame, level, base } = table;
    const words = new Int32Array(PAGE_BYTES / 4);
    this.#context.platform.memory.read(paOf(frame), new Uint8Array(words.buffer));
    for (let index = 0; index < ENTRIES; index++) {
      const [low = 0, high = 0] = [words[index * 2], words[index * 2 + 1]];
      // In no format is an entry present that says nothing.
      if ((low | high) === 0) continue;
      this.#entry[0] = low;
      this.#entry[1] = high;
      if (!format.isPresent(this.#entry)) continue;
      const isLeaf = level === 1 || format.isLarge(this.#entry);
      visit(isLeaf, {
        frame: format.frameOf(this.#entry),
        level: level - 1,
        base: base + index * spanOf(level),
      });
    }
  }

  /** The leaf that leads a page on, its entry loaded; undefined if there is none. */
  #leafAt(page: number): { readonly at: number; readonly level: number } | undefined {
    const { format } = this.#options;
    for (let table = this.#start(page); ; table = this.#below(table, page)) {
      const at = entryAt(table, page);
      if (!this.#load(at)) return undefined;
      const { level } = table;
      if (level === 1 || format.isLarge(this.#entry)) return { at, level };
    }
  }

  /** Where a walk begins. */
  #start(page: number): { readonly frame: number; readonly level: number } {
    const isNear = Math.floor(page / ENTRIES) === this.#near && this.#nearEpoch === this.#context.log.epoch;
    return isNear ? { frame: this.#nearFrame, level: 1 } : { frame: this.root, level: this.levels };
  }

  /** The table that a walk goes on in: the one that the entry leads to which is loaded. */
  #below(
    { level }: { readonly level: number },
    page: number,
  ): { readonly frame: number; readonly level: number } {
    const frame = this.#options.format.frameOf(this.#entry);
    if (level === 2) {
      this.#near = Math.floor(page / ENTRIES);
      this.#nearFrame = frame;
      this.#nearEpoch = this.#context.log.epoch;
    }
    return { frame, level: level - 1 };
  }

  /** Whether two neighbours lie in one large page. */
  #isWithinLeaf(page: number, neighbour: number): boolean {
    const level = page < 0 ? undefined : this.#leafAt(page)?.level;
    if (level === undefined) return false;
    return Math.floor(page / spanOf(level)) === Math.floor(neighbour / spanOf(level));
  }

  /** Loads an entry; whether it is present. */
  #load(at: number): boolean {
    this.#context.platform.memory.load64(at, this.#entry);
    return this.#options.format.isPresent(this.#entry);
  }

  #clearAt(at: number): void {
    this.#store(at, 0, 0);
  }

  #store(at: number, lo = this.#entry[0] ?? 0, hi = this.#entry[1] ?? 0): void {
    const { memory } = this.#context.platform;
    memory.store64(at, lo, hi);
    if (this.#writtenBack.value) memory.flush(at, ENTRY_BYTES);
  }
}

const ownerOf = ({ name }: IoTableOptions) => ({ kind: 'kernel', use: `page table of ${name}` }) as const;
