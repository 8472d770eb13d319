/**
 * Completion interrupts of an accelerator (Intel DSA 3.0, 3.7 and 9.2.22; Linux's `idxd_wq_request_irq`): an MSI-X
 * vector for an open queue, which descriptors of its PASID alone may name, by a handle. On a virtual device the same
 * registers lead to an entry of the parent's interrupt message storage. The first vector is the device's own.
 *
 * Who waits counts interrupts: one may come between a look at the completion record and the sleep. Left out: the CPU's
 * user interrupts; affinity.
 */
import {
  isRefusal,
  KeptList,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  type UndoLog,
  WaitQueue,
} from '../../base/index.js';
import { DSA_GENCFG_REG, DSA_MSIXPERM, encode } from '../../spec/index.js';
import { hasVectors, type KernelContext, newInterrupt, tell } from '../context.js';
import type { Pasid } from '../ids.js';
import { type InterruptMessage, maskVector, routeVector } from '../msix.js';
import { type DsaRegisters, REGISTER } from './registers.js';

/** The vector of errors and commands. */
const DEVICE_VECTORS = 1;

type InterruptErrno = 'ENODEV' | 'ENOSPC' | 'EIO';

/** A vector, from now on somebody's or again nobody's. */
interface Vector {
  readonly vector: number;
  /** Where it leads: for good, whoever has it. */
  readonly message: InterruptMessage;
  readonly owner: KeptValue<CompletionInterrupt | undefined>;
  readonly isTaken: KeptValue<boolean>;
}

/** An interrupt that descriptors of one PASID may ask for. */
export class CompletionInterrupt {
  /** @internal */
  readonly vector: number;
  /** @internal */
  readonly pasid: Pasid;
  readonly #handle: KeptValue<number>;
  readonly #count: KeptValue<number>;
  readonly #came: WaitQueue;

  /** @internal */
  constructor(
    log: UndoLog,
    of: { readonly name: string; readonly vector: number; readonly pasid: Pasid; readonly handle: number },
  ) {
    this.#handle = new KeptValue(log, of.handle);
    this.vector = of.vector;
    this.pasid = of.pasid;
    this.#count = new KeptValue(log, 0);
    this.#came = new WaitQueue(`interrupt of ${of.name}`);
  }

  /** What they name it by: another one, after a reset of the device. */
  get handle(): number {
    return this.#handle.value;
  }
  /** @internal */
  set handle(handle: number) {
    this.#handle.value = handle;
  }

  /** How often it has come. */
  get count(): number {
    return this.#count.value;
  }

  /** Sleeps until it has come more often than `count` times. */
  *wait(count: number): Task {
    while (this.#count.value <= count) yield this.#came;
  }

  /** @internal */
  came(): void {
    this.#count.value++;
    this.#came.wakeAll();
  }
}

/** A function's MSI-X vectors. */
export interface MsixTable {
  /** Its address. */
  readonly table: number;
  readonly vectors: number;
}

export class CompletionInterrupts {
  readonly #context: KernelContext;
  readonly #registers: DsaRegisters;
  readonly #name: string;
  readonly #msix: MsixTable | undefined;
  readonly #vectors: KeptList<Vector>;

  /** @param of `msix`: undefined if it has no vectors */
  constructor(
    context: KernelContext,
    registers: DsaRegisters,
    of: { readonly name: string; readonly msix: MsixTable | undefined },
  ) {
    this.#context = context;
    this.#registers = registers;
    this.#name = of.name;
    this.#msix = of.msix;
    this.#vectors = new KeptList(context.log);
  }

  /**
   * Gives a vector to descriptors of a PASID.
   *
   * On failure: `ENODEV` if users may not ask for interrupts; `ENOSPC` if all vectors or handles are given out; `EIO`.
   */
  *request(pasid: Pasid, name: string): Task<CompletionInterrupt | Refusal<InterruptErrno>> {
    const general = this.#registers.read(REGISTER.GENCFG);
    if (DSA_GENCFG_REG.USER_INT.get(general, 0) === 0) {
      return refuse('ENODEV', `descriptors of users may not ask for interrupts on ${this.#name}`);
    }
    const free = this.#freeVector();
    if (isRefusal(free)) return free;
    const { vector, message, owner, isTaken } = free;
    isTaken.value = true;
    this.#permit(vector, pasid);
    const handle = yield* this.#registers.requestHandle(vector);
    if (isRefusal(handle)) {
      this.#permit(vector, undefined);
      isTaken.value = false;
      return handle;
    }
    const interrupt = new CompletionInterrupt(this.#context.log, { name, vector, pasid, handle });
    owner.value = interrupt;
    if (this.#msix !== undefined) routeVector(this.#context, this.#msix.table, { vector, ...message });
    tell(this.#context, 'idxd:interrupt', { device: this.#name, vector, handle, pasid });
    return interrupt;
  }

  /**
   * Takes it back. The device has nothing of its PASID any more.
   *
   * On failure: `EIO`; it is nobody's all the same.
   */
  *release({ vector, handle }: CompletionInterrupt): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#registers.releaseHandle(handle);
    this.#permit(vector, undefined);
    if (this.#msix !== undefined) maskVector(this.#context, this.#msix.table, vector);
    const found = this.#vectors.items.find((each) => each.vector === vector);
    if (found !== undefined) {
      found.owner.value = undefined;
      found.isTaken.value = false;
    }
    return refusal;
  }

  /**
   * After a reset of the device, which has revoked all handles: who has a vector has one for it again.
   *
   * On failure: `EIO`, or `ENOSPC` if there are not so many any more.
   */
  *restore(): Task<Refusal<'ENOSPC' | 'EIO'> | undefined> {
    for (const { vector, owner } of this.#vectors.items) {
      const interrupt = owner.value;
      if (interrupt === undefined) continue;
      this.#permit(vector, interrupt.pasid);
      const handle = yield* this.#registers.requestHandle(vector);
      if (isRefusal(handle)) return handle;
      interrupt.handle = handle;
    }
    return undefined;
  }

  /** An interrupt that the device could not send, for the record before it could not be written. */
  came(handle: number): void {
    for (const { owner } of this.#vectors.items) if (owner.value?.handle === handle) owner.value.came();
  }

  #freeVector(): Vector | Refusal<'ENOSPC'> {
    const found = this.#vectors.items.find(({ isTaken }) => !isTaken.value);
    if (found !== undefined) return found;
    const vector = DEVICE_VECTORS + this.#vectors.length;
    if (vector >= (this.#msix?.vectors ?? 0) || !hasVectors(this.#context)) {
      return refuse('ENOSPC', `${this.#name} has no interrupt vector left`);
    }
    const { log } = this.#context;
    const owner = new KeptValue<CompletionInterrupt | undefined>(log, undefined);
    const message = newInterrupt(this.#context, () => owner.value?.came());
    const made: Vector = { vector, message, owner, isTaken: new KeptValue(log, false) };
    this.#vectors.push(made);
    return made;
  }

  #permit(vector: number, pasid: Pasid | undefined): void {
    const of = pasid === undefined ? { IGNORE: 1 } : { PASID_EN: 1, PASID: pasid };
    this.#registers.writeAt(this.#registers.msixPermAt(vector), encode(DSA_MSIXPERM, of));
  }
}
