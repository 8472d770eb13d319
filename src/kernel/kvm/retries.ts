/**
 * KVM's policy for an ENQCMD whose PASID is not translated: the guest sees the retry flag, as from a queue that is
 * full, and tries again; for somebody may be about to bind it. But not for ever: after so many exits of one CPU for one
 * PASID it gets #GP, and with that the process its signal. Processes that take turns on the CPU are counted each for
 * itself.
 */
import { KeptMap, type UndoLog } from '../../base/index.js';
import type { GuestPasid } from '../ids.js';
import type { ExitAction } from '../platform.js';

/** PASIDs that are counted at once: a guest that uses more is no heavier for it. */
const MOST = 256;

export class Retries {
  readonly #limit: number;
  /** How often a PASID was told to retry; the one that exited last comes last. */
  readonly #counts: KeptMap<GuestPasid, number>;

  constructor(log: UndoLog, limit: number) {
    this.#limit = limit;
    this.#counts = new KeptMap(log);
  }

  /** One more exit for a PASID. */
  exit(pasid: GuestPasid): ExitAction {
    const count = (this.#counts.get(pasid) ?? 0) + 1;
    this.#counts.delete(pasid);
    if (count > this.#limit) return 'general-protection';
    this.#counts.set(pasid, count);
    const [oldest] = this.#counts.size > MOST ? this.#counts.keys() : [];
    if (oldest !== undefined) this.#counts.delete(oldest);
    return 'retry';
  }

  /** The PASID is translated from now on. */
  translated(pasid: GuestPasid): void {
    this.#counts.delete(pasid);
  }
}
