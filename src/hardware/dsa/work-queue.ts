/**
 * One work queue of an Intel DSA device: a ring of descriptors of 64 bytes, and the configuration that decides
 * what it accepts (Intel DSA Architecture Specification, 341204, revision 3.0, 3.3, 5.3 and 9.2.24). An entry is
 * free again when an engine has taken it.
 */
import { Bug, type Restorable, Words } from '../../base/index.js';
import {
  DSA_NOOP,
  DSA_WQ_MODE,
  DSA_WQ_STATE,
  DSA_WQCFG,
  type Register,
  type RegisterFile,
} from '../../spec/index.js';
import { NO_PASID } from '../vtd/request.js';

const { SIZE, THRESHOLD, MODE, BOF, ATS_DISABLE, PRS_DISABLE, PRIORITY } = DSA_WQCFG;
const { PASID, PASID_EN, PRIV, MAX_XFER_SHIFT, MAX_BATCH_SHIFT, OPS0 } = DSA_WQCFG;
const { PASID: DESCRIPTOR_PASID, PRIV: DESCRIPTOR_PRIV } = DSA_NOOP;
const OPS_WORD = OPS0.low / 32;

const NONE: readonly number[] = [];

/** Words of a descriptor. */
export const DESCRIPTOR_WORDS = 16;
/** A chunk of {@link Words} each: the descriptor, its tag, the table of its interrupt handle. */
const ENTRY_WORDS = 32;
const TAG_WORD = DESCRIPTOR_WORDS;
const TABLE_WORD = TAG_WORD + 1;

