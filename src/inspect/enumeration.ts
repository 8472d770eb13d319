/**
 * Everything that one stage of an address space maps: its paging structures, gone through by the same steps
 * that translate a request. Contiguous pages that lead to contiguous frames with equal rights become one range.
 * A broken entry is reported at its place, and the rest is still gone through; what no request can get to (no
 * right left, beyond the stage's width) is left out.
 */
import { hex, u64 } from '../base/index.js';
import {
  ABSENT,
  BLOCK_WORDS,
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  FRAME_BYTES,
  type FrameReader,
  type PagingStep,
  pagesPerEntry,
  pagingStep,
} from '../hardware/index.js';
import type { SurveyLog } from './survey-log.js';
import type { MappedRange } from './survey-types.js';

/** What lies together of a table. */
const BLOCK_ENTRIES = BLOCK_WORDS / ENTRY_WORDS;

/** One of the two stages of an address space. */
export interface Stage {
  /** Names it in messages: `first-stage`. */
  readonly name: string;
  readonly root: number;
  readonly levels: number;
  /** One past the last page that it translates; a page of the upper half counts from there down. */
  readonly pageLimit: number;
  /** Whether the upper half of its highest table is the top of the 64-bit address space. */
  readonly isSigned: boolean;
  /** The rights that requests can have at the most. */
  readonly rights: number;
  /** Whether any request can make use of these rights. */
  isUsable(rights: number): boolean;
  step(level: number, words: Int32Array, at: number, out: PagingStep): EntryKind;
  /** From the address that an entry holds to the frame that the unit reads; undefined where there is none. */
  locate(frame: number): number | undefined;
}

/** What an enumeration needs to know: the unit's memory, where findings go, and whose address space it is. */
export interface EnumerationContext {
  readonly memory: FrameReader;
  readonly log: SurveyLog;
  /** Names the address space in messages: `00:03.0 PASID 0`. */
  readonly owner: string;
  /** The entry that points to the stage's root. */
  readonly from: string;
}

/** A table on the way: as its entry has it, what its first entry maps, and what the way to it grants. */
interface Table {
  /** As the entry holds it: a guest's frame, where there is a second stage. */
  readonly pointer: number;
  readonly level: number;
  readonly page: number;
  readonly rights: number;
}

/** The ranges that a stage maps, ascending by page. */
export function enumerate(stage: Stage, context: EnumerationContext): MappedRange[] {
  return new Enumeration(stage, context).run();
}

class Enumeration {
  readonly #stage: Stage;
  readonly #context: EnumerationContext;
  readonly #ranges: MappedRange[] = [];
  readonly #steps: PagingStep[];
  /** The frames of the tables from the root to the present one. */
  readonly #path: number[] = [];
  readonly #seen = new Set<number>();
  #repeats = 0;
  #isOver = false;
  /** The range that grows at present; page is negative where there is none. */
  #page = -1;
  #frame = 0;
  #pages = 0;
  #rights = 0;

  constructor(stage: Stage, context: EnumerationContext) {
    this.#stage = stage;
    this.#context = context;
    this.#steps = Array.from({ length: stage.levels + 1 }, pagingStep);
  }

  run(): MappedRange[] {
    const { root, levels, rights } = this.#stage;
    this.#table({ pointer: root, level: levels, page: 0, rights }, () => this.#context.from);
    this.#flush();
    return this.#ranges;
  }

  /** Goes through a table, which the entry called `from` points to. */
  #table(table: Table, from: () => string): void {
    const { log, memory, owner } = this.#context;
    const frame = this.#located(table, from);
    if (frame === undefined || !this.#mayEnter(frame, from)) return;
    log.tables.set(frame, `${this.#stage.name} table, level ${table.level}, of ${owner}`);
    this.#path.push(frame);
    let at = ABSENT;
    for (let index = 0; index < 512 && !this.#isOver; index++) {
      if (index % BLOCK_ENTRIES === 0) at = memory.at(frame, index * ENTRY_WORDS);
      const word = at + (index % BLOCK_ENTRIES) * ENTRY_WORDS;
      if (memory.words[word] !== 0 || memory.words[word + 1] !== 0) this.#entry(table, frame, index);
    }
    this.#path.pop();
  }

