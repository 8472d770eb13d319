/** What taps share: the ledger that they write, the rules and the listener that they tell. */
import type { Layer } from '../../../base/index.js';
import type { AcceptedJob, Judge, Ledger } from '../../../rules/index.js';
import type { Hardware } from '../hardware.js';
import type { KernelEvent } from '../platform.js';
import type { Aliases, Fields } from './names.js';

/** Told what the machine itself has to act on. */
export interface TapHooks {
  /** A device is done with a job; with status 0 it was thrown away. */
  jobDone(job: AcceptedJob): void;
  /** The kinds of kernels' events that it is to be told of. */
  readonly kinds: ReadonlySet<string>;
  /** Something of these happened in a kernel. */
  kernelEvent(event: KernelEvent, machine: string): void;
}

export interface Tapped {
  readonly ledger: Ledger;
  /** The rules. A `Bug` before they are there. */
  readonly judge: Judge;
  /** Whether anybody listens: if not, no event need be made. */
  readonly isTold: boolean;
  readonly hooks: TapHooks | undefined;
  /** Whether the rules are told what stores to PASID tables make of them. */
  readonly judgesStores: boolean;
  /** Undefined until it is built. */
  readonly hardware: Hardware | undefined;
  /** Of the host. */
  readonly aliases: Aliases;
  /** Who runs: a process, by the name that no other has, or another task, or the hardware. */
  readonly actor: string;
  /** A function, by the scenario's name. */
  nameOf(rid: number): string;
  /** Tells what happened, if anybody listens. */
  tell(layer: Layer, actor: string, kind: string, fields: Fields): void;
}
