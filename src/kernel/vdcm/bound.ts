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
  /** The host's numbers behind one of the guest's, in their order: several while all but the last are on their way out. */
  readonly #hosts: KeptMap<GuestPasid | undefined, readonly Pasid[]>;

  constructor(log: UndoLog) {
    this.#guests = new KeptMap(log);
    this.#hosts = new KeptMap(log);
  }

  add({ guest, host }: Binding): void {
    this.remove(host);
    this.#guests.set(host, guest);
    const others = this.#hosts.get(guest);
    this.#hosts.set(guest, others === undefined ? [host] : [...others, host]);
  }

  remove(host: Pasid): void {
    const guest = this.#guests.get(host);
    if (!this.#guests.delete(host)) return;
    const others = this.#hosts.get(guest)?.filter((other) => other !== host) ?? [];
    if (others.length === 0) this.#hosts.delete(guest);
    else this.#hosts.set(guest, others);
  }

  /** The host's number behind a guest's, or behind none; the last one, while one before it is on its way out. */
  hostOf(guest: GuestPasid | undefined): Pasid | undefined {
    return this.#hosts.get(guest)?.at(-1);
  }

  has(host: Pasid): boolean {
    return this.#guests.has(host);
  }

  /** By the host's numbers. */
  get hosts(): readonly Pasid[] {
    return this.#guests.keys();
  }
}
