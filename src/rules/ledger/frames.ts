/**
 * Who owns which page frame, and who owned it before: told by the kernel's allocator of frames, asked by the rules.
 */
import type { Restorable } from '../../base/index.js';
import type { FrameOwner } from '../../kernel/index.js';
import { Journal, type Journaled } from './journal.js';

/** A time in which a frame had one owner, or none. */
export interface Tenure {
  /** Undefined while it is free. */
  readonly owner: FrameOwner | undefined;
  readonly since: number;
  readonly before: Tenure | undefined;
  /** The virtual machine whose memory the frame is in; undefined for what is the host's own. */
  readonly vm?: string;
}

/** Older tenures than these are forgotten, when there are twice as many. */
const DEPTH = 3;

export class FrameLedger implements Restorable {
  readonly #tenures = new Tenures();
  readonly #changes = new Journal<Tenure>();
  /** By address space. */
  readonly #spaces = new Map<string, Space>();
  readonly #changesOfSpaces = new Journal<number>();
  #version = 0;

  /** Is another after any frame has changed hands. */
  get version(): number {
    return this.#version;
  }

  owned(frame: number, owner: FrameOwner, step: number): void {
    const last = this.#become(frame, owner, step);
    if (last?.owner?.kind === 'page') this.#space(last.owner.mm).count(-1);
    if (owner.kind !== 'page') return;
    const space = this.#space(owner.mm);
    space.count(1);
    space.set(owner.page, frame);
  }

  freed(frame: number, step: number): void {
    const owner = this.#become(frame, undefined, step)?.owner;
    if (owner?.kind !== 'page') return;
    const space = this.#space(owner.mm);
    space.count(-1);
    if (space.at(owner.page) === frame) space.set(owner.page, leftIn(step));
  }

  /** Who has a frame now; undefined if it never had an owner. */
  tenure(frame: number): Tenure | undefined {
    return this.#tenures.at(frame);
  }

  /** The frame of a page of an address space, if it has one. */
  frameAt(mm: string, page: number): number | undefined {
    const at = this.#spaces.get(mm)?.at(page) ?? NEVER;
    return at < 0 ? undefined : at;
  }

  /** Whether a page of an address space has a frame, or had one at some time since `step`. */
  hadFrame(mm: string, page: number, step: number): boolean {
    const at = this.#spaces.get(mm)?.at(page) ?? NEVER;
    return at >= 0 || stepOf(at) >= step;
  }

  /** How many frames hold pages of an address space. */
  pagesOf(mm: string): number {
    return this.#spaces.get(mm)?.pages ?? 0;
  }

  /** Shows the frames that somebody owns now, ascending. */
  each(show: (frame: number, owner: FrameOwner) => void): void {
    this.#tenures.each((frame, { owner }) => {
      if (owner !== undefined) show(frame, owner);
    });
  }

  /** Shows those of them that may have had another owner at the mark; all, where nothing was marked. */
  eachChanged(show: (frame: number, owner: FrameOwner) => void): void {
    if (!this.#changes.isMarked) {
      this.each(show);
      return;
    }
    // Most are free in the end.
    const shown = new Set<number>();
    this.#changes.eachChanged((frame) => {
      const owner = this.#tenures.at(frame)?.owner;
      if (owner === undefined || shown.has(frame)) return;
      shown.add(frame);
      show(frame, owner);
    });
  }

  /** The frames that somebody owns now, ascending. */
  all(): [number, FrameOwner][] {
    const all: [number, FrameOwner][] = [];
    this.each((frame, owner) => all.push([frame, owner]));
    return all;
  }

  mark(): void {
    this.#changes.mark();
    this.#changesOfSpaces.mark();
  }

  restore(): void {
    this.#version++;
    this.#changes.restore();
    this.#changesOfSpaces.restore();
  }

  /** A frame changes hands; who had it. */
  #become(frame: number, owner: FrameOwner | undefined, step: number): Tenure | undefined {
    this.#version++;
    const last = this.#tenures.at(frame);
    this.#changes.note(this.#tenures, frame, last);
    this.#tenures.set(frame, { owner, since: step, before: last && shortened(last) });
    return last;
  }

  #space(mm: string): Space {
    const known = this.#spaces.get(mm);
    if (known !== undefined) return known;
    const space = new Space(this.#changesOfSpaces);
    this.#spaces.set(mm, space);
    return space;
  }
}

