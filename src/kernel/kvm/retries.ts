/**
 * KVM's policy for an ENQCMD whose PASID is not translated: the guest sees the retry flag, as from a queue that is
 * full, and tries again; for somebody may be about to bind it. But not for ever: after so many exits in a row of one
 * CPU for one PASID it gets #GP, and with that the process its signal.
 */
import { KeptValue, type UndoLog } from '../../base/index.js';
import type { GuestPasid } from '../ids.js';
import type { ExitAction } from '../platform.js';

const NONE = { pasid: -1, count: 0 } as const;

export class Retries {
  readonly #limit: number;
  readonly #now: KeptValue<{ readonly pasid: number; readonly count: number }>;

  constructor(log: UndoLog, limit: number) {
    this.#limit = limit;
    this.#now = new KeptValue<{ readonly pasid: number; readonly count: number }>(log, NONE);
  }

  /** One more exit for a PASID. */
  exit(pasid: GuestPasid): ExitAction {
    const { value } = this.#now;
    const count = value.pasid === pasid ? value.count + 1 : 1;
    this.#now.value = count > this.#limit ? NONE : { pasid, count };
    return count > this.#limit ? 'general-protection' : 'retry';
  }

  /** The PASID is translated from now on. */
  translated(pasid: GuestPasid): void {
    if (this.#now.value.pasid === pasid) this.#now.value = NONE;
  }
}
