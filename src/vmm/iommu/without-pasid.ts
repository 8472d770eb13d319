/**
 * What requests without a PASID meet, by device: the guest's memory as it is, while translation is off or the guest's
 * entry passes them through; nothing; or a first stage of the guest's. That one is bound on the host to a PASID which
 * no guest ever sees: one for each of the guest's domains, so that devices in one domain share it, and those of two are
 * kept apart though they are parts of one function.
 */
import { isRefusal, KeptMap, type Refusal, type Task, type UndoLog } from '../../base/index.js';
import { ridName } from '../../kernel/index.js';
import { type Bound, bindingOf, isSame } from './bindings.js';
import type { GuestPasidPolicy } from './guest-pasids.js';
import type { GuestTables } from './guest-tables.js';
import type { HostSide } from './host-side.js';
import type { VirtualIommuOptions } from './port.js';

/** PASID 0 of a device is its requests without one. */
const WITHOUT = 0;

type Meets = 'memory' | 'nothing' | Bound;

export interface WithoutPasidParts {
  readonly name: string;
  readonly host: HostSide;
  readonly tables: GuestTables;
  readonly emit: VirtualIommuOptions['emit'];
  /** The host PASIDs that are asked for. */
  readonly range: Pick<GuestPasidPolicy, 'hostMin' | 'hostMax'>;
  devices(): readonly number[];
  /** The root table of scalable mode, while translation is on. */
  root(): number | undefined;
  /** Whether translation is on. */
  isOn(): boolean;
}

export class WithoutPasid {
  readonly #parts: WithoutPasidParts;
  readonly #meets: KeptMap<number, Meets>;

  constructor(log: UndoLog, parts: WithoutPasidParts) {
    this.#parts = parts;
    this.#meets = new KeptMap(log);
  }

  /** The devices that have something to compare. */
  get devices(): readonly number[] {
    const devices = this.#parts.devices();
    return [...devices, ...this.#meets.keys().filter((rid) => !devices.includes(rid))];
  }

  /** First stages that are bound. */
  get bound(): readonly Bound[] {
    return this.#meets.values().filter((each) => typeof each !== 'string');
  }

  /** What a device has bound. */
  get(rid: number): Bound | undefined {
    const meets = this.#meets.get(rid);
    return typeof meets === 'string' ? undefined : meets;
  }

  /** A device is there, and meets the memory: what one before it has met at this place does not count. */
  added(rid: number): void {
    if (typeof this.#meets.get(rid) === 'string') this.#meets.delete(rid);
  }

  isAsWanted(rid: number): boolean {
    return isAlike(this.#meets.get(rid) ?? 'memory', this.#wanted(rid));
  }

  /**
   * Has a device meet what the guest's entry says. Whether hardware did not confirm that it meets no more what it did.
   */
  *compare(rid: number): Task<boolean> {
    if (this.isAsWanted(rid)) return false;
    const now = this.#meets.get(rid) ?? 'memory';
    const refusal = now === 'nothing' ? undefined : yield* this.#leave(rid, now);
    if (refusal?.errno === 'EIO') return true;
    // The host has slept.
    const wanted = this.#wanted(rid);
    if (wanted === 'memory') yield* this.#attach(rid);
    else if (wanted !== 'nothing') yield* this.#bind(wanted);
    if (!this.#parts.devices().includes(rid) && this.#meets.get(rid) === 'nothing') this.#meets.delete(rid);
    return false;
  }

  /** A first stage has no host PASID yet: it is 0. */
  #wanted(rid: number): Meets {
    const { tables } = this.#parts;
    if (!this.#parts.devices().includes(rid)) return 'nothing';
    if (!this.#parts.isOn()) return 'memory';
    const root = this.#parts.root();
    const space = root === undefined ? undefined : tables.read(root, { rid, pasid: WITHOUT });
    if (space?.translation === 'pass-through') return 'memory';
    if (space?.translation !== 'first-stage') return 'nothing';
    return bindingOf(rid, { guestPasid: WITHOUT, hostPasid: 0, life: 0 }, space);
  }

  *#leave(rid: number, now: 'memory' | Bound): Task<Refusal | undefined> {
    const { host } = this.#parts;
    const refusal = now === 'memory' ? yield* host.detach(rid) : yield* host.unbind(rid, now);
    const hasFailed = refusal?.errno === 'EIO';
    if (now !== 'memory') this.#tell(hasFailed ? 'viommu:unbind-failed' : 'viommu:unbind', now, refusal);
    else this.#tell(hasFailed ? 'viommu:detach-failed' : 'viommu:detach', { rid }, refusal);
    if (hasFailed) return refusal;
    this.#meets.set(rid, 'nothing');
    if (now !== 'memory') this.#freeUnused(now.hostPasid);
    return undefined;
  }

  *#attach(rid: number): Task {
    const refusal = yield* this.#parts.host.attach(rid);
    this.#tell(isRefusal(refusal) ? 'viommu:attach-refused' : 'viommu:attach', { rid }, refusal);
    if (!isRefusal(refusal)) this.#meets.set(rid, 'memory');
  }

  *#bind(wanted: Bound): Task {
    const { host, range } = this.#parts;
    const shared = this.bound.find((each) => isAlike(each, wanted))?.hostPasid;
    const hostPasid = shared ?? host.allocPasid(range.hostMin, range.hostMax);
    if (isRefusal(hostPasid)) {
      this.#tell('viommu:bind-refused', wanted, hostPasid);
      return;
    }
    const bound = { ...wanted, hostPasid };
    if (shared === undefined) this.#tell('viommu:rid-pasid', bound, undefined);
    const refusal = yield* host.bind(wanted.rid, bound);
    this.#tell(isRefusal(refusal) ? 'viommu:bind-refused' : 'viommu:bind', bound, refusal);
    if (isRefusal(refusal)) this.#freeUnused(hostPasid);
    else this.#meets.set(wanted.rid, bound);
  }

  #freeUnused(hostPasid: number): void {
    if (this.bound.every((each) => each.hostPasid !== hostPasid)) this.#parts.host.freePasid(hostPasid);
  }

  #tell(kind: string, of: { readonly rid: number } | Bound, refusal: Refusal | undefined): void {
    const { emit, name } = this.#parts;
    const why = refusal === undefined ? {} : { why: refusal.toString() };
    const pasids = 'hostPasid' in of ? { guestPasid: of.guestPasid, hostPasid: of.hostPasid } : {};
    emit?.({ kind, fields: { unit: name, rid: ridName(of.rid), ...pasids, ...why } });
  }
}

const isAlike = (a: Meets, b: Meets): boolean =>
  typeof a === 'string' || typeof b === 'string' ? a === b : isSame(a, b);
