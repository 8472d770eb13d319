/**
 * A unit's page request queue (VT-d 4.1, 7.4 to 7.6): an interrupt says that it has entries, and a task takes them
 * out, one after the other, each read once. Overflow is told and cleared once the queue is empty: what hardware
 * dropped meanwhile, it answered by itself.
 */
import { KeptValue, type Task, WaitQueue } from '../../../base/index.js';
import {
  PAGE_REQUEST_BYTES,
  PAGE_REQUEST_DESCRIPTOR,
  PAGE_REQUEST_TYPE,
  PQT_REG,
  PRS_REG,
  VTD_REGISTER,
} from '../../../spec/index.js';
import { type KernelContext, newInterrupt, tell } from '../../context.js';
import { PAGE_BYTES, Pasid, paOf } from '../../ids.js';
import type { PageRequest } from '../driver.js';
import { routeEvent } from './events.js';
import type { UnitRegisters } from './registers.js';

const ENTRIES = PAGE_BYTES / PAGE_REQUEST_BYTES;
const d = PAGE_REQUEST_DESCRIPTOR;

/** Where requests go. */
export interface PageRequestSink {
  take(request: PageRequest): Task;
  /** Some were lost; all that were not have been taken. */
  lost(): void;
}

export class PageRequestQueue {
  readonly #context: KernelContext;
  readonly #registers: UnitRegisters;
  readonly #name: string;
  readonly #frame: number;
  readonly #sink: PageRequestSink;
  /** The entry that is read next. */
  readonly #head: KeptValue<number>;
  readonly #isRunning: KeptValue<boolean>;
  readonly #tailWords = new Int32Array(2);
  /** Woken when the queue has been emptied. */
  readonly #emptied: WaitQueue;

  constructor(
    context: KernelContext,
    registers: UnitRegisters,
    of: {
      readonly name: string;
      readonly frame: number;
      readonly sink: PageRequestSink;
    },
  ) {
    this.#context = context;
    this.#registers = registers;
    this.#name = of.name;
    this.#frame = of.frame;
    this.#sink = of.sink;
    this.#head = new KeptValue(context.log, 0);
    this.#isRunning = new KeptValue(context.log, false);
    this.#emptied = new WaitQueue(`${of.name}: page request queue`);
  }

  /** Switches the queue on, empty. */
  start(): void {
    this.#registers.write64(VTD_REGISTER.PQH, { PQH: 0 });
    this.#registers.write64(VTD_REGISTER.PQT, { PQT: 0 });
    this.#registers.write64(VTD_REGISTER.PQA, { PQA: this.#frame, PQS: 0 });
    const message = newInterrupt(this.#context, () => this.#wake());
    const { PECTL, PEDATA, PEADDR, PEUADDR } = VTD_REGISTER;
    routeEvent(this.#registers, message, { control: PECTL, data: PEDATA, low: PEADDR, high: PEUADDR });
  }

  /** Returns when all that is in the queue now has gone to the sink. */
  *empty(): Task {
    while (!this.isEmpty) {
      this.#wake();
      yield this.#emptied;
    }
  }

  /** Whether all that is in the queue now has gone to the sink. */
  get isEmpty(): boolean {
    return !this.#isRunning.value && this.#tail() === this.#head.value;
  }

  /** In an interrupt's context too: starts the task, unless it runs. */
  #wake(): void {
    if (this.#isRunning.value) return;
    this.#isRunning.value = true;
    this.#context.tasks.spawn(`${this.#name} page requests`, this.#run());
  }

  *#run(): Task {
    for (;;) {
      const status = this.#registers.read32(VTD_REGISTER.PRS);
      // Before the tail is read: what comes after that raises an interrupt of its own, or is seen here.
      this.#registers.write32(VTD_REGISTER.PRS, { PPR: 1 });
      const tail = this.#tail();
      if (tail === this.#head.value) {
        if (PRS_REG.PRO.get(status, 0) === 0) break;
        this.#clearOverflow();
      }
      while (this.#head.value !== tail) {
        const request = this.#take();
        yield `${this.#name}: page request`;
        if (request !== undefined) yield* this.#sink.take(request);
      }
    }
    this.#isRunning.value = false;
    this.#emptied.wakeAll();
  }

  /** Takes one entry out; undefined for what is no page request. */
  #take(): PageRequest | undefined {
    const words = new Int32Array(PAGE_REQUEST_BYTES / 4);
    const at = paOf(this.#frame, this.#head.value * PAGE_REQUEST_BYTES);
    for (let word = 0; word < words.length; word += 2) {
      this.#context.platform.memory.load64(at + word * 4, words.subarray(word, word + 2));
    }
    this.#head.value = (this.#head.value + 1) % ENTRIES;
    this.#registers.write64(VTD_REGISTER.PQH, { PQH: this.#head.value });
    if (d.TYPE.get(words, 0) !== PAGE_REQUEST_TYPE) {
      tell(this.#context, 'iommu:page-request-unknown', { unit: this.#name, type: d.TYPE.get(words, 0) });
      return undefined;
    }
    return {
      rid: d.RID.get(words, 0),
      pasid: d.PP.get(words, 0) === 1 ? Pasid.of(d.PASID.get(words, 0)) : undefined,
      page: d.ADDR.get(words, 0),
      read: d.RD.get(words, 0) === 1,
      write: d.WR.get(words, 0) === 1,
      execute: d.EXR.get(words, 0) === 1,
      privileged: d.PMR.get(words, 0) === 1,
      group: d.PRGI.get(words, 0),
      isLast: d.LPIG.get(words, 0) === 1,
    };
  }

  /** The queue is empty, and until the overflow is cleared nothing comes. */
  #clearOverflow(): void {
    tell(this.#context, 'iommu:page-request-overflow', { unit: this.#name });
    this.#sink.lost();
    this.#registers.write32(VTD_REGISTER.PRS, { PRO: 1 });
  }

  #tail(): number {
    this.#registers.read64Into(VTD_REGISTER.PQT.offset, this.#tailWords);
    return PQT_REG.PQT.get(this.#tailWords, 0);
  }
}
