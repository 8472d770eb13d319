/**
 * Everything that an address space maps: its paging structures, enumerated by the same steps that translate a
 * request. Contiguous pages that lead to contiguous frames with equal rights become one range. A broken table
 * is reported at its place, and the rest is still gone through.
 */
import { hex } from '../base/index.js';
import {
  ABSENT,
  type AddressSpace,
  ALL_RIGHTS,
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  type FrameReader,
  hasFirstStage,
  hasSecondStage,
  type PagingStep,
  pagesPerEntry,
  pagingStep,
  RIGHT,
  type UnitFormat,
} from '../hardware/index.js';
import type { MappedRange, Problem } from './survey-types.js';

/** Where a walk's findings go. */
export interface Findings {
  readonly problems: Problem[];
  /** What lies in each frame, by its number. */
  readonly tables: Map<number, string>;
}

/** More tables than this in one address space (they would map 1 TiB in 4 KiB pages) are not gone through. */
const TABLE_LIMIT = 2 ** 19;

/** One of the two stages of an address space. */
interface Stage {
  readonly name: string;
  readonly root: number;
  readonly levels: number;
  step(level: number, words: Int32Array, at: number, out: PagingStep): EntryKind;
  /** From the address that an entry holds to the frame that the unit reads; undefined where there is none. */
  locate(frame: number): number | undefined;
}

/** What an enumeration needs to know: the unit, its memory, where findings go, and whose address space it is. */
export interface MappingContext {
  readonly memory: FrameReader;
  readonly format: UnitFormat;
  readonly findings: Findings;
  /** Names the address space in messages: `00:03.0 PASID 0`. */
  readonly owner: string;
  /** The entry that points to the address space's root. */
  readonly from: string;
}

/** The ranges that an address space maps, ascending by page. */
export function mappedRanges(space: AddressSpace, context: MappingContext): MappedRange[] {
  const second = hasSecondStage(space.translation)
    ? new Enumeration(secondStage(space, context), context).run()
    : undefined;
  if (!hasFirstStage(space.translation)) return second ?? [];
  const first = new Enumeration(firstStage(space, context, second), context).run();
  return second === undefined ? first : throughSecond(first, second);
}

function secondStage(space: AddressSpace, { format }: MappingContext): Stage {
  return {
    name: 'second-stage',
    root: space.secondRoot,
    levels: space.secondLevels,
    step: (level, words, at, out) => format.secondStage.step(level, words, at, out),
    locate: (frame) => frame,
  };
}

function firstStage(
  space: AddressSpace,
  { format }: MappingContext,
  second: readonly MappedRange[] | undefined,
): Stage {
  return {
    name: 'first-stage',
    root: space.firstRoot,
    levels: space.firstLevels,
    step: (level, words, at, out) => format.firstStage.step(level, words, at, out),
    locate: (frame) => {
      if (second === undefined) return frame;
      const range = rangeOf(second, frame);
      return range === undefined || (range.rights & RIGHT.READ) === 0
        ? undefined
        : range.frame + (frame - range.page);
    },
  };
}

class Enumeration {
  readonly #stage: Stage;
  readonly #context: MappingContext;
  readonly #ranges: MappedRange[] = [];
  readonly #steps: PagingStep[];
  /** The frames of the tables from the root to the present one. */
  readonly #path: number[] = [];
  #tables = 0;
  /** The range that grows at present; page is negative where there is none. */
  #page = -1;
  #frame = 0;
  #pages = 0;
  #rights = 0;

  constructor(stage: Stage, context: MappingContext) {
    this.#stage = stage;
    this.#context = context;
    this.#steps = Array.from({ length: stage.levels + 1 }, pagingStep);
  }

  run(): MappedRange[] {
    const { root, levels, name } = this.#stage;
    this.#table({ frame: root, level: levels, page: 0, rights: ALL_RIGHTS }, this.#context.from);
    this.#flush();
    if (this.#tables > TABLE_LIMIT) {
      const what = `has more than ${TABLE_LIMIT} tables; what comes after them is not shown`;
      this.#context.findings.problems.push({ where: `the ${name} of ${this.#context.owner}`, what });
    }
    return this.#ranges;
  }

