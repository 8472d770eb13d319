/**
 * A VMCS, as far as the path of a PASID needs it: the fields that VMWRITE takes, and what the CPU makes of them in
 * guest mode (Intel SDM volume 3, 25.6). Its layout in memory is the CPU's own affair. Left out: guest and host state,
 * checks at VM entry.
 */
import { Bug, hex, type Restorable } from '../../base/index.js';
import { EPT_POINTER, SECONDARY_CONTROL, VMCS_FIELD } from '../../spec/index.js';
import type { PasidDirectories } from './pasid-translation.js';

/** Why a CPU left guest mode: a basic exit reason. */
export interface CpuExit {
  readonly reason: number;
  /** Of ENQCMD and ENQCMDS: the guest's. */
  readonly pasid: number;
  /** Of EPT violations and misconfigurations: the guest's page, and whether it was to be written. */
  readonly gfn: number;
  readonly write: boolean;
}

/**
 * How it goes on: `skip` the instruction, with ZF = 1 (ENQCMD and ENQCMDS only); or inject #GP. An access only:
 * `resume`, which executes it again; `later`, which does so when others have had a turn; or `nobody`, which emulates it
 * as of an address where nothing answers.
 */
export type CpuExitAction = 'skip' | 'resume' | 'later' | 'nobody' | 'general-protection';

/** The host's code that an exit leads to. */
export type CpuExitHandler = (exit: CpuExit) => CpuExitAction;

interface VmcsState {
  eptRoot: number;
  controls: number;
  low: number;
  high: number;
  onExit: CpuExitHandler;
}

const FRAME = 2 ** 12;
const TWO_32 = 2 ** 32;

export class Vmcs implements PasidDirectories, Restorable {
  readonly #now: VmcsState = { eptRoot: 0, controls: 0, low: 0, high: 0, onExit: () => 'general-protection' };
  readonly #marked: VmcsState = { ...this.#now };

  /** Where exits lead. */
  get onExit(): CpuExitHandler {
    return this.#now.onExit;
  }
  set onExit(handler: CpuExitHandler) {
    this.#now.onExit = handler;
  }

  /** VMWRITE. A `Bug` for a field that this CPU does not have. */
  write(field: number, lo: number, hi: number): void {
    const now = this.#now;
    if (field === VMCS_FIELD.EPT_POINTER) now.eptRoot = EPT_POINTER.ADDR.get(Int32Array.of(lo, hi), 0);
    else if (field === VMCS_FIELD.LOW_PASID_DIRECTORY) now.low = frameOf(lo, hi);
    else if (field === VMCS_FIELD.HIGH_PASID_DIRECTORY) now.high = frameOf(lo, hi);
    else if (field === VMCS_FIELD.SECONDARY_CONTROLS) now.controls = lo;
    else throw new Bug(`VMWRITE of the field ${hex(field)}`);
  }

  /** VMREAD of the secondary controls: a set of {@link SECONDARY_CONTROL}. */
  get controls(): number {
    return this.#now.controls;
  }

  get hasEpt(): boolean {
    return (this.#now.controls & SECONDARY_CONTROL.ENABLE_EPT) !== 0;
  }

  /** The frame of the EPT's table of the highest level. */
  get eptRoot(): number {
    return this.#now.eptRoot;
  }

  get translatesPasids(): boolean {
    return (this.#now.controls & SECONDARY_CONTROL.PASID_TRANSLATION) !== 0;
  }

  /** Frames of the PASID directories. */
  get low(): number {
    return this.#now.low;
  }
  get high(): number {
    return this.#now.high;
  }

  mark(): void {
    Object.assign(this.#marked, this.#now);
  }

  restore(): void {
    Object.assign(this.#now, this.#marked);
  }
}

const frameOf = (lo: number, hi: number): number => Math.floor(((hi >>> 0) * TWO_32 + (lo >>> 0)) / FRAME);
