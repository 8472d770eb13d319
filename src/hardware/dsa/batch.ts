/**
 * The batch that an engine works on: its descriptor, put aside while those of its list are worked on, and what has
 * come of them (Intel DSA Architecture Specification, 341204, revision 3.0, 3.8 and 8.3.2). Without a fence their order
 * is open: a descriptor may be put off, so that the next goes before it. A real engine works on more of them at once.
 */
import type { Restorable } from '../../base/index.js';
import { DSA_BATCH } from '../../spec/index.js';
import { DESCRIPTOR_WORDS } from './work-queue.js';

const { COUNT } = DSA_BATCH;

const NOBODY = -1;

const none = () => ({
  isOpen: false,
  /** How many descriptors are done. */
  done: 0,
  /** Which is fetched next, which is worked on, which is put off. */
  next: 0,
  current: 0,
  putOff: NOBODY,
  hasFailed: false,
  /** Whether the record of one is in the event log. */
  hasLost: false,
});

export class Batch implements Restorable {
  readonly now = none();
  readonly #descriptor = new Int32Array(DESCRIPTOR_WORDS);
  readonly #putOff = new Int32Array(DESCRIPTOR_WORDS);
  readonly #marked = { now: none(), descriptor: this.#descriptor.slice(), putOff: this.#putOff.slice() };

  /** Begins with a batch descriptor that has passed its checks. */
  open(descriptor: Int32Array): void {
    this.#descriptor.set(descriptor);
    this.now.isOpen = true;
    this.now.done = 0;
    this.now.next = 0;
    this.now.current = 0;
    this.now.putOff = NOBODY;
    this.now.hasFailed = false;
    this.now.hasLost = false;
  }

  /** Puts the batch descriptor where descriptors are worked on. */
  present(into: Int32Array): void {
    into.set(this.#descriptor);
  }

  /** The descriptor that was fetched is worked on. */
  take(): void {
    this.now.current = this.now.next++;
  }

  get hasPutOff(): boolean {
    return this.now.putOff !== NOBODY;
  }

  /** Whether the one that was fetched may be put off: it is not the last, and no other is. */
  get mayPutOff(): boolean {
    return !this.hasPutOff && this.now.next + 1 < COUNT.get(this.#descriptor, 0);
  }

  /** Keeps the one that was fetched for later. */
  putOff(descriptor: Int32Array): void {
    this.#putOff.set(descriptor);
    this.now.putOff = this.now.next++;
  }

  /** The one that was put off is worked on. */
  resume(into: Int32Array): void {
    into.set(this.#putOff);
    this.now.current = this.now.putOff;
    this.now.putOff = NOBODY;
  }

  /** One of the list is done. */
  advance(isSuccess: boolean): void {
    this.now.done++;
    if (!isSuccess) this.now.hasFailed = true;
  }

  /** Whether all of the list are done. */
  get isOver(): boolean {
    return this.now.done === COUNT.get(this.#descriptor, 0);
  }

  close(): void {
    this.now.isOpen = false;
  }

  mark(): void {
    Object.assign(this.#marked.now, this.now);
    this.#marked.descriptor.set(this.#descriptor);
    this.#marked.putOff.set(this.#putOff);
  }

  restore(): void {
    Object.assign(this.now, this.#marked.now);
    this.#descriptor.set(this.#marked.descriptor);
    this.#putOff.set(this.#marked.putOff);
  }
}
