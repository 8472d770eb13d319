/**
 * KVM: virtual machines on the CPUs of this machine, as far as the path of a PASID needs it. Left out: everything
 * that a guest's CPU has beside memory and PASIDs; scheduling, for each vCPU has a CPU of its own.
 */
import { type Refusal, refuse } from '../../base/index.js';
import type { IoasidCore } from '../../ioasid/index.js';
import type { KernelContext } from '../context.js';
import type { AddressSpace } from '../mm/address-space.js';
import { KvmVm } from './vm.js';

export interface KvmOptions {
  /** How often in a row a CPU is told to retry ENQCMD for one PASID that is not translated; 1000, if not given. */
  readonly retries?: number;
}

const RETRIES = 1000;

export class Kvm {
  readonly #context: KernelContext;
  readonly #ioasids: IoasidCore;

  constructor(context: KernelContext, ioasids: IoasidCore) {
    this.#context = context;
    this.#ioasids = ioasids;
  }

  /**
   * A VM whose memory is of `mm`, which is also the token of the set that its PASIDs are of.
   *
   * On failure: `ENODEV` if the CPUs have no guest mode; `ESRCH` if the memory is gone; `ENOMEM`.
   */
  createVm(
    mm: AddressSpace,
    name: string,
    { retries = RETRIES }: KvmOptions = {},
  ): KvmVm | Refusal<'ENODEV' | 'ESRCH' | 'ENOMEM'> {
    const { vmx } = this.#context.platform;
    if (vmx === undefined) return refuse('ENODEV', `${this.#context.name} has no CPUs with guest mode`);
    if (!mm.isAlive) return refuse('ESRCH', `${mm.name} is gone`);
    return KvmVm.create(this.#context, { name, mm, vmx, ioasids: this.#ioasids, retries });
  }
}
