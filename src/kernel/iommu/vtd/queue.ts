/**
 * The invalidation queue (VT-d 4.1, 6.5.2): descriptors go in as a batch that ends with a wait descriptor, whose
 * status write the submitter polls. Hardware takes them in order; nothing is known to be done before the status
 * says so.
 *
 * Errors (6.5.2.10): a descriptor that hardware refuses stops the queue, and is replaced by one that does nothing;
 * a device that does not answer its device-TLB invalidation in time drops the waits that are held up, and what is in
 * the queue then is tried again, for as often as it takes others to give up. A wait that comes later is done as if
 * nothing had happened: no status is believed that was submitted before a time-out was seen.
 * A device that is not there any more has nothing cached, and is not asked again.
 * A wide queue has slots of 32 bytes, and is what scalable mode needs; a unit without it has slots of 16. What is
 * too much for the ring at once goes in parts. Left out: completion interrupts, queues of more than a page.
 */
import {
  KeptList,
  KeptValue,
  type Pause,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
  Words,
} from '../../../base/index.js';
import {
  DEVICE_TLB_INVALIDATION,
  encode,
  FSTS_REG,
  INVALIDATION,
  INVALIDATION_WAIT,
  IQER_REG,
  IQH_REG,
  IQT_REG,
  PASID_DEVICE_TLB_INVALIDATION,
  VTD_REGISTER,
} from '../../../spec/index.js';
import { type KernelContext, tell } from '../../context.js';
import { PAGE_BYTES, paOf } from '../../ids.js';
import { PciDevice } from '../../pci.js';
import type { FaultStatus } from './faults.js';
import type { Invalidator } from './invalidator.js';
import type { UnitRegisters } from './registers.js';

const { PD, STATUS_ADDR } = INVALIDATION_WAIT;
const { QT } = IQT_REG;
const STATUS_WORD = STATUS_ADDR.low >> 5;
const NARROW_BYTES = 16;
const WIDE_BYTES = 32;
/** Descriptors that go in at once, so that others find room beside them. */
const MAX_BATCH = 32;
const PENDING = 1;
const DONE = 2;
const TRIES = 3;
const NOBODY = -1;

/** One batch in the queue: the slots from `first` to `last`, the wait descriptor's. */
interface Batch {
  readonly first: number;
  readonly last: number;
  /** How many time-outs had been seen when it was submitted. */
  readonly timeouts: number;
  isRefused: boolean;
}

interface QueueOptions {
  readonly frames: QueueFrames;
  readonly name: string;
  readonly isWide: boolean;
  /** What tells of errors. */
  readonly faults: FaultStatus;
  /** @see IommuUnit.progress */
  readonly progress: WaitQueue | undefined;
}

export interface QueueFrames {
  readonly descriptors: number;
  readonly status: number;
}

