/**
 * Page frames: which of the machine's RAM are in use, by a bitmap; the lowest free one is handed out, so that what
 * was freed too early has a new owner at once. A virtual machine's memory is scattered instead, so that an address
 * that somebody forgot to translate leads to a stranger's frame. A frame comes zeroed. Who owns which frame is told to
 * a ledger, which only listens: rules are judged by it, the kernel never asks it. Left out: zones, NUMA, large pages.
 */
import {
  Bug,
  isRefusal,
  KeptValue,
  Random,
  type Refusal,
  refuse,
  type UndoLog,
  Words,
} from '../base/index.js';
import type { Platform } from './platform.js';

/** Whose a frame is: a process's page, or something of the kernel's own. */
export type FrameOwner =
  | { readonly kind: 'page'; readonly mm: string; readonly page: number }
  | { readonly kind: 'kernel'; readonly use: string };

/** Told of each change of a frame's owner. */
export interface FrameLedger {
  owned(frame: number, owner: FrameOwner): void;
  freed(frame: number): void;
}

export interface FramesOptions {
  readonly platform: Platform;
  readonly log: UndoLog;
  readonly ledger?: FrameLedger | undefined;
  /** Whether an allocation may fail when the run's choices say so, from {@link Frames.booted} on. */
  readonly mayFail?: boolean | undefined;
  /** Decides where scattered frames lie. */
  readonly seed?: number | undefined;
}

const RANDOM_WORDS = 4;
/** Of a frame's byte of holds: it has been freed, and goes with the last hold. */
const FREED = 0x80;
const MAX_HOLDS = 0x7f;

export class Frames {
  readonly #platform: Platform;
  readonly #ledger: FrameLedger | undefined;
  readonly #mayFail: boolean;
  /** A bit for each frame, by the order of the ranges; set if it is in use. */
  readonly #used: Words;
  readonly #total: number;
  /** All words before it are full. */
  readonly #firstFree: KeptValue<number>;
  readonly #inUse: KeptValue<number>;
  readonly #isBooted: KeptValue<boolean>;
  readonly #random: Random;
  /** The generator's state. */
  readonly #randomState = new Words(RANDOM_WORDS, RANDOM_WORDS);
  /** A byte for each frame: how many hold it, and {@link FREED}. There is none of it before the first hold. */
  readonly #holds = new Words(0, 16);

