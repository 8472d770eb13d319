/**
 * The accessed and dirty bits that a walk leaves in the paging entries that it used, after VT-d 4.1, 3.6.2 (first
 * stage), 3.7.2 (second stage) and 3.8 (nested). Each is set in the same step that reads the entry, as the
 * locked operation of the hardware would: nothing comes between. An entry is marked once it has been found
 * sound, whatever becomes of the walk further down.
 */
import { FAULT, FIRST_STAGE_ENTRY, SECOND_STAGE_ENTRY } from '../../spec/index.js';
import type { Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import type { Request, Walk } from './walk.js';

const first = FIRST_STAGE_ENTRY;
const second = SECOND_STAGE_ENTRY;

export class AccessedDirty {
  readonly #memory: Memory;
  /** Whether writes have left their mark: a translation that lets writes pass may be cached. */
  isDirty = true;
  /** Whether the first stage's leaf says that it holds for every PASID. */
  isGlobal = false;
  /** The second stage's leaf of the last page that it translated. */
  #leafFrame = 0;
  #leafWord = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Before the first paging entry. */
  begin(): void {
    this.isDirty = true;
    this.isGlobal = false;
  }

  /**
   * One step of a walk in the first stage, with the marks that it leaves.
   *
   * @returns 0, or the reason if the second stage does not let the marks be written
   */
  firstStep(walk: Walk, request: Request): number {
    const { frame, word, level } = walk;
    const tableRights = walk.tables.space.translation === 'nested' ? walk.rights : RIGHT.WRITE;
    walk.step();
    if (walk.stage === 'fault') return walk.fault;
    const { words } = this.#memory;
    const at = this.#memory.at(frame) + word;
    const isLeaf = level === 1 || first.PS.get(words, at) === 1;
    const marksWrite = isLeaf && (request.rights & RIGHT.WRITE) !== 0;
    const marksExtended = walk.tables.space.extendedAccessed && first.EA.get(words, at) === 0;
    const isMarked = first.A.get(words, at) === 1 && !marksExtended;
    if (!isMarked || (marksWrite && first.D.get(words, at) === 0)) {
      if ((tableRights & RIGHT.WRITE) === 0) return FAULT.NESTED_WRITE_DENIED;
      this.#markSecondDirty(walk);
      this.#mark(frame, word, marksWrite, marksExtended);
    }
    if (isLeaf) {
      const leaf = this.#memory.at(frame) + word;
      this.isDirty = first.D.get(this.#memory.words, leaf) === 1;
      this.isGlobal = first.G.get(this.#memory.words, leaf) === 1;
    }
    return 0;
  }

  /** One step of a walk in the second stage, likewise. */
  secondStep(walk: Walk, request: Request): number {
    const { frame, word, level } = walk;
    walk.step();
    if (walk.stage === 'fault') return walk.fault;
    if (!walk.tables.space.secondAccessedDirty) return 0;
    const isLeaf = level === 1 || second.PS.get(this.#memory.words, this.#memory.at(frame) + word) === 1;
    const at = this.#memory.writable(frame) + word;
    second.A.set(this.#memory.words, at, 1);
    if (!isLeaf) return 0;
    this.#leafFrame = frame;
    this.#leafWord = word;
    if (walk.stage !== 'done') return 0;
    if ((request.rights & RIGHT.WRITE) !== 0) second.D.set(this.#memory.words, at, 1);
    this.isDirty = this.isDirty && second.D.get(this.#memory.words, at) === 1;
    return 0;
  }

  #mark(frame: number, word: number, isWrite: boolean, isExtended: boolean): void {
    const at = this.#memory.writable(frame) + word;
    const { words } = this.#memory;
    first.A.set(words, at, 1);
    if (isWrite) first.D.set(words, at, 1);
    if (isExtended) first.EA.set(words, at, 1);
  }

  /** Nested: a mark in a first-stage table is a write to the page that the table lies in. */
  #markSecondDirty(walk: Walk): void {
    const { translation, secondAccessedDirty } = walk.tables.space;
    if (translation !== 'nested' || !secondAccessedDirty) return;
    const at = this.#memory.writable(this.#leafFrame) + this.#leafWord;
    second.D.set(this.#memory.words, at, 1);
  }
}