  /** Goes through a table, which the entry called `from` points to. */
  #table(table: { frame: number; level: number; page: number; rights: number }, from: string): void {
    if (++this.#tables > TABLE_LIMIT) return;
    const { findings, memory, owner } = this.#context;
    const { level } = table;
    const frame = this.#stage.locate(table.frame);
    const at = frame === undefined ? ABSENT : memory.at(frame);
    if (frame === undefined || at === ABSENT) {
      const why = frame === undefined ? 'which the second stage does not map' : 'outside of memory';
      findings.problems.push({ where: from, what: `points to ${hex(table.frame * 4096)}, ${why}` });
      return;
    }
    if (this.#path.includes(frame)) {
      findings.problems.push({
        where: from,
        what: `is a loop: it points back to the table at ${hex(frame * 4096)}`,
      });
      return;
    }
    findings.tables.set(frame, `${this.#stage.name} table, level ${level}, of ${owner}`);
    this.#path.push(frame);
    for (let index = 0; index < 512; index++) {
      const word = at + index * ENTRY_WORDS;
      if (memory.words[word] === 0 && memory.words[word + 1] === 0) continue;
      this.#entry({ ...table, frame, page: this.#pageOf(table, index) }, word, index);
    }
    this.#path.pop();
  }

  #entry(
    table: { frame: number; level: number; page: number; rights: number },
    word: number,
    index: number,
  ): void {
    const { memory, findings, owner } = this.#context;
    const { level, page } = table;
    const step = this.#steps[level] ?? pagingStep();
    const kind = this.#stage.step(level, memory.words, word, step);
    if (kind === ENTRY.ABSENT) return;
    const where = (): string =>
      `${this.#stage.name} table of ${owner}, level ${level}, entry ${index} at ${hex(table.frame * 4096 + index * 8)}`;
    if (kind === ENTRY.MALFORMED) {
      const raw =
        (BigInt(memory.words[word + 1] ?? 0) << 32n) | BigInt.asUintN(32, BigInt(memory.words[word] ?? 0));
      findings.problems.push({
        where: where(),
        what: `has reserved bits set: ${hex(BigInt.asUintN(64, raw))}`,
      });
      return;
    }
    const rights = table.rights & step.rights;
    if (kind === ENTRY.TABLE) this.#table({ frame: step.frame, level: level - 1, page, rights }, where());
    else this.#leaf({ page, frame: step.frame, pages: pagesPerEntry(level), rights });
  }

  /** The first page of entry `index`; a first stage's upper half is the top of the 64-bit space. */
  #pageOf(table: { level: number; page: number }, index: number): number {
    const page = table.page + index * pagesPerEntry(table.level);
    const isTop = table.level === this.#stage.levels;
    return isTop && index >= 256 && this.#stage.name === 'first-stage'
      ? page + 2 ** 52 - pagesPerEntry(table.level + 1)
      : page;
  }

  #leaf(leaf: MappedRange): void {
    const isNext = leaf.page === this.#page + this.#pages && leaf.frame === this.#frame + this.#pages;
    if (this.#page >= 0 && isNext && leaf.rights === this.#rights) {
      this.#pages += leaf.pages;
      return;
    }
    this.#flush();
    this.#page = leaf.page;
    this.#frame = leaf.frame;
    this.#pages = leaf.pages;
    this.#rights = leaf.rights;
  }

  #flush(): void {
    if (this.#page < 0) return;
    this.#ranges.push({ page: this.#page, frame: this.#frame, pages: this.#pages, rights: this.#rights });
    this.#page = -1;
  }
}

/** The range that holds `page`, if any. */
export function rangeOf(ranges: readonly MappedRange[], page: number): MappedRange | undefined {
  const range = ranges[firstEndingAfter(ranges, page)];
  return range !== undefined && range.page <= page ? range : undefined;
}

/** The index of the first range that ends after `page`. */
function firstEndingAfter(ranges: readonly MappedRange[], page: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle];
    if (range !== undefined && range.page + range.pages <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A first stage's ranges, each piece led on by the second stage; pieces that it does not map are left out. */
function throughSecond(first: readonly MappedRange[], second: readonly MappedRange[]): MappedRange[] {
  const out: MappedRange[] = [];
  for (const range of first) {
    const end = range.frame + range.pages;
    for (let i = firstEndingAfter(second, range.frame); i < second.length; i++) {
      const host = second[i];
      if (host === undefined || host.page >= end) break;
      const from = Math.max(range.frame, host.page);
      const pages = Math.min(end, host.page + host.pages) - from;
      append(out, {
        page: range.page + (from - range.frame),
        frame: host.frame + (from - host.page),
        pages,
        rights: range.rights & host.rights,
      });
    }
  }
  return out;
}

/** Appends a range, merged with the last one where it goes on from there. */
function append(ranges: MappedRange[], next: MappedRange): void {
  const last = ranges.at(-1);
  const isNext =
    last !== undefined &&
    last.page + last.pages === next.page &&
    last.frame + last.pages === next.frame &&
    last.rights === next.rights;
  if (isNext) ranges[ranges.length - 1] = { ...last, pages: last.pages + next.pages };
  else ranges.push(next);
}