  constructor({ platform, log, ledger, mayFail, seed = 0 }: FramesOptions) {
    this.#platform = platform;
    this.#ledger = ledger;
    this.#mayFail = mayFail ?? false;
    this.#total = platform.memory.ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    this.#used = new Words((this.#total + 31) >>> 5, 16);
    this.#firstFree = new KeptValue(log, 0);
    this.#inUse = new KeptValue(log, 0);
    this.#isBooted = new KeptValue(log, false);
    this.#random = new Random(seed);
    this.#random.save(this.#randomState.words);
    platform.keep(this.#used);
    platform.keep(this.#randomState);
    platform.keep(this.#holds);
  }

  /** How many frames are in use. */
  get inUse(): number {
    return this.#inUse.value;
  }

  /** The boot is over: what may fail, may fail from now on. */
  booted(): void {
    this.#isBooted.value = true;
  }

  /** A zeroed frame for what a kernel cannot do without. A `Bug` if there is none. */
  allocAlways(owner: FrameOwner): number {
    const frame = this.alloc(owner);
    if (isRefusal(frame)) throw new Bug(frame.why);
    return frame;
  }

  /**
   * A zeroed frame.
   *
   * On failure: `ENOMEM` if none is free, or if the run's choices say so.
   */
  alloc(owner: FrameOwner): number | Refusal<'ENOMEM'> {
    return this.allocRun(1, owner);
  }

  /**
   * `count` zeroed frames, one after the other; a power of two, and the first is a multiple of it.
   *
   * On failure: as {@link Frames.alloc}.
   */
  allocRun(count: number, owner: FrameOwner): number | Refusal<'ENOMEM'> {
    if (this.#fails()) return refuse('ENOMEM', 'no page frame, by choice');
    const first = this.#find(count);
    if (first < 0) return refuse('ENOMEM', `no ${count} page frames in a row: ${this.inUse} are in use`);
    for (let i = 0; i < count; i++) this.#take(first + i, owner);
    return first;
  }

  /**
   * A zeroed frame from anywhere: the first that is free from a random one on.
   *
   * On failure: as {@link Frames.alloc}.
   */
  allocScattered(owner: FrameOwner): number | Refusal<'ENOMEM'> {
    if (this.#fails()) return refuse('ENOMEM', 'no page frame, by choice');
    if (this.inUse === this.#total) return refuse('ENOMEM', `no page frame: ${this.inUse} are in use`);
    let index = this.#below(this.#total);
    while (this.#isUsed(index)) index = (index + 1) % this.#total;
    const frame = this.#frameAt(index);
    this.#take(frame, owner);
    return frame;
  }

  /**
   * Keeps a frame in use, whoever frees it, until {@link Frames.release}: a device may reach it.
   *
   * On failure: `EOVERFLOW` after 127 times.
   */
  hold(frame: number): Refusal<'EOVERFLOW'> | undefined {
    this.#holds.grow((this.#total + 3) >>> 2);
    const index = this.#indexOf(frame);
    if (!this.#isUsed(index)) throw new Bug(`frame ${frame} is held, and is free`);
    const holds = this.#holdsOf(index);
    if ((holds & MAX_HOLDS) === MAX_HOLDS)
      return refuse('EOVERFLOW', `frame ${frame} is held ${MAX_HOLDS} times`);
    this.#setHolds(index, holds + 1);
    return undefined;
  }

  /** Ends one hold. A frame that has been freed meanwhile is free with the last one. */
  release(frame: number): void {
    const index = this.#indexOf(frame);
    const holds = this.#holdsOf(index);
    if ((holds & MAX_HOLDS) === 0) throw new Bug(`frame ${frame} is not held`);
    const isLast = holds === (FREED | 1);
    this.#setHolds(index, isLast ? 0 : holds - 1);
    if (isLast) this.free(frame);
  }

  /** Gives a frame back; one that is held goes with its last hold. A `Bug` if it is not in use. */
  free(frame: number): void {
    const index = this.#indexOf(frame);
    const holds = this.#holdsOf(index);
    if (!this.#isUsed(index) || holds >= FREED) throw new Bug(`frame ${frame} is freed twice`);
    if (holds > 0) {
      this.#setHolds(index, holds | FREED);
      return;
    }
    this.#setUsed(index, false);
    this.#inUse.value--;
    if (index >>> 5 < this.#firstFree.value) this.#firstFree.value = index >>> 5;
    this.#ledger?.freed(frame);
  }

  #fails(): boolean {
    return this.#mayFail && this.#isBooted.value && this.#platform.chooser.choose(2, 'page frame') === 1;
  }

  #take(frame: number, owner: FrameOwner): void {
    this.#setUsed(this.#indexOf(frame), true);
    this.#platform.memory.clear(frame);
    this.#inUse.value++;
    this.#ledger?.owned(frame, owner);
  }

  #below(n: number): number {
    this.#random.load(this.#randomState.words);
    const value = this.#random.below(n);
    this.#randomState.touch(0);
    this.#random.save(this.#randomState.words);
    return value;
  }

  /** The first of the lowest run that is free; -1 if there is none. */
  #find(count: number): number {
    const { words } = this.#used;
    let word = this.#firstFree.value;
    while (words[word] === -1) word++;
    if (word !== this.#firstFree.value) this.#firstFree.value = word;
    if (count === 1) return this.#frameAt((word << 5) + lowestClear(words[word] ?? 0));
    for (let index = word << 5, run = 0; index < this.#total; index++) {
      const frame = this.#frameAt(index);
      if (this.#isUsed(index) || (run === 0 && frame % count !== 0)) run = 0;
      else if (run > 0 && this.#frameAt(index - 1) !== frame - 1) run = frame % count === 0 ? 1 : 0;
      else run++;
      if (run === count) return frame - count + 1;
    }
    return -1;
  }

  #holdsOf(index: number): number {
    return ((this.#holds.words[index >>> 2] ?? 0) >>> ((index & 3) * 8)) & 0xff;
  }

  #setHolds(index: number, holds: number): void {
    const shift = (index & 3) * 8;
    const word = this.#holds.words[index >>> 2] ?? 0;
    this.#holds.set(index >>> 2, (word & ~(0xff << shift)) | (holds << shift));
  }

  /** -1 if there are not so many. */
  #frameAt(index: number): number {
    let left = index;
    for (const { first, last } of this.#platform.memory.ranges) {
      if (left <= last - first) return first + left;
      left -= last - first + 1;
    }
    return -1;
  }

  #indexOf(frame: number): number {
    let before = 0;
    for (const { first, last } of this.#platform.memory.ranges) {
      if (frame >= first && frame <= last) return before + frame - first;
      before += last - first + 1;
    }
    throw new Bug(`frame ${frame} is no RAM`);
  }

  #isUsed(index: number): boolean {
    return ((this.#used.words[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0;
  }

  #setUsed(index: number, used: boolean): void {
    const word = this.#used.words[index >>> 5] ?? 0;
    this.#used.set(index >>> 5, used ? word | (1 << (index & 31)) : word & ~(1 << (index & 31)));
  }
}

/** The lowest bit that is not set, of a word in which one is not. */
const lowestClear = (word: number): number => 31 - Math.clz32(~word & (word + 1));
