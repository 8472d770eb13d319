/**
 * What the virtual IOMMU does on the host. What the guest's tables say is compared with what is bound, for the
 * entries that a command may have changed: changed is unbound and bound, gone is unbound, new is bound. Only guest
 * PASIDs that were given out can be bound, so it is those that are looked up, in the tables of each device, however
 * large a directory the guest claims to have. An entry is read once, and read anew if the host has slept since.
 *
 * An entry of a whole function that is gone, and says that faults are not recorded (FPD), is muted on the host too,
 * until it is empty: the function goes on until the guest has drained it.
 *
 * What requests without a PASID meet is compared with the entry of PASID 0 (`without-pasid.ts`).
 *
 * Invalidations of the guest's name its domain numbers; here they become invalidations of the PASIDs that are bound
 * under that domain, by this VM.
 */
import { isRefusal, type Refusal, type Task } from '../../base/index.js';
import { type DeviceTlbInvalidation, NO_PASID, type PageGroupResponse } from '../../hardware/index.js';
import { ridName } from '../../kernel/index.js';
import { type Bindings, type Bound, bindingOf, isInScope, isSame, type Scope } from './bindings.js';
import type { GivenPasid, GuestPasids } from './guest-pasids.js';
import type { GuestTables } from './guest-tables.js';
import type { HostInvalidation, HostSide } from './host-side.js';
import type { Translations } from './operations.js';
import type { VirtualIommuOptions } from './port.js';
import type { WithoutPasid } from './without-pasid.js';

const NONE: readonly number[] = [];
/** What stands for requests without a PASID. */
const WITHOUT = 0;

/** An entry of the guest's tables. */
interface Place {
  readonly rid: number;
  readonly guestPasid: number;
}

/** What is to be forgotten. */
interface Flush extends Pick<HostInvalidation, 'cache' | 'leafOnly'> {
  readonly run: { readonly page: number; readonly pages: number } | undefined;
}

/** Whether something failed that the guest must not take for done. */
export type Failed = boolean;

export interface HostWorkParts {
  readonly name: string;
  readonly host: HostSide;
  readonly bindings: Bindings;
  readonly pasids: GuestPasids;
  readonly without: WithoutPasid;
  readonly tables: GuestTables;
  readonly emit: VirtualIommuOptions['emit'];
  /** Whether the guest sees device TLBs; if not, they go with the IOTLB. */
  readonly deviceTlbs: boolean;
  /** The virtual RIDs behind the unit. */
  devices(): readonly number[];
  /** The root table of scalable mode, while translation is on. */
  root(): number | undefined;
}

export class HostWork {
  readonly #parts: HostWorkParts;

  constructor(parts: HostWorkParts) {
    this.#parts = parts;
  }

  /**
   * Makes the host's bindings in a scope those that the guest's tables ask for. Virtual devices that are made of one
   * function share an entry of the host's: all of them are off it before it is made anew. A task only if there is
   * something to do.
   */
  compare(scope: Scope): Failed | Task<Failed> {
    const places = this.#places(scope);
    const rids = this.#withoutChanged(scope);
    if (rids.length === 0 && this.#areAsWanted(places)) return false;
    return this.#change(places, rids);
  }

  /** Has translations forgotten. */
  invalidate({ domain, pasid, run }: Translations): Failed | Task<Failed> {
    const all = this.#bound(pasid);
    const bound = domain === undefined ? all : all.filter((each) => each.domain === domain);
    if (bound.length === 0) return false;
    const cache = this.#parts.deviceTlbs ? 'iotlb' : 'both';
    return this.#invalidateAll(bound, { cache, run, leafOnly: run?.leafOnly ?? false });
  }

  /** Has a device forget. */
  invalidateDevice(of: DeviceTlbInvalidation): Failed | Task<Failed> {
    const { rid, pasid, isGlobal } = of;
    if (!this.#parts.devices().includes(rid)) return true;
    const own = pasid === NO_PASID ? WITHOUT : pasid;
    const bound = this.#bound(isGlobal ? undefined : own).filter((each) => each.rid === rid);
    if (bound.length === 0) return false;
    return this.#invalidateAll(bound, { cache: 'device-tlb', run: of, leafOnly: false });
  }

  /** Passes a guest's answer on; what it does not belong to, the host finds out. */
  *respond({ rid, pasid, group, code }: PageGroupResponse): Task<Failed> {
    if (pasid === NO_PASID || !this.#parts.devices().includes(rid)) return false;
    yield* this.#parts.host.respond(rid, { guestPasid: pasid, group, code });
    return false;
  }

  /** Whether what the guest's tables say of a device and a PASID, or 0 for none, is bound. */
  isAsSaid(place: Place): boolean {
    return place.guestPasid === WITHOUT ? this.#parts.without.isAsWanted(place.rid) : this.#isAsWanted(place);
  }

  /** Whether a guest PASID is bound through any device. */
  isBound(guestPasid: number): boolean {
    return this.#bound(guestPasid).length > 0;
  }

  /** The host may sleep over each: what is wanted is asked anew. */
  *#change(places: readonly Place[], rids: readonly number[]): Task<Failed> {
    const { bindings, without } = this.#parts;
    let failed = false;
    for (const rid of rids) if (yield* without.compare(rid)) failed = true;
    for (const place of places) {
      const bound = bindings.get(place.rid, place.guestPasid);
      if (bound === undefined) continue;
      const wanted = this.#wanted(place.rid, place.guestPasid);
      if (wanted !== undefined && isSame(bound, wanted)) continue;
      if (!(yield* this.#unbind(bound, wanted?.isMuted === true))) failed = true;
    }
    for (const { rid, guestPasid } of places) {
      if (bindings.get(rid, guestPasid) !== undefined) continue;
      const wanted = this.#wanted(rid, guestPasid);
      if (wanted !== undefined) yield* this.#bind(wanted);
    }
    return failed;
  }

  /** The devices of a scope whose requests without a PASID do not meet what they should. */
  #withoutChanged(scope: Scope): readonly number[] {
    const { without } = this.#parts;
    if (scope.pasid !== undefined && scope.pasid !== WITHOUT) return NONE;
    return without.devices.filter((rid) => isInScope(rid, scope) && !without.isAsWanted(rid));
  }

  #areAsWanted(places: readonly Place[]): boolean {
    for (const place of places) if (!this.#isAsWanted(place)) return false;
    return true;
  }

  #isAsWanted({ rid, guestPasid }: Place): boolean {
    const bound = this.#parts.bindings.get(rid, guestPasid);
    const wanted = this.#wanted(rid, guestPasid);
    return bound === undefined || wanted === undefined ? bound === wanted : isSame(bound, wanted);
  }

  /** The devices and PASIDs of a scope that may be bound, or have to be. */
  #places(scope: Scope): readonly Place[] {
    const { bindings, pasids } = this.#parts;
    const devices = this.#parts.devices();
    const inScope = devices.filter((rid) => isInScope(rid, scope));
    const { pasid: guestPasid } = scope;
    if (guestPasid !== undefined) return inScope.map((rid) => ({ rid, guestPasid }));
    // What is bound, and could not be any more.
    const isLeft = ({ rid, guestPasid }: Bound): boolean =>
      isInScope(rid, scope) && (!devices.includes(rid) || pasids.get(guestPasid) === undefined);
    const left = bindings.all.filter(isLeft);
    const given = inScope.flatMap((rid) => pasids.all.map((guestPasid) => ({ rid, guestPasid })));
    return [...left, ...given];
  }

  /** What the guest's tables ask to be bound now. */
  #wanted(rid: number, guestPasid: number): Bound | undefined {
    const { pasids, tables } = this.#parts;
    const root = this.#parts.root();
    const pair = pasids.get(guestPasid);
    if (root === undefined || pair === undefined || !this.#parts.devices().includes(rid)) return undefined;
    const space = tables.read(root, { rid, pasid: guestPasid });
    if (space === undefined) return tables.isSilenced ? this.#muted(rid, pair) : undefined;
    return space.translation === 'first-stage' ? bindingOf(rid, pair, space) : undefined;
  }

  /** What is to be left of a binding while its entry is silent. */
  #muted(rid: number, { guestPasid, life }: GivenPasid): Bound | undefined {
    const { bindings, host } = this.#parts;
    const bound = bindings.get(rid, guestPasid);
    return bound?.life === life && host.isWhole(rid) ? { ...bound, isMuted: true } : undefined;
  }

