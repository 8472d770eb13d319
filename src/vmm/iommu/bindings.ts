/**
 * What a VM has bound on the host: by virtual RID and guest PASID, with what the guest's entry said. It is the VMM's
 * own list, and what it compares the guest's tables with: a guest's word says where to look, never what was there.
 */
import { KeptMap, type UndoLog } from '../../base/index.js';
import type { AddressSpace } from '../../hardware/index.js';
import type { GivenPasid } from './guest-pasids.js';
import type { GuestBinding } from './host-side.js';

/** A binding through a device. */
export interface Bound extends GuestBinding, GivenPasid {
  readonly rid: number;
  /** The guest's own domain number (DID): what its invalidations name. */
  readonly domain: number;
  /** The guest's entry is not present, and says that faults are not recorded (FPD): so does the host's. */
  readonly isMuted: boolean;
}

/** Which entries of the guest's a command may have changed; those of all devices and PASIDs, as far as it is empty. */
export interface Scope {
  readonly rid?: number;
  /** Bits of `rid` that do not count. */
  readonly ridMask?: number;
  readonly pasid?: number;
}

const PASIDS = 2 ** 20;
const keyOf = (rid: number, guestPasid: number): number => rid * PASIDS + guestPasid;

export class Bindings {
  readonly #bound: KeptMap<number, Bound>;

  constructor(log: UndoLog) {
    this.#bound = new KeptMap(log);
  }

  get size(): number {
    return this.#bound.size;
  }

  /** All, oldest first. */
  get all(): readonly Bound[] {
    return this.#bound.values();
  }

  get(rid: number, guestPasid: number): Bound | undefined {
    return this.#bound.get(keyOf(rid, guestPasid));
  }

  add(bound: Bound): void {
    this.#bound.set(keyOf(bound.rid, bound.guestPasid), bound);
  }

  remove({ rid, guestPasid }: Bound): void {
    this.#bound.delete(keyOf(rid, guestPasid));
  }
}

/** What a guest's entry asks to be bound. */
export function bindingOf(rid: number, pair: GivenPasid, space: AddressSpace): Bound {
  return {
    rid,
    guestPasid: pair.guestPasid,
    hostPasid: pair.hostPasid,
    life: pair.life,
    domain: space.domain,
    isMuted: false,
    root: space.firstRoot,
    levels: space.firstLevels,
    supervisorRequests: space.supervisorRequests,
    writeProtect: space.writeProtect,
    extendedAccessed: space.extendedAccessed,
  };
}

/** Whether both are one and the same translation, for guest and host. */
export function isSame(a: Bound, b: Bound): boolean {
  return (
    a.life === b.life &&
    a.domain === b.domain &&
    a.isMuted === b.isMuted &&
    a.root === b.root &&
    a.levels === b.levels &&
    a.supervisorRequests === b.supervisorRequests &&
    a.writeProtect === b.writeProtect &&
    a.extendedAccessed === b.extendedAccessed
  );
}

/** Whether a device is in a scope. */
export const isInScope = (rid: number, { rid: of, ridMask = 0 }: Scope): boolean =>
  of === undefined || (rid & ~ridMask) === (of & ~ridMask);