/** Frames whose numbers are near each other stand in one array. */
const BLOCK = 512;
/** Blocks that are found by their number: those of the first 32 GiB. */
const NEAR = 0x4000;

type Block = (Tenure | undefined)[];

/** Tenures by frame. */
class Tenures implements Journaled<Tenure> {
  readonly #near: (Block | undefined)[] = [];
  readonly #far = new Map<number, Block>();

  at(frame: number): Tenure | undefined {
    return this.#block(Math.floor(frame / BLOCK))?.[frame % BLOCK];
  }

  set(frame: number, tenure: Tenure | undefined): void {
    const number = Math.floor(frame / BLOCK);
    const block = this.#block(number) ?? this.#newBlock(number);
    block[frame % BLOCK] = tenure;
  }

  putBack(frame: number, tenure: Tenure | undefined): void {
    this.set(frame, tenure);
  }

  /** Ascending. */
  each(show: (frame: number, tenure: Tenure) => void): void {
    const far = [...this.#far].sort(([a], [b]) => a - b);
    for (const [number, block] of [...this.#near.entries(), ...far]) {
      if (block === undefined) continue;
      for (let i = 0; i < BLOCK; i++) {
        const tenure = block[i];
        if (tenure !== undefined) show(number * BLOCK + i, tenure);
      }
    }
  }

  #block(number: number): Block | undefined {
    return number < NEAR ? this.#near[number] : this.#far.get(number);
  }

  #newBlock(number: number): Block {
    const block = new Array<Tenure | undefined>(BLOCK).fill(undefined);
    if (number < NEAR) {
      // Filled up in order, so that the array stays a dense one.
      while (this.#near.length < number) this.#near.push(undefined);
      this.#near[number] = block;
    } else {
      this.#far.set(number, block);
    }
    return block;
  }
}

/** What a page has that has no frame: the step in which it lost it, or that it never had any; below all frames. */
const leftIn = (step: number): number => -2 - step;
const stepOf = (left: number): number => -2 - left;
const NEVER = -1;

/** Key of the count in the journal, where pages are keys too. */
const COUNT = -1;

/** The pages of an address space. */
class Space implements Journaled<number> {
  readonly #changes: Journal<number>;
  readonly #at = new Map<number, number>();
  #pages = 0;

  constructor(changes: Journal<number>) {
    this.#changes = changes;
  }

  get pages(): number {
    return this.#pages;
  }

  count(change: 1 | -1): void {
    this.#changes.note(this, COUNT, this.#pages);
    this.#pages += change;
  }

  at(page: number): number | undefined {
    return this.#at.get(page);
  }

  set(page: number, at: number): void {
    this.#changes.note(this, page, this.#at.get(page));
    this.#at.set(page, at);
  }

  putBack(key: number, value: number | undefined): void {
    if (key === COUNT) this.#pages = value ?? 0;
    else if (value === undefined) this.#at.delete(key);
    else this.#at.set(key, value);
  }
}

/** The same, without what is too long ago to be told. */
function shortened(tenure: Tenure): Tenure {
  let depth = 0;
  for (let at = tenure.before; at !== undefined; at = at.before) depth++;
  return depth < 2 * DEPTH ? tenure : cut(tenure, DEPTH);
}

function cut({ owner, since, before }: Tenure, depth: number): Tenure {
  return { owner, since, before: before === undefined || depth === 1 ? undefined : cut(before, depth - 1) };
}
