/**
 * The accelerator's event log, as its driver uses it (Intel DSA 3.0, 5.9 and 9.2.16; Linux's `idxd_device_evl_setup`
 * and `process_evl_entries`): a page that the device writes to by the kernel's DMA, without a PASID. Where it is on,
 * errors of descriptors go there, and with them completion records that the device could not write, as their page was
 * missing and it may not ask for it: the driver writes those where they should be, for it can have pages.
 *
 * Where the driver stands is the device's head register, and nowhere else: after a reset both begin anew (bug G10).
 * Left out: larger logs; retries of records that fault once more.
 */
import { isRefusal, type Refusal, type Task } from '../../base/index.js';
import { DSA_EVENT, DSA_EVLCFG_REG, DSA_EVLSTATUS_REG, encode } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { PAGE_BYTES, paOf } from '../ids.js';
import type { DmaSpace } from '../iommu/dma.js';
import { Mutex } from '../mutex.js';
import { type DsaRegisters, REGISTER } from './registers.js';

const ENTRY_BYTES = DSA_EVENT.bytes;
/** The least that a log may have, and a page. */
const ENTRIES = PAGE_BYTES / ENTRY_BYTES;
const STATUS_HIGH = DSA_EVLSTATUS_REG.TAIL.low / 8;

/** Takes an entry: its words, lent for the time of the call. */
export type EventReader = (entry: Int32Array) => Task;

interface LogOptions {
  /** The device's. */
  readonly name: string;
  readonly dma: DmaSpace;
  readonly read: EventReader;
}

export class EventLog {
  readonly #context: KernelContext;
  readonly #registers: DsaRegisters;
  readonly #name: string;
  readonly #frame: number;
  /** The page that the device knows it by. */
  readonly #page: number;
  readonly #dma: DmaSpace;
  readonly #read: EventReader;
  readonly #lock: Mutex;

  private constructor(
    context: KernelContext,
    registers: DsaRegisters,
    of: LogOptions & { readonly frame: number; readonly page: number },
  ) {
    this.#context = context;
    this.#registers = registers;
    this.#name = of.name;
    this.#frame = of.frame;
    this.#page = of.page;
    this.#dma = of.dma;
    this.#read = of.read;
    this.#lock = new Mutex(context.log, `event log of ${of.name}`);
  }

  /**
   * A log that the device can reach.
   *
   * @param of `read` takes each entry, once
   *
   * On failure: what {@link DmaSpace.map} refuses with.
   */
  static *create(
    context: KernelContext,
    registers: DsaRegisters,
    of: LogOptions,
  ): Task<EventLog | Refusal<'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    const frame = context.frames.alloc({ kind: 'kernel', use: `event log of ${of.name}` });
    if (isRefusal(frame)) return frame;
    const page = yield* of.dma.map({ frame, count: 1, read: false, write: true });
    if (!isRefusal(page)) return new EventLog(context, registers, { ...of, frame, page });
    if (page.errno !== 'EIO') context.frames.free(frame);
    return page;
  }

  /** Tells the device where it is; that is disabled. */
  configure(): void {
    const words = encode(DSA_EVLCFG_REG, { BASE: this.#page, SIZE: ENTRIES });
    this.#registers.writeAt(REGISTER.EVLCFG.offset, words);
  }

  /** Gives its memory back; the device is disabled, or gone. Without a confirmation of hardware that stays taken. */
  *close(): Task {
    const refusal = yield* this.#dma.unmap(this.#page);
    if (refusal === undefined) this.#context.frames.free(this.#frame);
  }

  /** There are new entries. In an interrupt's context. */
  came(): void {
    this.#context.tasks.spawn(`${this.#name} event log`, this.#run());
  }

  /** Returns when all entries that are there by now have been read. */
  *flush(): Task {
    yield* this.#lock.lock();
    try {
      let status = this.#status();
      let head = DSA_EVLSTATUS_REG.HEAD.get(status, 0);
      while (head !== DSA_EVLSTATUS_REG.TAIL.get(status, 0)) {
        yield* this.#read(this.#entry(head));
        head = (head + 1) % ENTRIES;
        this.#registers.writeAt(REGISTER.EVLSTATUS.offset, Int32Array.of(head));
        status = this.#status();
      }
    } finally {
      this.#lock.unlock();
    }
  }

  *#run(): Task {
    // What comes from here on sends another interrupt.
    const clear = encode(DSA_EVLSTATUS_REG, { INT_PENDING: 1 });
    this.#registers.writeAt(REGISTER.EVLSTATUS.offset + STATUS_HIGH, clear.subarray(1));
    yield* this.flush();
  }

  #status(): Int32Array {
    return this.#registers.read(REGISTER.EVLSTATUS);
  }

  #entry(index: number): Int32Array {
    const bytes = new Uint8Array(ENTRY_BYTES);
    this.#context.platform.memory.read(paOf(this.#frame) + index * ENTRY_BYTES, bytes);
    return new Int32Array(bytes.buffer);
  }
}
