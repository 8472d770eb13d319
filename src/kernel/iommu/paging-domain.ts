/**
 * A domain whose table the kernel keeps: pages are mapped to frames and taken away again, for however many devices
 * and PASIDs, behind whatever units. When an unmap returns, no device reaches the frames by any cache; until then
 * they must not be given to anybody. A guest's memory is such a domain, with nested ones built on it.
 */
import { isRefusal, KeptList, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import type { SecondStage } from './domain.js';
import type { IommuDriver, PageRange, TableLimits } from './driver.js';
import { FIRST_STAGE_FORMAT, type IoLeaf, SECOND_STAGE_FORMAT } from './io-entries.js';
import { type IoMapping, IoPageTable } from './io-page-table.js';

/** Writes there are interrupts: no translation leads there (VT-d 4.1, 3.14). */
export const INTERRUPT_PAGES: PageRange = { first: 0xfee00, last: 0xfeeff };

const FORMATS = { 'first-stage': FIRST_STAGE_FORMAT, 'second-stage': SECOND_STAGE_FORMAT } as const;

export interface PagingOptions {
  readonly name: string;
  readonly stage: 'first-stage' | 'second-stage';
  /** What the units that it is for walk. */
  readonly limits: TableLimits;
  /** All units of the machine: each knows by itself what it has of the domain. */
  readonly drivers: () => readonly IommuDriver[];
}

/** Levels, the most useful first: 48 bits are what guests have, and cost one level less than 57. */
const PREFERRED = [4, 5, 3];
const BITS_PER_LEVEL = 9;
const PAGE_BITS = 12;

/** What was taken out, and not confirmed by hardware yet. */
interface Doubt {
  readonly ranges: readonly PageRange[];
  readonly tables: readonly number[];
}

export class PagingDomain {
  readonly name: string;
  readonly type: 'first-stage' | 'second-stage';
  readonly levels: number;
  readonly largestLeaf: number;
  readonly width: number;
  /** How many attachments and nested domains there are. */
  readonly uses: KeptValue<number>;
  readonly #tracksDirty: KeptValue<boolean>;
  readonly #doubts: KeptList<Doubt>;
  readonly #table: IoPageTable;
  readonly #drivers: () => readonly IommuDriver[];

  private constructor(context: KernelContext, options: PagingOptions, table: IoPageTable) {
    this.name = options.name;
    this.type = options.stage;
    this.levels = table.levels;
    this.largestLeaf = Math.max(...options.limits.leaves);
    this.width = Math.min(table.levels * BITS_PER_LEVEL + PAGE_BITS, options.limits.width);
    this.uses = new KeptValue(context.log, 0);
    this.#tracksDirty = new KeptValue(context.log, false);
    this.#doubts = new KeptList(context.log);
    this.#table = table;
    this.#drivers = options.drivers;
  }

  /**
   * A domain in which nothing is mapped.
   *
   * On failure: `EOPNOTSUPP` if the units have no such stage; `ENOMEM`.
   */
  static create(
    context: KernelContext,
    options: PagingOptions,
  ): PagingDomain | Refusal<'EOPNOTSUPP' | 'ENOMEM'> {
    const { name, stage, limits } = options;
    const levels = PREFERRED.find((each) => limits.levels.includes(each));
    if (levels === undefined) return refuse('EOPNOTSUPP', `no ${stage} for ${name}`);
    const format = FORMATS[stage];
    const table = IoPageTable.create(context, { name, format, levels, leaves: limits.leaves });
    return isRefusal(table) ? table : new PagingDomain(context, options, table);
  }

  get root(): number {
    return this.#table.root;
  }

  get snoops(): boolean {
    return this.#table.snoops.value;
  }

  get tracksDirty(): boolean {
    return this.#tracksDirty.value;
  }

  writeBack(): void {
    this.#table.writeBack();
  }

  /**
   * From now on DMA through it snoops the CPUs' caches. In a second stage each leaf says so: it has to be empty. What
   * is attached to it is told by {@link Iommu.enforceCoherency}.
   *
   * On failure: `EBUSY` if something is mapped that does not say so.
   */
  snoop(): Refusal<'EBUSY'> | undefined {
    const isMapped = this.type === 'second-stage' && !this.snoops && !this.#table.isEmpty;
    if (isMapped) return refuse('EBUSY', `${this.name} has pages that do not snoop`);
    this.#table.snoops.value = true;
    return undefined;
  }

  /** Whether hardware is to mark what DMA has written to. What is attached is told by {@link Iommu.trackDirty}. */
  trackDirty(is: boolean): undefined {
    this.#tracksDirty.value = is;
  }

  /**
   * What DMA has written to so far counts as not written to.
   *
   * On failure: `EIO` if hardware did not confirm.
   */
  *forgetDirty(): Task<Refusal<'EIO'> | undefined> {
    const dirty = this.#table.takeDirty({ first: 0, last: this.#pages - 1 });
    return dirty.length === 0 ? undefined : yield* this.#flush(dirty);
  }

  /**
   * The pages of a range that DMA has written to since they were last asked for, large pages whole; ascending. When it
   * returns, what is written from then on is marked anew.
   *
   * On failure: `EINVAL` for a range that is none, or if nothing marks them; `EIO` if hardware did not confirm: what
   * was written then is unknown.
   */
  *readAndClearDirty(range: PageRange): Task<readonly PageRange[] | Refusal<'EINVAL' | 'EIO'>> {
    const wrong = this.#wrongWith(range);
    if (wrong !== undefined) return refuse('EINVAL', wrong);
    if (!this.tracksDirty) {
      return refuse('EINVAL', `nothing marks dirty pages of ${this.name}`);
    }
    const dirty = this.#table.takeDirty(range);
    if (dirty.length === 0) return dirty;
    yield 'iommu: dirty pages';
    return (yield* this.#flush(dirty)) ?? dirty;
  }

  /** Where a page leads; undefined if nowhere. */
  leaf(page: number): IoLeaf | undefined {
    return page < this.#pages ? this.#table.leaf(page) : undefined;
  }

  /**
   * Whether these pages can be mapped here at all.
   *
   * On failure: `EINVAL`.
   */
  judge(range: PageRange): Refusal<'EINVAL'> | undefined {
    const wrong = this.#wrongWith(range) ?? this.#wrongPlace(range);
    return wrong === undefined ? undefined : refuse('EINVAL', wrong);
  }

  /**
   * Maps pages to frames.
   *
   * On failure: `EINVAL` for pages that do not fit, or for rights that there are not; `EEXIST` if one of them is
   * mapped; `ENOMEM`; `EIO` if hardware did not confirm. Nothing is mapped then.
   */
  *map(mapping: IoMapping): Task<Refusal<'EINVAL' | 'EEXIST' | 'ENOMEM' | 'EIO'> | undefined> {
    const range = { first: mapping.page, last: mapping.page + mapping.count - 1 };
    const wrong = this.#wrongWith(range) ?? this.#wrongPlace(range) ?? this.#wrongRights(mapping);
    if (wrong !== undefined) return refuse('EINVAL', wrong);
    const failed = this.#table.map(mapping);
    if (failed !== undefined) {
      const { refusal, out } = failed;
      // A walk may have come by the tables that go again.
      if (out.tables.length > 0 && (yield* this.#flush([range])) === undefined) {
        this.#table.freeTables(out.tables);
      }
      return refusal;
    }
    const unconfirmed = yield* this.#each((driver) => driver.flushNew(this, range));
    if (unconfirmed !== undefined) yield* this.unmap([range]);
    return unconfirmed;
  }

  /**
   * Takes all that is mapped in these ranges away; how many pages that were. Many ranges cost one flush. A large page
   * that a range cuts is split, so that no more goes than was asked for (Linux's drivers take all of it, and say so).
   *
   * On failure: `EINVAL` for a range that is none, `ENOMEM` for the table of a split page: what is mapped is as it was;
   * `EIO` if hardware did not confirm: nothing is mapped there, and the frames must not be used. It is asked for that
   * again with the next unmap, whatever that is of: once one succeeds, all is confirmed.
   */
  *unmap(ranges: readonly PageRange[]): Task<number | Refusal<'EINVAL' | 'ENOMEM' | 'EIO'>> {
    for (const range of ranges) {
      const wrong = this.#wrongWith(range);
      if (wrong !== undefined) return refuse('EINVAL', wrong);
    }
    for (const range of ranges) {
      const refusal = this.#table.split(range);
      if (refusal !== undefined) return refusal;
    }
    const out = ranges.map((range) => this.#table.unmap(range));
    const pages = out.reduce((sum, each) => sum + each.pages, 0);
    const tables = out.flatMap((each) => each.tables);
    if (pages + tables.length + this.#doubts.length === 0) return 0;
    yield 'iommu: unmapped';
    const isSomething = pages + tables.length > 0;
    return (yield* this.#confirm({ ranges: isSomething ? ranges : [], tables })) ?? pages;
  }

  /** Flushes what was taken out, and what was not confirmed before. */
  *#confirm(taken: Doubt): Task<Refusal<'EIO'> | undefined> {
    const before = [...this.#doubts.items];
    const refusal = yield* this.#flush([...before, taken].flatMap(({ ranges }) => ranges));
    if (refusal !== undefined) {
      if (taken.ranges.length > 0) this.#doubts.push(taken);
      return refusal;
    }
    this.#table.freeTables(taken.tables);
    // Somebody else may have had the same confirmed meanwhile.
    for (const doubt of before) if (this.#doubts.remove(doubt)) this.#table.freeTables(doubt.tables);
    return undefined;
  }

  /**
   * Frees the table.
   *
   * On failure: `EBUSY` while something is attached, or nested domains are built on it.
   */
  free(): Refusal<'EBUSY'> | undefined {
    if (this.uses.value > 0) return refuse('EBUSY', `${this.name} is used ${this.uses.value} times`);
    // What is attached nowhere was flushed when it was detached.
    for (const { tables } of this.#doubts.items) this.#table.freeTables(tables);
    this.#table.free();
    return undefined;
  }

  get #pages(): number {
    return 2 ** (this.width - PAGE_BITS);
  }

  #flush(ranges: readonly PageRange[]): Task<Refusal<'EIO'> | undefined> {
    return this.#each((driver) => driver.flush(this, ranges));
  }

  /** All units, whatever one of them answers: the first refusal, if there is one (bug F14). */
  *#each(does: (driver: IommuDriver) => Task<Refusal<'EIO'> | undefined>): Task<Refusal<'EIO'> | undefined> {
    let first: Refusal<'EIO'> | undefined;
    for (const driver of this.#drivers()) {
      const refusal = yield* does(driver);
      first ??= refusal;
    }
    return first;
  }

  #wrongWith({ first, last }: PageRange): string | undefined {
    if (!(first >= 0 && first <= last && last < this.#pages)) {
      return `pages ${first} to ${last} are not in ${this.name}, which has ${this.#pages}`;
    }
    return undefined;
  }

  #wrongPlace({ first, last }: PageRange): string | undefined {
    if (first > INTERRUPT_PAGES.last || last < INTERRUPT_PAGES.first) return undefined;
    return `pages ${first} to ${last} of ${this.name} have the interrupts' among them`;
  }

  #wrongRights(rights: IoMapping): string | undefined {
    if (FORMATS[this.type].has(rights)) return undefined;
    return `${this.name} has no pages with read ${rights.read} and write ${rights.write}`;
  }
}

/** Whether a domain of the kernel's can have nested ones built on it. */
export const isSecondStage = (domain: PagingDomain): domain is PagingDomain & SecondStage =>
  domain.type === 'second-stage';
