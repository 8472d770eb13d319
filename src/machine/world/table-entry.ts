/**
 * PASID table entries as they lie in memory, found by the tables that the unit walks, with its own walker: of the
 * host's unit in physical memory, of a virtual one in its guest's.
 */
import { hex, u64 } from '../../base/index.js';
import { ABSENT, type DeviceTables, type FrameReader, RIGHT, Walk } from '../../hardware/index.js';
import { PASID_TABLE_ENTRY, textOf } from '../../spec/index.js';

const PAGE = 4096;
const ENTRY_WORDS = 16;
const { FSPTPTR, P, PGTT, SSPTPTR } = PASID_TABLE_ENTRY;
const FIRST_STAGE_ONLY = 1;
const SECOND_STAGE_ONLY = 2;
const NESTED = 3;

export interface TableEntry {
  readonly isPresent: boolean;
  readonly isEmpty: boolean;
  /** The frame of the root of its first stage, which is a guest's where there is a second; undefined without one. */
  readonly root: number | undefined;
  /** The frame of the root of its second stage. */
  readonly second: number | undefined;
  /** As the specification calls it: `first-stage`, `nested`. */
  readonly translation: string;
  /** Its address; the addresses of a guest's tables are the guest's. */
  readonly address: number;
  /** Its 16 words, as they were. */
  readonly words: Int32Array;
}

/** Finds entries in one machine's tables. */
export class EntryFinder {
  readonly #memory: FrameReader;
  readonly #tables: DeviceTables;
  /** Of the root table that was asked for last. */
  #walk: Walk | undefined;
  #root = -1;

  constructor(memory: FrameReader, tables: DeviceTables) {
    this.#memory = memory;
    this.#tables = tables;
  }

  /** The entry of (RID, PASID); undefined where no table leads to one. @param root the frame of the root table */
  find(root: number, rid: number, pasid: number): TableEntry | undefined {
    const walk = this.#walkFrom(root);
    walk.begin({ rid, pasid, page: 0, rights: RIGHT.READ | RIGHT.USER });
    while (walk.stage === 'root' || walk.stage === 'context' || walk.stage === 'pasid-directory') walk.step();
    if (walk.stage !== 'pasid-table') return undefined;
    const at = this.#memory.at(walk.frame, walk.word);
    if (at === ABSENT) return undefined;
    const words = this.#memory.words.slice(at, at + ENTRY_WORDS);
    return new FoundEntry(words, walk.frame * PAGE + walk.word * 4);
  }

  #walkFrom(root: number): Walk {
    if (this.#walk === undefined || this.#root !== root) {
      this.#walk = new Walk(this.#memory, root, this.#tables);
      this.#root = root;
    }
    return this.#walk;
  }
}

class FoundEntry implements TableEntry {
  readonly words: Int32Array;
  readonly address: number;

  constructor(words: Int32Array, address: number) {
    this.words = words;
    this.address = address;
  }

  get isPresent(): boolean {
    return P.get(this.words, 0) === 1;
  }

  get isEmpty(): boolean {
    return this.words.every((word) => word === 0);
  }

  get root(): number | undefined {
    const type = PGTT.get(this.words, 0);
    return type === FIRST_STAGE_ONLY || type === NESTED ? FSPTPTR.get(this.words, 0) : undefined;
  }

  get second(): number | undefined {
    const type = PGTT.get(this.words, 0);
    return type === SECOND_STAGE_ONLY || type === NESTED ? SSPTPTR.get(this.words, 0) : undefined;
  }

  get translation(): string {
    return textOf(PGTT, PGTT.getBig(this.words, 0));
  }
}

/** The words of an entry as 64-bit numbers, without the zeros at their end. */
export function entryText(words: Int32Array): string {
  const wide = Array.from({ length: words.length / 2 }, (_, i) =>
    u64(words[2 * i] ?? 0, words[2 * i + 1] ?? 0),
  );
  const last = wide.findLastIndex((word) => word !== 0n);
  return wide
    .slice(0, Math.max(1, last + 1))
    .map((word) => word.toString(16).padStart(16, '0'))
    .join(' ');
}

/** The address of a frame. */
export const frameText = (frame: number): string => hex(frame * PAGE);
