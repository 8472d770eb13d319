/**
 * Addresses for DMA, a page at a time: which pages of a device's address space are taken. The highest run that is free
 * is given first, at a multiple of its size rounded up to a power of two (as Linux's `iova.c` does, so that a run can
 * be flushed by one aligned block). Page 0 is never given: 0 is what drivers take for no address. Left out: caches for
 * each CPU.
 */
import { assert, KeptValue, type Refusal, refuse, type UndoLog } from '../../base/index.js';
import type { PageRange } from './driver.js';

const FIRST_PAGE = 1;

export class IovaSpace {
  readonly #last: number;
  /** What is taken, the highest first; no two overlap. */
  readonly #taken: KeptValue<readonly PageRange[]>;
  /** What was never given. */
  readonly #reserved: readonly PageRange[];

  /** @param of `last`: the highest page there is; `reserved`: pages that are never given */
  constructor(log: UndoLog, of: { readonly last: number; readonly reserved: readonly PageRange[] }) {
    this.#last = of.last;
    this.#reserved = of.reserved;
    this.#taken = new KeptValue<readonly PageRange[]>(log, of.reserved.toSorted(byHighest));
  }

  /**
   * Takes a run of pages; its first.
   *
   * @param last the highest page that it may have
   *
   * On failure: `ENOSPC`.
   */
  alloc(count: number, last = this.#last): number | Refusal<'ENOSPC'> {
    assert(count > 0, 'a run of no pages');
    const align = 2 ** Math.ceil(Math.log2(count));
    const highest = (top: number): number => Math.floor((top - count + 1) / align) * align;
    let first = highest(Math.min(last, this.#last));
    for (const taken of this.#taken.value) {
      if (taken.first > first + count - 1) continue;
      if (taken.last < first) break;
      first = highest(taken.first - 1);
    }
    if (first < FIRST_PAGE) return refuse('ENOSPC', `no ${count} pages of addresses up to page ${last}`);
    this.#taken.value = [...this.#taken.value, { first, last: first + count - 1 }].sort(byHighest);
    return first;
  }

  /** The run that begins at a page. */
  runAt(first: number): PageRange {
    const run = this.#taken.value.find((each) => each.first === first);
    assert(run !== undefined && !this.#reserved.includes(run), `page ${first} was not given`);
    return run;
  }

  /** Gives a run back. */
  free(first: number): void {
    const run = this.runAt(first);
    this.#taken.value = this.#taken.value.filter((each) => each !== run);
  }
}

const byHighest = (a: PageRange, b: PageRange): number => b.first - a.first;
