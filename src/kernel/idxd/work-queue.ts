/**
 * One work queue of an accelerator, as its driver keeps it: how it is configured, who has it open, and the few
 * commands about it. A user's queue is never enabled without PASIDs: it would work with the kernel's addresses (bug
 * G2).
 */
import { KeptValue, type Refusal, type Task } from '../../base/index.js';
import {
  DSA_COMMAND,
  DSA_PORTAL,
  DSA_WQ_MODE,
  DSA_WQ_PORTAL_BYTES,
  DSA_WQCFG,
  encode,
} from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import type { Pasid } from '../ids.js';
import type { DsaRegisters, Unstick } from './registers.js';

/** How the administrator wants a work queue. */
export interface WqConfig {
  readonly mode: 'shared' | 'dedicated';
  /** Entries. */
  readonly size: number;
  /** Of a shared one: how many entries a limited portal may fill; all by default. */
  readonly threshold?: number;
  /** Whether descriptors may wait for a page that is not present. */
  readonly blockOnFault?: boolean;
  /** 1 to 15. */
  readonly priority?: number;
  /** Whether a page that is not there is asked for; if not, there has to be an event log. True by default. */
  readonly pageRequests?: boolean;
}

/** Largest transfer and batch of a descriptor, as powers of two. */
export interface WqLimits {
  readonly maxTransferShift: number;
  readonly maxBatchShift: number;
}

const QUEUES_PER_COMMAND = 16;
/** Of a queue's configuration, what it does not report by itself. */
const CONFIG_BYTES = 16;

/** How a queue is configured, as the device says. */
export function readWqConfig(registers: DsaRegisters, index: number): WqConfig {
  const words = registers.readAt(registers.wqcfgAt(index), CONFIG_BYTES);
  const isShared = DSA_WQCFG.MODE.get(words, 0) === DSA_WQ_MODE.SHARED;
  return {
    mode: isShared ? 'shared' : 'dedicated',
    size: DSA_WQCFG.SIZE.get(words, 0),
    ...(isShared ? { threshold: DSA_WQCFG.THRESHOLD.get(words, 0) } : {}),
    blockOnFault: DSA_WQCFG.BOF.get(words, 0) === 1,
    pageRequests: DSA_WQCFG.PRS_DISABLE.get(words, 0) === 0,
    priority: DSA_WQCFG.PRIORITY.get(words, 0),
  };
}

export class WorkQueue {
  readonly index: number;
  readonly name: string;
  readonly config: WqConfig;
  /** How many open files it has. */
  readonly clients: KeptValue<number>;
  readonly #registers: DsaRegisters;
  readonly #limits: WqLimits;
  readonly #isEnabled: KeptValue<boolean>;
  /** What its configuration has. */
  readonly #pasid: KeptValue<Pasid | undefined>;

  constructor(
    { log }: KernelContext,
    registers: DsaRegisters,
    of: {
      readonly index: number;
      readonly name: string;
      readonly config: WqConfig;
      readonly limits: WqLimits;
    },
  ) {
    this.index = of.index;
    this.name = of.name;
    this.config = of.config;
    this.#limits = of.limits;
    this.#registers = registers;
    this.clients = new KeptValue(log, 0);
    this.#isEnabled = new KeptValue(log, false);
    this.#pasid = new KeptValue<Pasid | undefined>(log, undefined);
  }

  get isDedicated(): boolean {
    return this.config.mode === 'dedicated';
  }

  get isEnabled(): boolean {
    return this.#isEnabled.value;
  }

  /** The offset in BAR2 of its portals. */
  get firstPortal(): number {
    return this.index * DSA_WQ_PORTAL_BYTES;
  }

  /** The offset in BAR2 of the portal that its users write to. */
  get portalOffset(): number {
    return this.firstPortal + (this.isDedicated ? DSA_PORTAL.UNLIMITED : DSA_PORTAL.LIMITED);
  }

  /** Writes its configuration. A dedicated one works with `pasid`, if it has one by now; a shared one takes all. */
  configure(pasid: Pasid | undefined): void {
    this.#pasid.value = pasid;
    const { mode, size, threshold = size, blockOnFault = false, priority = 1 } = this.config;
    const { pageRequests = true } = this.config;
    const usesPasids = mode === 'shared' || pasid !== undefined;
    const words = encode(DSA_WQCFG, {
      SIZE: size,
      THRESHOLD: mode === 'shared' ? threshold : 0,
      MODE: mode === 'shared' ? DSA_WQ_MODE.SHARED : DSA_WQ_MODE.DEDICATED,
      BOF: blockOnFault ? 1 : 0,
      PRS_DISABLE: pageRequests ? 0 : 1,
      PRIORITY: priority,
      PASID: pasid ?? 0,
      PASID_EN: usesPasids ? 1 : 0,
      MAX_XFER_SHIFT: this.#limits.maxTransferShift,
      MAX_BATCH_SHIFT: this.#limits.maxBatchShift,
    });
    this.#registers.writeAt(this.#registers.wqcfgAt(this.index), words.subarray(0, 4));
  }

  /** After a reset of the device: it is configured as it was before. */
  reconfigure(): void {
    this.configure(this.#pasid.value);
  }

  *enable(): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#registers.command(DSA_COMMAND.ENABLE_WQ, this.index);
    this.#isEnabled.value = refusal === undefined;
    return refusal;
  }

  /** @param unstick of this and others: what to do once the device has taken long */
  *disable(unstick?: Unstick): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#registers.quiesce(DSA_COMMAND.DISABLE_WQ, this.#bit, unstick);
    if (refusal === undefined) this.#isEnabled.value = false;
    return refusal;
  }

  /** Returns when all that it took in before is done. */
  *drain(unstick?: Unstick): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#registers.quiesce(DSA_COMMAND.DRAIN_WQ, this.#bit, unstick);
  }

  /** Returns when all that it took in before is done, or was thrown away. */
  *abort(unstick?: Unstick): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#registers.quiesce(DSA_COMMAND.ABORT_WQ, this.#bit, unstick);
  }

  /** Names it in commands that take several: a group of 16 queues, and a bit for each. */
  get #bit(): number {
    const group = Math.floor(this.index / QUEUES_PER_COMMAND);
    return group * 2 ** 16 + 2 ** (this.index % QUEUES_PER_COMMAND);
  }
}
