/**
 * Invalidation by registers (VT-d 4.1, 6.5.1), for units in legacy mode that have no queue: context cache by CCMD,
 * IOTLB by IVA and IOTLB. One at a time; what has to be done is told by the descriptors that a queue would be given.
 * Hardware may do more than it is asked, and says so; that it did nothing is an error. Such a unit has no device TLBs
 * behind it.
 */
import { assert, type Refusal, refuse, type Task } from '../../../base/index.js';
import {
  CCMD_REG,
  CONTEXT_CACHE_INVALIDATION,
  INVALIDATION,
  IOTLB_GRANULARITY,
  IOTLB_INVALIDATION,
  IOTLB_REG,
  iotlbRegisters,
  type Register,
  VTD_REGISTER,
} from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { Mutex } from '../../mutex.js';
import type { Invalidator } from './invalidator.js';
import type { UnitRegisters } from './registers.js';

const context = CONTEXT_CACHE_INVALIDATION;
const iotlb = IOTLB_INVALIDATION;
/** CAIG and IAIG of a request that hardware did not understand. */
const NOTHING = 0;

export class RegisterInvalidations implements Invalidator {
  readonly #registers: UnitRegisters;
  readonly #name: string;
  readonly #iva: Register;
  readonly #iotlb: Register;
  readonly #lock: Mutex;

  /** @param of `iro`: ECAP.IRO */
  constructor(
    { log }: KernelContext,
    registers: UnitRegisters,
    of: { readonly name: string; readonly iro: number },
  ) {
    const { IVA, IOTLB } = iotlbRegisters(of.iro);
    this.#registers = registers;
    this.#name = of.name;
    this.#iva = IVA;
    this.#iotlb = IOTLB;
    this.#lock = new Mutex(log, `${of.name} invalidation`);
  }

  /** There is nothing to be made ready. */
  *start(): Task {}

  /** Only a queue has errors. */
  recover(): void {}

  *sync(descriptors: readonly Int32Array[]): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      for (const descriptor of descriptors) {
        const done = yield* this.#do(descriptor);
        if (done === NOTHING) return refuse('EIO', `${this.#name} refused an invalidation by register`);
      }
    } finally {
      this.#lock.unlock();
    }
    return undefined;
  }

  /** The granularity of what was done. */
  *#do(descriptor: Int32Array): Task<number> {
    const type = context.TYPE.get(descriptor, 0);
    if (type === INVALIDATION.CONTEXT_CACHE) return yield* this.#contexts(descriptor);
    assert(type === INVALIDATION.IOTLB, `${this.#name} has no register for descriptors of type ${type}`);
    return yield* this.#translations(descriptor);
  }

  *#contexts(descriptor: Int32Array): Task<number> {
    this.#registers.write64(VTD_REGISTER.CCMD, {
      ICC: 1,
      CIRG: context.G.get(descriptor, 0),
      FM: context.FM.get(descriptor, 0),
      SID: context.SID.get(descriptor, 0),
      DID: context.DID.get(descriptor, 0),
    });
    for (;;) {
      const now = this.#registers.read64(VTD_REGISTER.CCMD);
      if (CCMD_REG.ICC.get(now, 0) === 0) return CCMD_REG.CAIG.get(now, 0);
      yield 'vtd: context command';
    }
  }

  *#translations(descriptor: Int32Array): Task<number> {
    const granularity = iotlb.G.get(descriptor, 0);
    // The command takes its address from there.
    if (granularity === IOTLB_GRANULARITY.PAGE) {
      this.#registers.write64(this.#iva, {
        AM: iotlb.AM.get(descriptor, 0),
        IH: iotlb.IH.get(descriptor, 0),
        ADDR: iotlb.ADDR.get(descriptor, 0),
      });
    }
    this.#registers.write64(this.#iotlb, {
      IVT: 1,
      IIRG: granularity,
      DR: iotlb.DR.get(descriptor, 0),
      DW: iotlb.DW.get(descriptor, 0),
      DID: iotlb.DID.get(descriptor, 0),
    });
    for (;;) {
      const now = this.#registers.read64(this.#iotlb);
      if (IOTLB_REG.IVT.get(now, 0) === 0) return IOTLB_REG.IAIG.get(now, 0);
      yield 'vtd: IOTLB command';
    }
  }
}
