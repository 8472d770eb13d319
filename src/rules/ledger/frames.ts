/**
 * Who owns which page frame, and who owned it before: told by the kernel's allocator of frames, asked by the rules.
 */
import type { Restorable } from '../../base/index.js';
import type { FrameOwner } from '../../kernel/index.js';
import { OverlayMap } from './overlay.js';

/** A time in which a frame had one owner, or none. */
export interface Tenure {
  /** Undefined while it is free. */
  readonly owner: FrameOwner | undefined;
  readonly since: number;
  readonly before: Tenure | undefined;
  /** The virtual machine whose memory the frame is in; undefined for what is the host's own. */
  readonly vm?: string;
}

/** Older tenures than these are forgotten. */
const DEPTH = 3;

export class FrameLedger implements Restorable {
  readonly #tenures = new OverlayMap<number, Tenure>();
  readonly #pages = new OverlayMap<string, number>();

  /** By page: when it last lost its frame. */
  readonly #left = new OverlayMap<string, number>();
  /** By address space: how many of its pages have frames. */
  readonly #counts = new OverlayMap<string, number>();

  owned(frame: number, owner: FrameOwner, step: number): void {
    const last = this.#tenures.get(frame);
    this.#count(last?.owner, -1);
    this.#tenures.set(frame, { owner, since: step, before: cut(last, DEPTH) });
    this.#count(owner, 1);
    if (owner.kind === 'page') this.#pages.set(pageKey(owner.mm, owner.page), frame);
  }

  freed(frame: number, step: number): void {
    const last = this.#tenures.get(frame);
    this.#tenures.set(frame, { owner: undefined, since: step, before: cut(last, DEPTH) });
    const owner = last?.owner;
    this.#count(owner, -1);
    if (owner?.kind === 'page' && this.frameAt(owner.mm, owner.page) === frame) {
      this.#pages.delete(pageKey(owner.mm, owner.page));
      this.#left.set(pageKey(owner.mm, owner.page), step);
    }
  }

  /** Who has a frame now; undefined if it never had an owner. */
  tenure(frame: number): Tenure | undefined {
    return this.#tenures.get(frame);
  }

  /** The frame of a page of an address space, if it has one. */
  frameAt(mm: string, page: number): number | undefined {
    return this.#pages.get(pageKey(mm, page));
  }

  /** Whether a page of an address space has a frame, or had one at some time since `step`. */
  hadFrame(mm: string, page: number, step: number): boolean {
    return this.frameAt(mm, page) !== undefined || (this.#left.get(pageKey(mm, page)) ?? -1) >= step;
  }

  /** How many frames hold pages of an address space. */
  pagesOf(mm: string): number {
    return this.#counts.get(mm) ?? 0;
  }

  /** The frames that somebody owns now. */
  *all(): Generator<[number, FrameOwner]> {
    for (const [frame, { owner }] of this.#tenures.entries()) if (owner !== undefined) yield [frame, owner];
  }

  mark(): void {
    for (const map of [this.#tenures, this.#pages, this.#left, this.#counts]) map.mark();
  }

  restore(): void {
    for (const map of [this.#tenures, this.#pages, this.#left, this.#counts]) map.restore();
  }

  #count(owner: FrameOwner | undefined, change: 1 | -1): void {
    if (owner?.kind !== 'page') return;
    const count = this.pagesOf(owner.mm) + change;
    if (count === 0) this.#counts.delete(owner.mm);
    else this.#counts.set(owner.mm, count);
  }
}

const pageKey = (mm: string, page: number): string => `${mm} ${page}`;

function cut(tenure: Tenure | undefined, depth: number): Tenure | undefined {
  if (tenure === undefined || depth === 0) return undefined;
  return { ...tenure, before: cut(tenure.before, depth - 1) };
}
