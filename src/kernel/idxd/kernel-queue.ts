/**
 * A dedicated work queue that the kernel uses itself (Linux's `kernel` type, its DMA engine): descriptors without a
 * PASID, so requests that meet what the device's requests without one meet, at addresses that the kernel's DMA has
 * mapped for them: frames' own where there is no IOMMU. Blocked devices have none. Left out: batches, completion
 * interrupts: it polls.
 */
import { hex, isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  DSA_FLAG,
  DSA_MEMMOVE,
  DSA_OPCODE,
  DSA_RECORD,
  DSA_STATUS,
  DSA_STATUS_NAMES,
  encode,
} from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { PAGE_BYTES, paOf } from '../ids.js';
import type { DmaBuffer, DmaSpace } from '../iommu/dma.js';
import { Mutex } from '../mutex.js';
import type { WorkQueue } from './work-queue.js';

/** Frames of the kernel's, one after the other. */
export interface Copy {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

type DmaErrno = 'ENOSPC' | 'ENOMEM' | 'EIO';

/** The frame of its completion record, and the page that the device knows it by. */
interface RecordPlace {
  readonly frame: number;
  readonly page: number;
}

/** A copy, by frames and by what the device knows them by. */
interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly source: number;
  readonly target: number;
  readonly bytes: number;
}

export class KernelQueue {
  readonly wq: WorkQueue;
  readonly #context: KernelContext;
  readonly #dma: DmaSpace;
  readonly #portal: number;
  readonly #record: RecordPlace;
  readonly #lock: Mutex;

  private constructor(
    context: KernelContext,
    of: { readonly wq: WorkQueue; readonly dma: DmaSpace; readonly portal: number },
    record: RecordPlace,
  ) {
    this.#context = context;
    this.wq = of.wq;
    this.#dma = of.dma;
    this.#portal = of.portal;
    this.#record = record;
    this.#lock = new Mutex(context.log, `${of.wq.name} of the kernel`);
  }

  /**
   * Enables a queue for the kernel, which nobody else has.
   *
   * On failure: `ENODEV` if the CPUs cannot submit to it; what {@link DmaSpace.map} refuses with. Nothing has changed.
   */
  static *open(
    context: KernelContext,
    of: { readonly wq: WorkQueue; readonly dma: DmaSpace; readonly portal: number },
  ): Task<KernelQueue | Refusal<'ENODEV' | DmaErrno>> {
    if (context.platform.mmio.write512 === undefined) return refuse('ENODEV', 'the CPUs have no MOVDIR64B');
    const frame = context.frames.alloc({ kind: 'kernel', use: `completion record of ${of.wq.name}` });
    if (isRefusal(frame)) return frame;
    const page = yield* of.dma.map({ frame, count: 1, read: true, write: true });
    if (isRefusal(page)) {
      if (page.errno !== 'EIO') context.frames.free(frame);
      return page;
    }
    of.wq.configure(undefined);
    const refusal = yield* of.wq.enable();
    const queue = new KernelQueue(context, of, { frame, page });
    if (refusal === undefined) return queue;
    yield* queue.#freeRecord();
    return refusal;
  }

  /**
   * Has the device copy pages; returns when it has.
   *
   * On failure: what {@link DmaSpace.map} refuses with; `EIO` if the device or its IOMMU failed. On an `EIO` the pages
   * must not be used otherwise.
   */
  *copy({ from, to, count }: Copy): Task<Refusal<DmaErrno> | undefined> {
    yield* this.#lock.lock();
    try {
      return yield* this.#mapped({ frame: from, count, read: true, write: false }, (source) =>
        this.#mapped({ frame: to, count, read: false, write: true }, (target) =>
          this.#move({ from, to, source, target, bytes: count * PAGE_BYTES }),
        ),
      );
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Gives the queue up: nothing of it is on its way any more.
   *
   * On failure: `EIO` if the device or its IOMMU did not confirm: the record's frame stays taken.
   */
  *close(): Task<Refusal<'EIO'> | undefined> {
    const refusal = (yield* this.wq.drain()) ?? (yield* this.wq.disable());
    if (refusal !== undefined) return refusal;
    this.wq.clients.value--;
    return yield* this.#freeRecord();
  }

  /** Does something while a buffer is mapped. */
  *#mapped(
    buffer: DmaBuffer,
    does: (page: number) => Task<Refusal<DmaErrno> | undefined>,
  ): Task<Refusal<DmaErrno> | undefined> {
    const page = yield* this.#dma.map(buffer);
    if (isRefusal(page)) return page;
    const refusal = yield* does(page);
    const left = yield* this.#dma.unmap(page);
    return refusal ?? left;
  }

  /** @param of `source`, `target`: the pages that the device knows the frames by */
  *#move(of: Transfer): Task<Refusal<'EIO'> | undefined> {
    const { memory, mmio } = this.#context.platform;
    const record = paOf(this.#record.frame);
    memory.store64(record, 0, 0);
    tell(this.#context, 'idxd:copy', {
      ...{ wq: this.wq.name, bytes: of.bytes, from: hex(paOf(of.from)), to: hex(paOf(of.to)) },
      ...{ source: hex(of.source * PAGE_BYTES), target: hex(of.target * PAGE_BYTES) },
      ...{ done: hex(record), record: hex(this.#record.page * PAGE_BYTES) },
    });
    const descriptor = encode(DSA_MEMMOVE, {
      OPCODE: DSA_OPCODE.MEMMOVE,
      FLAGS: DSA_FLAG.CRAV | DSA_FLAG.RCR,
      RECORD: this.#record.page * PAGE_BYTES,
      SRC: of.source * PAGE_BYTES,
      DST: of.target * PAGE_BYTES,
      XFER_SIZE: of.bytes,
    });
    mmio.write512?.(this.#portal, descriptor);
    for (;;) {
      const status = DSA_RECORD.STATUS.get(Int32Array.of(memory.load32(record)), 0);
      if (status === DSA_STATUS.SUCCESS) return undefined;
      if (status !== DSA_STATUS.NONE) {
        const text = (DSA_STATUS_NAMES as Readonly<Record<number, string>>)[status] ?? status;
        return refuse('EIO', `${this.wq.name}: ${text}`);
      }
      yield `${this.wq.name}: wait for the completion record`;
    }
  }

  *#freeRecord(): Task<Refusal<'EIO'> | undefined> {
    const { frame, page } = this.#record;
    const refusal = yield* this.#dma.unmap(page);
    if (refusal === undefined) this.#context.frames.free(frame);
    return refusal;
  }
}