  /** The frame that a table lies in; undefined, and reported, where the unit could not read it. */
  #located({ pointer }: Table, from: () => string): number | undefined {
    const { log, memory } = this.#context;
    const frame = this.#stage.locate(pointer);
    if (frame !== undefined && memory.at(frame, 0) !== ABSENT) return frame;
    const why = frame === undefined ? 'which the second stage does not let it read' : 'outside of memory';
    log.report(from(), `points to ${hex(pointer * FRAME_BYTES)}, ${why}`);
    return undefined;
  }

  /** Whether to go through the table in `frame`: not round in a loop, nor past the bounds. */
  #mayEnter(frame: number, from: () => string): boolean {
    const { log } = this.#context;
    if (this.#path.includes(frame)) {
      log.report(from(), `is a loop: it points back to the table at ${hex(frame * FRAME_BYTES)}`);
      return false;
    }
    if (this.#seen.has(frame) && ++this.#repeats > log.limits.repeats) {
      const what = `is where this ends: ${log.limits.repeats} tables have been gone through again and again`;
      log.report(from(), what);
      this.#isOver = true;
    }
    this.#seen.add(frame);
    if (!this.#isOver && !log.take('tables', from)) this.#isOver = true;
    return !this.#isOver;
  }

  #entry(table: Table, frame: number, index: number): void {
    const { memory, log, owner } = this.#context;
    const { level } = table;
    const page = this.#pageOf(table, index);
    if (page >= this.#stage.pageLimit) return;
    const step = this.#steps[level] ?? pagingStep();
    const at = memory.at(frame, index * ENTRY_WORDS);
    const kind = this.#stage.step(level, memory.words, at, step);
    if (kind === ENTRY.ABSENT) return;
    const where = (): string =>
      `${this.#stage.name} table of ${owner}, level ${level}, entry ${index} at ${hex(frame * FRAME_BYTES + index * 8)}`;
    if (kind === ENTRY.MALFORMED) {
      const raw = u64(memory.words[at] ?? 0, memory.words[at + 1] ?? 0);
      log.report(where(), `has reserved bits set: ${hex(raw)}`);
      return;
    }
    const rights = table.rights & step.rights;
    if (!this.#stage.isUsable(rights)) return;
    if (kind === ENTRY.TABLE) this.#table({ pointer: step.frame, level: level - 1, page, rights }, where);
    else this.#leaf({ page, frame: step.frame, pages: pagesPerEntry(level), rights }, where);
  }

  /** The first page of entry `index`. */
  #pageOf({ level, page }: Table, index: number): number {
    const { isSigned, levels } = this.#stage;
    const isUpper = isSigned && level === levels && index >= 256;
    return page + index * pagesPerEntry(level) + (isUpper ? 2 ** 52 - pagesPerEntry(level + 1) : 0);
  }

  #leaf(leaf: MappedRange, where: () => string): void {
    const pages = Math.min(leaf.pages, this.#stage.pageLimit - leaf.page);
    const isNext = leaf.page === this.#page + this.#pages && leaf.frame === this.#frame + this.#pages;
    if (this.#page >= 0 && isNext && leaf.rights === this.#rights) {
      this.#pages += pages;
      return;
    }
    this.#flush();
    if (!this.#context.log.take('ranges', where)) {
      this.#isOver = true;
      return;
    }
    this.#page = leaf.page;
    this.#frame = leaf.frame;
    this.#pages = pages;
    this.#rights = leaf.rights;
  }

  #flush(): void {
    if (this.#page < 0) return;
    this.#ranges.push({ page: this.#page, frame: this.#frame, pages: this.#pages, rights: this.#rights });
    this.#page = -1;
  }
}
