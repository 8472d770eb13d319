/**
 * An x86-64 page table of four levels, or five where the CPUs have LA57, in simulated memory (Intel SDM volume 3, 5.5):
 * the CPU walks it for user accesses, and an IOMMU's first stage walks the very same bytes. Every entry is one store of
 * 8 bytes. Left out: large pages, global pages, memory types.
 */
import { isRefusal, Kept, KeptList, type Refusal } from '../../base/index.js';
import { FIRST_STAGE_ENTRY } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import type { FrameOwner } from '../frames.js';
import { frameOf, PAGE_BYTES, type Pa, paOf } from '../ids.js';

const { P, RW, US, XD, ADDR } = FIRST_STAGE_ENTRY;

const ENTRIES = 512;
const ENTRY_BYTES = 8;
/** The entry that was loaded last, or is to be stored. Nobody sleeps over it, so that one serves all tables. */
const ENTRY = new Int32Array(2);

/** What a leaf allows beside reading. */
export interface LeafRights {
  readonly write: boolean;
  readonly execute: boolean;
}

const READ: LeafRights = { write: false, execute: false };
const WRITE: LeafRights = { write: true, execute: false };
const EXECUTE: LeafRights = { write: false, execute: true };
const ALL: LeafRights = { write: true, execute: true };

/** The rights that are so: one object for all that have them. */
export function leafRights(write: boolean, execute: boolean): LeafRights {
  if (write) return execute ? ALL : WRITE;
  return execute ? EXECUTE : READ;
}

/** A leaf, as it stands in memory. */
export interface Leaf extends LeafRights {
  readonly page: number;
  readonly frame: number;
}

export class PageTable extends Kept {
  readonly root: number;
  readonly levels: 4 | 5;
  readonly #context: KernelContext;
  readonly #owner: FrameOwner;
  #isWrittenBack = false;
  /** The tables below the root, and the address of the entry that leads to each. */
  readonly #tables: KeptList<{ readonly frame: number; readonly at: Pa }>;
  /** The table of level 1 that a walk has come to last, by its place among all of them: its neighbours follow. */
  #near = -1;
  #nearFrame = 0;
  /** A restore may take the table away. */
  #nearEpoch = -1;

  private constructor(context: KernelContext, root: number, owner: FrameOwner) {
    super(context.log);
    this.#context = context;
    this.root = root;
    this.levels = context.platform.pageTableLevels ?? 4;
    this.#owner = owner;
    this.#tables = new KeptList(context.log);
  }

  /**
   * An empty table.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, name: string): PageTable | Refusal<'ENOMEM'> {
    const owner: FrameOwner = { kind: 'kernel', use: `page table of ${name}` };
    const root = context.frames.alloc(owner);
    return isRefusal(root) ? root : new PageTable(context, root, owner);
  }

  /** Pages of the half of the address space that is the user's. */
  get userPages(): number {
    return spanOf(this.levels + 1) / 2;
  }

  /** The leaf of a page; undefined if there is none. */
  leaf(page: number): Leaf | undefined {
    const at = this.#find(page);
    return at >= 0 && this.#isPresent(at) ? this.#leafOf(page) : undefined;
  }

  /**
   * Maps a page to a frame, for user accesses. There must be no leaf.
   *
   * On failure: `ENOMEM`; tables that were added stay.
   */
  map(page: number, frame: number, rights: LeafRights): Refusal<'ENOMEM'> | undefined {
    const at = this.#findOrMake(page);
    if (isRefusal(at)) return at;
    this.#storeLeaf(at, frame, rights);
    return undefined;
  }

  /** Changes the rights of a leaf, if there is one. */
  protect(page: number, rights: LeafRights): void {
    const leaf = this.leaf(page);
    if (leaf === undefined) return;
    this.#storeLeaf(this.#find(page), leaf.frame, rights);
  }

