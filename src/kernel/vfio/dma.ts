/**
 * What a process lets its devices reach: pages of its memory, held while they are mapped, at addresses of the
 * devices' (VFIO type 1, second version: an unmapping takes whole mappings). When an unmapping returns, no device
 * reaches the frames, by whatever is built on the domain, and they may go.
 */
import { assert, isRefusal, KeptMap, type Refusal, refuse, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import { pageName } from '../ids.js';
import type { PageRange } from '../iommu/driver.js';
import type { PagingDomain } from '../iommu/paging-domain.js';
import type { AddressSpace } from '../mm/address-space.js';
import { Mutex } from '../mutex.js';
import type { DmaMapRequest } from './arguments.js';

interface Mapping extends PageRange {
  readonly frames: Int32Array;
}

type MapErrno = 'EFAULT' | 'EINVAL' | 'EOVERFLOW' | 'EEXIST' | 'ENOMEM' | 'EIO' | 'ESRCH';

export class DmaMappings {
  readonly #context: KernelContext;
  readonly #domain: PagingDomain;
  readonly #mm: AddressSpace;
  /** By the first page. */
  readonly #mappings: KeptMap<number, Mapping>;
  /** Held over each change. */
  readonly #lock: Mutex;

  constructor(context: KernelContext, of: { readonly domain: PagingDomain; readonly mm: AddressSpace }) {
    this.#context = context;
    this.#domain = of.domain;
    this.#mm = of.mm;
    this.#mappings = new KeptMap(context.log);
    this.#lock = new Mutex(context.log, `DMA mappings of ${of.domain.name}`);
  }

  /**
   * Maps pages of the process for its devices.
   *
   * On failure: `EFAULT` for pages that the process does not have, or may not write; `ESRCH` if its memory is gone;
   * `EEXIST` where something is mapped; `EINVAL` for addresses that devices cannot use; `EOVERFLOW`, `ENOMEM`,
   * `EIO`. Nothing is mapped, and no page is held, but where hardware did not confirm.
   */
  *map(request: DmaMapRequest): Task<Refusal<MapErrno> | undefined> {
    yield* this.#lock.lock();
    try {
      return yield* this.#mapLocked(request);
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Takes the mappings of a range away; how many pages that were.
   *
   * On failure: `EINVAL` for a range that cuts one: nothing has changed; `EIO`: the frames stay held.
   */
  *unmap(range: PageRange): Task<number | Refusal<'EINVAL' | 'ENOMEM' | 'EIO'>> {
    yield* this.#lock.lock();
    try {
      const gone = this.#overlapping(range);
      const cut = gone.find(({ first, last }) => first < range.first || last > range.last);
      if (cut !== undefined) {
        return refuse('EINVAL', `${this.#nameOf(range)} cut a mapping of ${cut.frames.length} pages`);
      }
      return yield* this.#unmapLocked(gone);
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Takes all away.
   *
   * On failure: `EIO`: the frames stay held.
   */
  *unmapAll(): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const refusal = yield* this.#unmapLocked(this.#mappings.values());
      if (!isRefusal(refusal)) return undefined;
      // Whole mappings of the domain's own: none is out of its reach, and none is cut.
      assert(refusal.errno === 'EIO', `all of ${this.#domain.name}: ${refusal.why}`);
      return refuse('EIO', refusal.why);
    } finally {
      this.#lock.unlock();
    }
  }

  *#mapLocked(request: DmaMapRequest): Task<Refusal<MapErrno> | undefined> {
    const { first, last, read, write } = request;
    if (this.#overlapping(request).length > 0) {
      return refuse('EEXIST', `${this.#nameOf(request)} have a mapping among them`);
    }
    // Before pages are fetched: how many there are is the caller's word.
    const wrong = this.#domain.judge({ first, last });
    if (wrong !== undefined) return wrong;
    if (!this.#mm.tryUse()) return refuse('ESRCH', `${this.#mm.name} is gone`);
    const frames = yield* this.#hold(request);
    if (isRefusal(frames)) return frames;
    for (let done = 0; done < frames.length; ) {
      const count = runAt(frames, done);
      const run = { page: first + done, frame: frames[done] ?? 0, count, read, write };
      const refusal = yield* this.#domain.map(run);
      if (refusal !== undefined) {
        const undone = yield* this.#domain.unmap([{ first, last }]);
        // What hardware may still reach stays held.
        if (refusal.errno !== 'EIO' && !isRefusal(undone)) this.#release(frames);
        return refusal;
      }
      done += count;
    }
    this.#mappings.set(first, { first, last, frames });
    return undefined;
  }

  *#hold(request: DmaMapRequest): Task<Int32Array | Refusal<'EFAULT' | 'ENOMEM' | 'EOVERFLOW'>> {
    const { page, first, last, write } = request;
    const frames = yield* this.#mm.holdPages({ first: page, count: last - first + 1 }, write);
    yield* this.#mm.put();
    return frames;
  }

  *#unmapLocked(mappings: readonly Mapping[]): Task<number | Refusal<'EINVAL' | 'ENOMEM' | 'EIO'>> {
    if (mappings.length === 0) return 0;
    const pages = yield* this.#domain.unmap(mappings.map(({ first, last }) => ({ first, last })));
    if (isRefusal(pages)) return pages;
    for (const { first, frames } of mappings) {
      this.#mappings.delete(first);
      this.#release(frames);
    }
    return pages;
  }

  #release(frames: Int32Array): void {
    for (const frame of frames) this.#context.frames.release(frame);
  }

  #overlapping(range: PageRange): Mapping[] {
    return this.#mappings.values().filter(({ first, last }) => first <= range.last && last >= range.first);
  }

  #nameOf({ first, last }: PageRange): string {
    return `${last - first + 1} pages from ${pageName(first)} of ${this.#domain.name}`;
  }
}

/** How many frames stand in a row from `frames[at]` on. */
function runAt(frames: Int32Array, at: number): number {
  let count = 1;
  while (at + count < frames.length && frames[at + count] === (frames[at] ?? 0) + count) count++;
  return count;
}
