/**
 * The accessed and dirty bits that a walk leaves in the paging entries that it used, after VT-d 4.1, 3.6.2 (first
 * stage), 3.7.2 (second stage) and 3.8 (nested). A mark is a locked compare and exchange: where software has
 * changed the entry since it was read, it is read and judged again. An entry is marked once it has been found
 * sound, whatever becomes of the walk further down.
 *
 * Marks go to memory and are seen by everybody at once, also those of a unit that does not snoop.
 */
import { FAULT, FIRST_STAGE_ENTRY, maskOf, SECOND_STAGE_ENTRY } from '../../spec/index.js';
import { ABSENT, type FrameReader, type Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import type { AddressSpace } from './device-tables.js';
import type { Request } from './request.js';
import type { Walk } from './walk.js';

const { P, PS: PS_1, A: A_1, D: D_1, G, EA } = FIRST_STAGE_ENTRY;
/** The same bits of the entry's first word, to be looked at together. */
const [LARGE = 0] = maskOf(FIRST_STAGE_ENTRY, PS_1);
const [ACCESSED = 0] = maskOf(FIRST_STAGE_ENTRY, A_1);
const [DIRTY = 0] = maskOf(FIRST_STAGE_ENTRY, D_1);
const ACCESSED_DIRTY = ACCESSED | DIRTY;
const [EXTENDED = 0] = maskOf(FIRST_STAGE_ENTRY, EA);
const [GLOBAL = 0] = maskOf(FIRST_STAGE_ENTRY, G);
const { PS: PS_2, A: A_2, D: D_2 } = SECOND_STAGE_ENTRY;
const [LARGE_2 = 0] = maskOf(SECOND_STAGE_ENTRY, PS_2);
const [ACCESSED_2 = 0] = maskOf(SECOND_STAGE_ENTRY, A_2);
const [DIRTY_2 = 0] = maskOf(SECOND_STAGE_ENTRY, D_2);
const ACCESSED_DIRTY_2 = ACCESSED_2 | DIRTY_2;

/** Called between the reading of an entry and its mark: others may store to memory there. */
export type BeforeMark = () => void;

/** The marks that a first-stage entry needs, in its first word; `isWritten` for the leaf of a page that is written. */
export const marksOfFirst = (isWritten: boolean, { extendedAccessed }: AddressSpace): number =>
  (isWritten ? ACCESSED_DIRTY : ACCESSED) | (extendedAccessed ? EXTENDED : 0);

/** The same of a second-stage entry. */
export const marksOfSecond = (isWritten: boolean): number => (isWritten ? ACCESSED_DIRTY_2 : ACCESSED_2);

/** Of the first word of a first-stage leaf: whether it holds for every PASID, and whether its page was written. */
export const isGlobalPage = (entry: number): boolean => (entry & GLOBAL) !== 0;
export const isDirtyPage = (entry: number): boolean => (entry & DIRTY) !== 0;
/** The latter of a second-stage leaf. */
export const isDirtyOfSecond = (entry: number): boolean => (entry & DIRTY_2) !== 0;

export class AccessedDirty {
  /** Whether writes have left their mark: a translation that lets writes pass may be cached. */
  isDirty = true;
  /** Whether the first stage's leaf says that it holds for every PASID. */
  isGlobal = false;
  /** Whether marks in the first-stage table read last need no more of the second stage than was done. */
  isTableWritable = false;
  readonly #memory: Memory;
  readonly #reader: FrameReader;
  readonly #beforeMark: BeforeMark | undefined;
  /** The second stage's leaf of the last page that it translated. */
  #leafFrame = 0;
  #leafWord = 0;
  /** False where the way to a first-stage table was cached: its page is marked dirty then. */
  #isLeafKnown = false;

  /** @param reader what the walk reads from */
  constructor(memory: Memory, reader: FrameReader, beforeMark?: BeforeMark) {
    this.#memory = memory;
    this.#reader = reader;
    this.#beforeMark = beforeMark;
  }

  /** Before the first paging entry. */
  begin(): void {
    this.isDirty = true;
    this.isGlobal = false;
    this.#isLeafKnown = false;
  }

  /**
   * One step of a walk in the first stage, with the marks that it leaves.
   *
   * @returns 0, or the reason if the second stage does not let the marks be written
   */
  firstStep(walk: Walk, request: Request): number {
    const { frame, word, level } = walk;
    const { space } = walk.tables;
    const isNested = space.translation === 'nested';
    const hasTableMarks = isNested && space.secondAccessedDirty && this.#isLeafKnown;
    const tableRights = isNested ? walk.rights : RIGHT.WRITE;
    const isWrite = (request.rights & RIGHT.WRITE) !== 0;
    if (this.#beforeMark !== undefined) this.#settle(walk, isWrite);
    walk.stepFirst();
    this.isTableWritable = (tableRights & RIGHT.WRITE) !== 0;
    if (walk.fault === 0) {
      const entry = this.#reader.words[walk.at] ?? 0;
      const isLeaf = level === 1 || (entry & LARGE) !== 0;
      const needed = marksOfFirst(isLeaf && isWrite, space);
      if ((entry & needed) !== needed) {
        if (!this.isTableWritable) return FAULT.NESTED_WRITE_DENIED;
        if (hasTableMarks) this.#markTableDirty();
        this.#mark(frame, word, needed);
      }
      if (isLeaf) {
        this.isGlobal = isGlobalPage(entry);
        this.isDirty = isDirtyPage(entry | needed);
      }
    }
    if (hasTableMarks) this.isTableWritable &&= this.#isTableDirty();
    return walk.fault;
  }

  /** One step of a walk in the second stage whose marks are kept, likewise. */
  secondStep(walk: Walk, request: Request): number {
    const { frame, word, level } = walk;
    const isWrite = (request.rights & RIGHT.WRITE) !== 0;
    if (this.#beforeMark !== undefined) this.#settle(walk, isWrite);
    walk.stepSecond();
    if (walk.fault !== 0) return walk.fault;
    const entry = this.#reader.words[walk.at] ?? 0;
    const isLeaf = level === 1 || (entry & LARGE_2) !== 0;
    const isResult = isLeaf && walk.stage === 'done';
    const needed = marksOfSecond(isResult && isWrite);
    if ((entry & needed) !== needed) this.#mark(frame, word, needed);
    if (isLeaf) {
      this.#leafFrame = frame;
      this.#leafWord = word;
      this.#isLeafKnown = true;
    }
    if (isResult) this.isDirty = this.isDirty && isDirtyOfSecond(entry | needed);
    return 0;
  }

  /** Lets others in until the entry that comes next is the same before and after, or needs no mark. */
  #settle(walk: Walk, isWrite: boolean): void {
    const isFirst = walk.stage === 'first-stage';
    for (;;) {
      const at = this.#reader.at(walk.frame, walk.word);
      if (at === ABSENT) return;
      const { words } = this.#reader;
      const low = words[at] ?? 0;
      const high = words[at + 1] ?? 0;
      const isMarked = isFirst
        ? P.get(words, at) === 0 || (A_1.get(words, at) === 1 && !(isWrite && D_1.get(words, at) === 0))
        : A_2.get(words, at) === 1 && !(isWrite && D_2.get(words, at) === 0);
      if (isMarked) return;
      this.#beforeMark?.();
      const again = this.#reader.at(walk.frame, walk.word);
      const now = this.#reader.words;
      if (now[again] === low && now[again + 1] === high) return;
    }
  }

  /** @param marks of the entry's first word */
  #mark(frame: number, word: number, marks: number): void {
    const at = this.#memory.writable(frame, word);
    const { words } = this.#memory;
    words[at] = (words[at] ?? 0) | marks;
  }

  /** Nested: a mark in a first-stage table is a write to the page that the table lies in. */
  #markTableDirty(): void {
    const at = this.#memory.writable(this.#leafFrame, this.#leafWord);
    D_2.set(this.#memory.words, at, 1);
  }

  #isTableDirty(): boolean {
    const at = this.#memory.at(this.#leafFrame, this.#leafWord);
    return D_2.get(this.#memory.words, at) === 1;
  }
}