  /** The leaves of the pages `first` to `last`, ascending. */
  leaves(first: number, last: number): Leaf[] {
    const found: Leaf[] = [];
    this.#visit({ frame: this.root, level: this.levels, base: 0 }, { first, last }, (page) => {
      found.push(this.#leafOf(page));
    });
    return found;
  }

  /**
   * Takes the leaves of the pages `first` to `last` away; the frames that they led to. What caches hold of them is the
   * caller's business.
   */
  clearAll(first: number, last: number): number[] {
    const found: number[] = [];
    this.#visit({ frame: this.root, level: this.levels, base: 0 }, { first, last }, (_, at) => {
      found.push(ADDR.get(ENTRY, 0));
      this.#clearAt(at);
    });
    return found;
  }

  /**
   * From now on each store is written back to where hardware that does not snoop sees it, and all that is there now.
   */
  writeBack(): void {
    if (this.#isWrittenBack) return;
    this.changing();
    this.#isWrittenBack = true;
    for (const frame of [this.root, ...this.#tables.items.map((table) => table.frame)]) {
      this.#context.platform.memory.flush(paOf(frame), PAGE_BYTES);
    }
  }

  /** Frees all tables but the root. No leaf is looked at; nothing may walk the table any more. */
  freeTables(): void {
    this.#near = -1;
    for (const { at } of this.#tables.items) {
      if (frameOf(at) === this.root) this.#clearAt(at);
    }
    for (let table = this.#tables.shift(); table !== undefined; table = this.#tables.shift()) {
      this.#context.frames.free(table.frame);
    }
  }

  /** Frees the root. */
  free(): void {
    this.#context.frames.free(this.root);
  }

  protected override saved(): () => void {
    const wasWrittenBack = this.#isWrittenBack;
    return () => {
      this.#isWrittenBack = wasWrittenBack;
    };
  }

  /** Calls `visit` with each leaf of a table that lies in the range, its entry loaded. */
  #visit(
    table: { readonly frame: number; readonly level: number; readonly base: number },
    range: { readonly first: number; readonly last: number },
    visit: (page: number, at: Pa) => void,
  ): void {
    const span = spanOf(table.level);
    const from = Math.max(0, Math.floor((range.first - table.base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((range.last - table.base) / span));
    for (let index = from; index <= to; index++) {
      const at = paOf(table.frame, index * ENTRY_BYTES);
      if (!this.#isPresent(at)) continue;
      const base = table.base + index * span;
      if (table.level === 1) visit(base, at);
      else this.#visit({ frame: ADDR.get(ENTRY, 0), level: table.level - 1, base }, range, visit);
    }
  }

  /** The address of a page's leaf entry, -1 if its table is not there. */
  #find(page: number): number {
    if (this.#isNear(page)) return entryAt(this.#nearFrame, 1, page);
    let table = this.root;
    for (let level = this.levels; level > 1; level--) {
      if (!this.#isPresent(entryAt(table, level, page))) return -1;
      table = ADDR.get(ENTRY, 0);
    }
    return this.#comeTo(table, page);
  }

  #findOrMake(page: number): number | Refusal<'ENOMEM'> {
    if (this.#isNear(page)) return entryAt(this.#nearFrame, 1, page);
    let table = this.root;
    for (let level = this.levels; level > 1; level--) {
      const at = entryAt(table, level, page);
      if (this.#isPresent(at)) {
        table = ADDR.get(ENTRY, 0);
        continue;
      }
      const made = this.#context.frames.alloc(this.#owner);
      if (isRefusal(made)) return made;
      if (this.#isWrittenBack) this.#context.platform.memory.flush(paOf(made), PAGE_BYTES);
      ENTRY.fill(0);
      P.set(ENTRY, 0, 1);
      RW.set(ENTRY, 0, 1);
      US.set(ENTRY, 0, 1);
      ADDR.set(ENTRY, 0, made);
      this.#store(at);
      this.#tables.push({ frame: made, at });
      table = made;
    }
    return this.#comeTo(table, page);
  }

  #isNear(page: number): boolean {
    return Math.floor(page / ENTRIES) === this.#near && this.#nearEpoch === this.#context.log.epoch;
  }

  /** The address of a page's entry in a table of level 1, which the next walk may begin at. */
  #comeTo(table: number, page: number): number {
    this.#near = Math.floor(page / ENTRIES);
    this.#nearFrame = table;
    this.#nearEpoch = this.#context.log.epoch;
    return entryAt(table, 1, page);
  }

  #storeLeaf(at: number, frame: number, { write, execute }: LeafRights): void {
    ENTRY[0] = 0;
    ENTRY[1] = 0;
    P.set(ENTRY, 0, 1);
    RW.set(ENTRY, 0, write ? 1 : 0);
    US.set(ENTRY, 0, 1);
    XD.set(ENTRY, 0, execute ? 0 : 1);
    ADDR.set(ENTRY, 0, frame);
    this.#store(at);
  }

  /** What the entry says which is loaded, a present leaf. */
  #leafOf(page: number): Leaf {
    const frame = ADDR.get(ENTRY, 0);
    return { page, frame, write: RW.get(ENTRY, 0) === 1, execute: XD.get(ENTRY, 0) === 0 };
  }

  #isPresent(at: number): boolean {
    this.#load(at);
    return P.get(ENTRY, 0) === 1;
  }

  #clearAt(at: number): void {
    this.#store(at, 0, 0);
  }

  #load(at: number): void {
    this.#context.platform.memory.load64(at, ENTRY);
  }

  #store(at: number, lo = ENTRY[0] ?? 0, hi = ENTRY[1] ?? 0): void {
    const { memory } = this.#context.platform;
    memory.store64(at, lo, hi);
    if (this.#isWrittenBack) memory.flush(at, ENTRY_BYTES);
  }
}

/** Pages that one entry of a level leads to. */
const SPANS = Array.from({ length: 6 }, (_, below) => ENTRIES ** below);
const spanOf = (level: number): number => SPANS[level - 1] ?? 0;

function entryAt(table: number, level: number, page: number): Pa {
  return paOf(table, (Math.floor(page / spanOf(level)) % ENTRIES) * ENTRY_BYTES);
}
