/**
 * The PASIDs that are bound through one virtual device: what its registers may name. That a PASID is its VM's is not
 * enough (bug B11).
 */
import { KeptMap, type UndoLog } from '../../base/index.js';
import type { GuestPasid, Pasid } from '../ids.js';

/** What is bound: `guest` undefined for what stands for requests without a PASID. */
interface Binding {
  readonly guest: GuestPasid | undefined;
  readonly host: Pasid;
}

export class BoundPasids {
  /** The guest's numbers, by the host's. */
  readonly #guests: KeptMap<Pasid, GuestPasid | undefined>;

  constructor(log: UndoLog) {
    this.#guests = new KeptMap(log);
  }

  add({ guest, host }: Binding): void {
    this.#guests.set(host, guest);
  }

  remove(host: Pasid): void {
    this.#guests.delete(host);
  }

  /** The host's number behind a guest's, or behind none; the last one, while one before it is on its way out. */
  hostOf(guest: GuestPasid | undefined): Pasid | undefined {
    return this.#guests.keys().findLast((host) => this.#guests.get(host) === guest);
  }

  has(host: Pasid): boolean {
    return this.#guests.has(host);
  }

  /** By the host's numbers. */
  get hosts(): readonly Pasid[] {
    return this.#guests.keys();
  }
}