export class WorkQueue implements Restorable {
  readonly index: number;
  readonly #capacity: number;
  readonly #registers: RegisterFile;
  readonly #at: number;
  readonly #ring: Words;
  #now = {
    state: DSA_WQ_STATE.DISABLED as number,
    head: 0,
    count: 0,
    credits: 0,
    /** PASIDs of which records went to the event log after their last drain. */
    lost: NONE as readonly number[],
  };
  #marked = { ...this.#now };

  /**
   * @param config its WQCFG
   * @param registers the device's registers, which hold that
   * @param limits its index, and the entries of the device
   */
  constructor(config: Register, registers: RegisterFile, limits: { index: number; capacity: number }) {
    this.index = limits.index;
    this.#capacity = limits.capacity;
    this.#registers = registers;
    this.#at = config.at;
    this.#ring = new Words(limits.capacity * ENTRY_WORDS, ENTRY_WORDS);
  }

  /** One of DSA_WQ_STATE. */
  get state(): number {
    return this.#now.state;
  }
  set state(state: number) {
    this.#now.state = state;
    if (state === DSA_WQ_STATE.DISABLED) this.#now.lost = NONE;
  }

  /** Entries that are filled. */
  get occupancy(): number {
    return this.#now.count;
  }
  get size(): number {
    return SIZE.get(this.#registers.words, this.#at);
  }
  get isDedicated(): boolean {
    return MODE.get(this.#registers.words, this.#at) === DSA_WQ_MODE.DEDICATED;
  }
  get allowsBlockOnFault(): boolean {
    return BOF.get(this.#registers.words, this.#at) === 1;
  }
  get isAtsDisabled(): boolean {
    return ATS_DISABLE.get(this.#registers.words, this.#at) === 1;
  }
  get isPrsDisabled(): boolean {
    return PRS_DISABLE.get(this.#registers.words, this.#at) === 1;
  }
  get usesPasid(): boolean {
    return PASID_EN.get(this.#registers.words, this.#at) === 1;
  }
  get maxTransfer(): number {
    return (1 << MAX_XFER_SHIFT.get(this.#registers.words, this.#at)) >>> 0;
  }
  get maxBatch(): number {
    return 1 << MAX_BATCH_SHIFT.get(this.#registers.words, this.#at);
  }
  /** Whether it allows operations of this type, 0 to 255. */
  allows(opcode: number): boolean {
    const bits = this.#registers.words[this.#at + OPS_WORD + (opcode >>> 5)] ?? 0;
    return ((bits >>> (opcode & 31)) & 1) === 1;
  }

  /** The PASID of the requests for the descriptor at `words[at]`. */
  pasidOf(words: Int32Array, at: number): number {
    if (!this.usesPasid) return NO_PASID;
    return this.isDedicated ? PASID.get(this.#registers.words, this.#at) : DESCRIPTOR_PASID.get(words, at);
  }

  /** Whether the requests for the descriptor at `words[at]` are privileged; without a PASID none can say so. */
  isPrivileged(words: Int32Array, at: number): boolean {
    if (!this.usesPasid) return false;
    return (
      (this.isDedicated ? PRIV.get(this.#registers.words, this.#at) : DESCRIPTOR_PRIV.get(words, at)) === 1
    );
  }

  /** Whether one more may come, through a limited portal or an unlimited one. */
  hasRoom(isLimited: boolean): boolean {
    const size = this.size;
    if (!isLimited) return this.#now.count < size;
    return this.#now.count < Math.min(size, THRESHOLD.get(this.#registers.words, this.#at));
  }

  /**
   * Adds a descriptor. A `Bug` if there is no room.
   *
   * @param table where its interrupt handle leads
   */
  push(descriptor: Int32Array, tag: number, table = 0): void {
    const { head, count } = this.#now;
    if (count >= this.#capacity) throw new Bug(`WQ ${this.index} holds ${count} descriptors`);
    const at = ((head + count) % this.#capacity) * ENTRY_WORDS;
    this.#ring.touch(at);
    const { words } = this.#ring;
    for (let i = 0; i < DESCRIPTOR_WORDS; i++) words[at + i] = descriptor[i] ?? 0;
    words[at + TAG_WORD] = tag;
    words[at + TABLE_WORD] = table;
    this.#now.count = count + 1;
  }

  /** Where the interrupt handle of the oldest descriptor leads. */
  get nextTable(): number {
    return this.#ring.words[this.#now.head * ENTRY_WORDS + TABLE_WORD] ?? 0;
  }

  /**
   * Takes the oldest descriptor out.
   *
   * @param into takes its 16 words
   * @returns its tag
   */
  shift(into: Int32Array): number {
    const { head, count } = this.#now;
    if (count === 0) throw new Bug(`WQ ${this.index} is empty`);
    const at = head * ENTRY_WORDS;
    const { words } = this.#ring;
    for (let i = 0; i < DESCRIPTOR_WORDS; i++) into[i] = words[at + i] ?? 0;
    this.#now.head = (head + 1) % this.#capacity;
    this.#now.count = count - 1;
    return words[at + TAG_WORD] ?? 0;
  }

  /** Whether it holds a descriptor with this PASID ({@link ANY_PASID} for all) and a tag of at most `last`. */
  holds(pasid: number, last: number): boolean {
    const { head, count } = this.#now;
    const { words } = this.#ring;
    for (let i = 0; i < count; i++) {
      const at = ((head + i) % this.#capacity) * ENTRY_WORDS;
      const matches = pasid === ANY_PASID || this.pasidOf(words, at) === pasid;
      if (matches && (words[at + TAG_WORD] ?? 0) <= last) return true;
    }
    return false;
  }

  /** Throws out the descriptors with this PASID ({@link ANY_PASID} for all), and tells their tags. */
  discard(pasid: number, told: (tag: number) => void): void {
    const descriptor = new Int32Array(DESCRIPTOR_WORDS);
    for (let left = this.#now.count; left > 0; left--) {
      const table = this.nextTable;
      const tag = this.shift(descriptor);
      if (pasid === ANY_PASID || this.pasidOf(descriptor, 0) === pasid) told(tag);
      else this.push(descriptor, tag, table);
    }
  }

  /** A record of this PASID is in the event log, and not where it should be. */
  loseRecord(pasid: number): void {
    if (!this.#now.lost.includes(pasid)) this.#now.lost = [...this.#now.lost, pasid];
  }

  /** Whether records of this PASID went to the event log since a drain asked last. */
  takeLost(pasid: number): boolean {
    if (!this.#now.lost.includes(pasid)) return false;
    this.#now.lost = this.#now.lost.filter((other) => other !== pasid);
    return true;
  }

  /** How many more it may dispatch in this round of its group's arbiter. */
  get credits(): number {
    return this.#now.credits;
  }
  spendCredit(): void {
    this.#now.credits--;
  }
  refillCredits(): void {
    this.#now.credits = PRIORITY.get(this.#registers.words, this.#at);
  }

  mark(): void {
    this.#ring.mark();
    Object.assign(this.#marked, this.#now);
  }

  restore(): void {
    this.#ring.restore();
    Object.assign(this.#now, this.#marked);
  }
}

/** For {@link WorkQueue.holds} and {@link WorkQueue.discard}: whatever its PASID. */
export const ANY_PASID = -2;
