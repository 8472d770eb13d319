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
  readonly #guests: KeptMap<Pasid, GuestPasid | undefined>;
  readonly #hosts: KeptMap<GuestPasid | undefined, Pasid>;

  constructor(log: UndoLog) {
    this.#guests = new KeptMap(log);
    this.#hosts = new KeptMap(log);
  }

  add({ guest, host }: Binding): void {
    this.#guests.set(host, guest);
    this.#hosts.set(guest, host);
  }

  remove(host: Pasid): void {
    if (!this.#guests.has(host)) return;
    const guest = this.#guests.get(host);
    this.#guests.delete(host);
    if (this.#hosts.get(guest) === host) this.#hosts.delete(guest);
  }

  /** The host's number behind a guest's, or behind none. */
  hostOf(guest: GuestPasid | undefined): Pasid | undefined {
    return this.#hosts.get(guest);
  }

  has(host: Pasid): boolean {
    return this.#guests.has(host);
  }

  /** By the host's numbers. */
  get hosts(): readonly Pasid[] {
    return this.#guests.keys();
  }
}
