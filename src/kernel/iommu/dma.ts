/**
 * The kernel's own DMA: a driver has frames mapped for its device, and is told the addresses that the device has to
 * use. Behind a table of the kernel's these come from an allocator, below 4 GiB as long as there is room (many devices
 * reach no further, or cost more there), and above it then; behind the identity domain they are the frames' own.
 *
 * When an unmap returns, no cache has the translation: the frames may be used otherwise, and so may the addresses.
 * Linux can put that off; here it is always strict. Left out: bounce buffers, scatter lists, device masks.
 */
import { assert, isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import type { IoRights } from './io-entries.js';
import { IovaSpace } from './iova.js';
import { INTERRUPT_PAGES, type PagingDomain } from './paging-domain.js';

/** The last page below 4 GiB. */
const LAST_LOW_PAGE = 2 ** 20 - 1;
const PAGE_BITS = 12;

/** Frames one after the other, and what the device may do with them. */
export interface DmaBuffer extends IoRights {
  readonly frame: number;
  readonly count: number;
}

export interface DmaSpace {
  /**
   * Lets the device reach a buffer; the first page that it has to name.
   *
   * On failure: `ENOSPC` if no addresses are left; `ENOMEM`; `EIO` if hardware did not confirm. The device does not
   * reach it then.
   */
  map(buffer: DmaBuffer): Task<number | Refusal<'ENOSPC' | 'ENOMEM' | 'EIO'>>;

  /**
   * Takes what was mapped at a page away.
   *
   * On failure: `EIO` if hardware did not confirm: neither the frames nor the addresses may be used again.
   */
  unmap(page: number): Task<Refusal<'EIO'> | undefined>;

  /** The device is gone. On failure: `EBUSY` if its table is still used. */
  free(): Refusal<'EBUSY'> | undefined;
}

/** Where addresses are the frames' own, there is nothing to be done. */
export const DIRECT: DmaSpace = {
  *map({ frame }) {
    yield 'dma: map';
    return frame;
  },
  *unmap() {
    yield 'dma: unmap';
    return undefined;
  },
  free: () => undefined,
};

/** Addresses in a domain that nobody else maps in. */
export class TranslatedDma implements DmaSpace {
  readonly #domain: PagingDomain;
  readonly #addresses: IovaSpace;

  constructor({ log }: KernelContext, domain: PagingDomain) {
    this.#domain = domain;
    const last = 2 ** (domain.width - PAGE_BITS) - 1;
    this.#addresses = new IovaSpace(log, { last, reserved: [INTERRUPT_PAGES] });
  }

  *map({ frame, count, read, write }: DmaBuffer): Task<number | Refusal<'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    const low = this.#addresses.alloc(count, LAST_LOW_PAGE);
    const page = isRefusal(low) ? this.#addresses.alloc(count) : low;
    if (isRefusal(page)) return page;
    // What a first stage lets be written, it lets be read.
    const reads = read || this.#domain.type === 'first-stage';
    const refusal = yield* this.#domain.map({ page, frame, count, read: reads, write });
    if (refusal === undefined) return page;
    const { errno } = refusal;
    assert(errno !== 'EINVAL' && errno !== 'EEXIST', `DMA of ${this.#domain.name}: ${refusal.why}`);
    // What hardware did not confirm it may still translate.
    if (errno === 'ENOMEM') this.#addresses.free(page);
    return refuse(errno, refusal.why);
  }

  *unmap(page: number): Task<Refusal<'EIO'> | undefined> {
    const done = yield* this.#domain.unmap([this.#addresses.runAt(page)]);
    if (!isRefusal(done)) {
      this.#addresses.free(page);
      return undefined;
    }
    const { errno } = done;
    assert(errno === 'EIO', `DMA of ${this.#domain.name}: ${done.why}`);
    return refuse(errno, done.why);
  }

  free(): Refusal<'EBUSY'> | undefined {
    return this.#domain.free();
  }
}
