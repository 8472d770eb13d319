/**
 * The completion interrupts of a virtual device (Intel DSA 3.0, 3.7, 9.2.12 and 9.2.22; Scalable IOV 1.0, 3.4): to its
 * guest, MSI-X vectors with their permissions; each, once the guest has asked for a handle, stands for an entry of the
 * parent's interrupt message storage. The guest's descriptors name the host's handle, through a portal that leads
 * there.
 *
 * The guest writes its own PASID into a permission. What stands in the entry is the host's, of a PASID that is bound
 * through this virtual device, and only while it is: else nobody's descriptors may name it. A binding ends with a drain
 * of this device, so an entry needs no reference of its own.
 */
import { isRefusal, KeptMap, type Task } from '../../base/index.js';
import { DSA_MSIXPERM, DSA_COMMAND_ERROR as ERROR } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { GuestPasid, type Pasid } from '../ids.js';
import type { ImsEntry, InterruptStorage } from '../idxd/interrupt-storage.js';
import { IMS_OPERAND } from '../idxd/registers.js';
import type { BoundPasids } from './bound.js';

/** Of interrupt entries and handles, in the operands of commands. */
const MAX_INDEX = 0xffff;

/** What it needs of its virtual device. */
export interface InterruptTarget {
  readonly vectors: number;
  /** The permission that the guest has written: a word. */
  permission(vector: number): Int32Array;
  /** Sends the message of one of the guest's vectors. */
  deliver(vector: number): void;
}

/** How a command ended; `result` is a handle. */
export interface HandleResult {
  readonly error: number;
  readonly result: number;
}

export class VirtualInterrupts {
  readonly #storage: InterruptStorage;
  readonly #bound: BoundPasids;
  readonly #target: InterruptTarget;
  /** By vector. */
  readonly #entries: KeptMap<number, ImsEntry>;

  constructor(
    { log }: KernelContext,
    of: { readonly storage: InterruptStorage; readonly bound: BoundPasids },
    target: InterruptTarget,
  ) {
    this.#storage = of.storage;
    this.#bound = of.bound;
    this.#target = target;
    this.#entries = new KeptMap(log);
  }

  /** The guest has changed the permission of a vector, or what it named has been bound, or is not any more. */
  changed(vector: number): void {
    this.#entries.get(vector)?.permit(this.#permitted(vector));
  }

  /** A PASID is bound through the virtual device, which may have been named before. */
  newlyBound(): void {
    for (const vector of this.#entries.keys()) this.changed(vector);
  }

  /** The device has nothing of a PASID, and will have nothing of it. */
  drained(host: Pasid): void {
    for (const entry of this.#entries.values()) if (entry.pasid === host) entry.permit(undefined);
  }

  /** Request Interrupt Handle: of the parent's. A vector that has one keeps it. */
  *request(operand: number): Task<HandleResult> {
    if (operand > (IMS_OPERAND | MAX_INDEX)) return failed(ERROR.RESERVED_FIELD);
    // It has no interrupt message storage of its own.
    if (operand >= this.#target.vectors) return failed(ERROR.INTERRUPT_INDEX);
    const known = this.#entries.get(operand);
    if (known !== undefined) return { error: ERROR.SUCCESS, result: known.handle };
    const entry = yield* this.#storage.alloc(() => this.#target.deliver(operand));
    if (isRefusal(entry)) return failed(entry.errno === 'ENOSPC' ? ERROR.NO_HANDLE : ERROR.HARDWARE_ERROR);
    this.#entries.set(operand, entry);
    this.changed(operand);
    return { error: ERROR.SUCCESS, result: entry.handle };
  }

  /** Release Interrupt Handle. */
  *release(operand: number): Task<HandleResult> {
    if (operand > (IMS_OPERAND | MAX_INDEX)) return failed(ERROR.RESERVED_FIELD);
    for (const vector of this.#entries.keys()) {
      if (this.#entries.get(vector)?.handle !== operand) continue;
      const isFreed = yield* this.#free(vector);
      return isFreed ? { error: ERROR.SUCCESS, result: 0 } : failed(ERROR.HARDWARE_ERROR);
    }
    return failed(ERROR.INTERRUPT_INDEX);
  }

  /** Whether the guest has a handle. */
  get hasHandles(): boolean {
    return this.#entries.size > 0;
  }

  /** All handles are revoked. */
  *reset(): Task {
    for (const vector of this.#entries.keys()) yield* this.#free(vector);
  }

  *#free(vector: number): Task<boolean> {
    const entry = this.#entries.get(vector);
    if (entry === undefined) return true;
    this.#entries.delete(vector);
    return (yield* entry.free()) === undefined;
  }

  /** The PASID of the host's whose descriptors may name a vector. */
  #permitted(vector: number): Pasid | undefined {
    const words = this.#target.permission(vector);
    if (DSA_MSIXPERM.IGNORE.get(words, 0) === 1) return undefined;
    const hasPasid = DSA_MSIXPERM.PASID_EN.get(words, 0) === 1;
    return this.#bound.hostOf(hasPasid ? GuestPasid.of(DSA_MSIXPERM.PASID.get(words, 0)) : undefined);
  }
}

const failed = (error: number): HandleResult => ({ error, result: 0 });