export class InvalidationQueue implements Invalidator {
  readonly #context: KernelContext;
  readonly #registers: UnitRegisters;
  readonly #frames: QueueFrames;
  readonly #name: string;
  /** By slot: 1 while it belongs to a batch that is not done. */
  readonly #busy: Words;
  /** Those that somebody waits for. */
  readonly #batches: KeptList<Batch>;
  readonly #faults: FaultStatus;
  readonly #slotBytes: number;
  readonly #slots: number;
  readonly #tail: KeptValue<number>;
  /** Where hardware's head is, or has been: after a time-out that may be behind what nobody waits for. */
  readonly #head: KeptValue<number>;
  readonly #waitWords = encode(INVALIDATION_WAIT, {
    ...{ TYPE: INVALIDATION.WAIT, SW: 1, FN: 1 },
    STATUS_DATA: DONE,
  });
  /** What is written to IQT. */
  readonly #register = new Int32Array(2);
  /** The devices that did not answer, in their order. */
  readonly #timeouts: KeptList<number>;
  readonly #room: WaitQueue;
  /** Where to pause while there is nothing new of hardware's. */
  readonly #spin: Pause;

  constructor(context: KernelContext, registers: UnitRegisters, of: QueueOptions) {
    this.#context = context;
    this.#registers = registers;
    this.#frames = of.frames;
    this.#name = of.name;
    this.#slotBytes = of.isWide ? WIDE_BYTES : NARROW_BYTES;
    this.#slots = PAGE_BYTES / this.#slotBytes;
    this.#busy = new Words(this.#slots, 16);
    this.#batches = new KeptList(context.log);
    this.#faults = of.faults;
    this.#tail = new KeptValue(context.log, 0);
    this.#head = new KeptValue(context.log, 0);
    this.#timeouts = new KeptList(context.log);
    this.#room = new WaitQueue(`${of.name}: room in the invalidation queue`);
    this.#spin = of.progress ?? `${of.name}: wait for the invalidation queue`;
    context.platform.keep(this.#busy);
  }

  /** Switches the queue on, empty. */
  *start(): Task {
    this.#registers.write64(VTD_REGISTER.IQT, { QT: 0 });
    this.#registers.write64(VTD_REGISTER.IQA, {
      IQA: this.#frames.descriptors,
      DW: this.#isWide ? 1 : 0,
      QS: 0,
    });
    yield* this.#registers.enableQueue();
  }

  sync(
    descriptors: readonly Int32Array[],
    options?: { readonly drain?: boolean },
  ): Task<Refusal<'EIO'> | undefined> {
    const drain = options?.drain === true;
    return descriptors.length > MAX_BATCH
      ? this.#syncInParts(descriptors, drain)
      : this.#syncBatch(descriptors, drain);
  }

  *#syncInParts(descriptors: readonly Int32Array[], drain: boolean): Task<Refusal<'EIO'> | undefined> {
    let first = 0;
    for (; descriptors.length - first > MAX_BATCH; first += MAX_BATCH) {
      const refusal = yield* this.#syncBatch(descriptors.slice(first, first + MAX_BATCH), false);
      if (refusal !== undefined) return refusal;
    }
    return yield* this.#syncBatch(descriptors.slice(first), drain);
  }

  *#syncBatch(all: readonly Int32Array[], drain: boolean): Task<Refusal<'EIO'> | undefined> {
    let descriptors = all;
    const count = all.length + 1;
    for (let failures = 0; failures < TRIES; ) {
      if (!this.#hasRoom(count)) yield* this.#makeRoom(count);
      const batch = this.#submit(descriptors, drain);
      while (!this.#isOver(batch)) yield this.#spin;
      this.#leave(batch);
      if (batch.isRefused) return refuse('EIO', `${this.#name} refused an invalidation descriptor`);
      if (this.#timeouts.length === batch.timeouts) return undefined;
      const silent = this.#timeouts.items.slice(batch.timeouts);
      descriptors = descriptors.filter((each) => !this.#isGone(deviceOf(each)));
      // The others will have given up some time.
      if (descriptors.some((each) => silent.includes(deviceOf(each) ?? NOBODY))) failures++;
    }
    return refuse('EIO', `a device behind ${this.#name} does not answer invalidations`);
  }

  #isGone(rid: number | undefined): boolean {
    return rid !== undefined && !new PciDevice(this.#context, rid).isThere;
  }

  #hasRoom(count: number): boolean {
    return !this.#isAwaited(count) && this.#roomBehind(this.#head.value) >= count;
  }

  *#makeRoom(count: number): Task {
    while (this.#isAwaited(count)) yield this.#room;
    this.#head.value = this.#headSlot();
    if (this.#roomBehind(this.#head.value) >= count) return;
    // What stands in the way may be nobody's any more.
    this.#serve();
    yield `${this.#name}: wait for the head of the invalidation queue`;
    yield* this.#makeRoom(count);
  }

  /** A look at a batch's status: whether it is done, or a device has not answered. */
  #isOver(batch: Batch): boolean {
    if (this.#status(batch.last) === DONE) return true;
    this.#serve();
    // What came at the look for errors woke nobody.
    return this.#timeouts.length !== batch.timeouts || this.#status(batch.last) === DONE;
  }

  /** Nobody waits for a batch any more. */
  #leave(batch: Batch): void {
    this.#batches.remove(batch);
    const end = this.#next(batch.last);
    for (let slot = batch.first; slot !== end; slot = this.#next(slot)) this.#busy.set(slot, 0);
    // Hardware is past what is done; who waited for an earlier batch may come to know of it later.
    const isPast = !batch.isRefused && this.#timeouts.length === batch.timeouts;
    if (isPast && this.#roomBehind(end) > this.#roomBehind(this.#head.value)) this.#head.value = end;
    this.#room.wakeAll();
  }

  /** Puts a batch into the queue. There is room. */
  #submit(descriptors: readonly Int32Array[], drain: boolean): Batch {
    const { memory } = this.#context.platform;
    const first = this.#tail.value;
    let slot = first;
    for (const descriptor of descriptors) {
      this.#store(slot, descriptor);
      slot = this.#next(slot);
    }
    memory.store32(this.#statusAt(slot), PENDING);
    this.#store(slot, this.#waitFor(slot, drain));
    const tail = this.#next(slot);
    this.#tail.value = tail;
    const batch = { first, last: slot, timeouts: this.#timeouts.length, isRefused: false };
    this.#batches.push(batch);
    QT.set(this.#register, 0, tail * (this.#slotBytes / NARROW_BYTES));
    this.#registers.write64At(VTD_REGISTER.IQT.offset, this.#register);
    return batch;
  }

  /** The wait descriptor of a slot, until the next one. */
  #waitFor(slot: number, drain: boolean): Int32Array {
    const words = this.#waitWords;
    PD.set(words, 0, drain ? 1 : 0);
    // The bits below the field are zero, as those of the address are: its words are those of the address.
    const address = this.#statusAt(slot);
    words[STATUS_WORD] = address;
    words[STATUS_WORD + 1] = address / 2 ** 32;
    return words;
  }

  /** Does what an error of the queue asks for, by the unit's status; in an interrupt's context too. */
  recover(status: Int32Array): void {
    // Who sleeps has to look: this may be an interrupt that served it.
    if (this.#spin instanceof WaitQueue) this.#spin.wakeAll();
    if (FSTS_REG.IQE.get(status, 0) === 1) this.#replaceRefused();
    if (FSTS_REG.ITE.get(status, 0) === 0) return;
    const device = IQER_REG.ITESID.get(this.#registers.read64(VTD_REGISTER.IQER), 0);
    tell(this.#context, 'iommu:invalidation-timeout', { unit: this.#name, rid: device });
    this.#timeouts.push(device);
    this.#registers.write32(VTD_REGISTER.FSTS, { ITE: 1 });
  }

  #serve(): void {
    this.#faults.serve((status) => this.recover(status));
  }

  /**
   * Puts a descriptor that does nothing in the place of the one that hardware stands at. Its batch is refused, if
   * somebody waits for it still: who has seen a time-out does not.
   */
  #replaceRefused(): void {
    const head = this.#headSlot();
    const batch = this.#batches.items.find((each) => isIn(each, head));
    const { IQEI } = IQER_REG;
    const error = this.#registers.read64(VTD_REGISTER.IQER);
    const reason = IQEI.values[IQEI.get(error, 0)] ?? 'unknown';
    tell(this.#context, 'iommu:queue-error', { unit: this.#name, slot: head, reason });
    this.#put(head, encode(INVALIDATION_WAIT, { TYPE: INVALIDATION.WAIT, FN: 1 }));
    if (batch !== undefined) batch.isRefused = true;
    if (head === batch?.last) this.#context.platform.memory.store32(this.#statusAt(head), DONE);
    this.#registers.write32(VTD_REGISTER.FSTS, { IQE: 1 });
  }

  #store(slot: number, descriptor: Int32Array): void {
    this.#put(slot, descriptor);
    this.#busy.set(slot, 1);
  }

  #put(slot: number, descriptor: Int32Array): void {
    const { memory } = this.#context.platform;
    for (let word = 0; word < this.#slotBytes / 4; word += 2) {
      const at = paOf(this.#frames.descriptors, slot * this.#slotBytes + word * 4);
      memory.store64(at, descriptor[word] ?? 0, descriptor[word + 1] ?? 0);
    }
  }

  /** Whether somebody still waits for one of the next slots, or the one behind them. */
  #isAwaited(count: number): boolean {
    let slot = this.#tail.value;
    for (let i = 0; i <= count; i++) {
      if (this.#busy.words[slot] !== 0) return true;
      slot = this.#next(slot);
    }
    return false;
  }

  /** How many slots there are from the tail to where the head is. One stays free: a full queue would look empty. */
  #roomBehind(head: number): number {
    return (head - this.#tail.value - 1 + this.#slots) % this.#slots;
  }

  #headSlot(): number {
    const head = IQH_REG.QH.get(this.#registers.read64(VTD_REGISTER.IQH), 0);
    return head / (this.#slotBytes / NARROW_BYTES);
  }

  get #isWide(): boolean {
    return this.#slotBytes === WIDE_BYTES;
  }

  #next(slot: number): number {
    return slot + 1 === this.#slots ? 0 : slot + 1;
  }

  #status(slot: number): number {
    return this.#context.platform.memory.load32(this.#statusAt(slot));
  }

  #statusAt(slot: number): number {
    return paOf(this.#frames.status, slot * 4);
  }
}

/** The device that has to answer. */
function deviceOf(words: Int32Array): number | undefined {
  const type = DEVICE_TLB_INVALIDATION.TYPE.get(words, 0);
  if (type === INVALIDATION.DEVICE_TLB) return DEVICE_TLB_INVALIDATION.SID.get(words, 0);
  return type === INVALIDATION.PASID_DEVICE_TLB ? PASID_DEVICE_TLB_INVALIDATION.SID.get(words, 0) : undefined;
}

const isIn = ({ first, last }: Batch, slot: number): boolean =>
  first <= last ? slot >= first && slot <= last : slot >= first || slot <= last;