  /** Those of a guest PASID, or all, that lead somewhere. */
  #bound(guestPasid: number | undefined): readonly Bound[] {
    const { bindings, without } = this.#parts;
    if (guestPasid === WITHOUT) return without.bound;
    if (guestPasid === undefined) {
      const others = without.bound;
      const all = bindings.all.filter(({ isMuted }) => !isMuted);
      return others.length === 0 ? all : [...all, ...others];
    }
    const found: Bound[] = [];
    for (const rid of this.#parts.devices()) {
      const bound = bindings.get(rid, guestPasid);
      if (bound !== undefined && !bound.isMuted) found.push(bound);
    }
    return found;
  }

  *#bind(bound: Bound): Task {
    const refusal = yield* this.#parts.host.bind(bound.rid, bound);
    this.#tell(isRefusal(refusal) ? 'viommu:bind-refused' : 'viommu:bind', bound, refusal);
    if (isRefusal(refusal)) return;
    this.#parts.bindings.add(bound);
    // The guest may have freed it meanwhile, and may have got the same numbers again.
    if (this.#parts.pasids.get(bound.guestPasid)?.life !== bound.life) yield* this.#unbind(bound, false);
  }

  /** Whether it is unbound now, or muted. */
  *#unbind(bound: Bound, mute: boolean): Task<boolean> {
    const { bindings, host } = this.#parts;
    const refusal = yield* host.unbind(bound.rid, bound, { mute });
    const hasFailed = isFailure(refusal);
    const isMuted = mute && refusal === undefined;
    if (isMuted) bindings.add({ ...bound, isMuted });
    else if (!hasFailed) bindings.remove(bound);
    const kind = isMuted ? 'viommu:mute' : 'viommu:unbind';
    this.#tell(hasFailed ? 'viommu:unbind-failed' : kind, bound, refusal);
    return !hasFailed;
  }

  *#invalidateAll(bound: readonly Bound[], { cache, run, leafOnly }: Flush): Task<Failed> {
    const pages = run === undefined || run.pages >= ALL_PAGES ? undefined : run;
    let failed = false;
    for (const { rid, guestPasid } of bound) {
      const refusal = yield* this.#parts.host.invalidate(rid, { cache, guestPasid, pages, leafOnly });
      failed ||= isFailure(refusal);
    }
    return failed;
  }

  #tell(kind: string, { rid, guestPasid, hostPasid }: Bound, refusal: Refusal | undefined): void {
    const { emit, name } = this.#parts;
    if (emit === undefined) return;
    const fields = { unit: name, rid: ridName(rid), guestPasid, hostPasid };
    emit({ kind, fields: refusal === undefined ? fields : { ...fields, why: refusal.toString() } });
  }
}

/** Pages of the whole address space: all are named by none. */
const ALL_PAGES = 2 ** 52;

/** Whether the host's hardware did not confirm. */
const isFailure = (refusal: Refusal | undefined): boolean => refusal?.errno === 'EIO';
