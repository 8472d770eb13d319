/**
 * What a guest is told of requests that failed: as its own unit's fault records (VT-d 4.1, 7.2), with its own
 * numbers. Entries that say that faults are not wanted (FPD) keep qualified ones out, as on hardware.
 */
import { NO_PASID, type PageRequestGate, type Request, RIGHT } from '../../hardware/index.js';
import { ADDRESS_TYPE, FAULT, FAULT_TYPE } from '../../spec/index.js';
import type { Bindings } from './bindings.js';
import type { GuestTables } from './guest-tables.js';
import type { GuestFault } from './port.js';

export interface GuestFaultsParts {
  readonly tables: GuestTables;
  readonly bindings: Bindings;
  devices(): readonly number[];
  /** The root table of scalable mode, while translation is on. */
  root(): number | undefined;
  /** Takes a fault to the fault records. */
  record(fault: { reason: number; addressType: number; type: number }, request: Request): void;
}

export class GuestFaults implements PageRequestGate {
  fault = 0;
  /** Whether the fault at hand is not wanted by the entries that lead to it. */
  isSilenced = false;
  readonly #parts: GuestFaultsParts;

  constructor(parts: GuestFaultsParts) {
    this.#parts = parts;
  }

  get isEnabled(): boolean {
    return this.#parts.root() !== undefined;
  }

  mayRequestPages({ rid, pasid }: Request): boolean {
    this.fault = this.#judge(rid, pasid);
    if (this.fault !== 0) return false;
    if (!this.#parts.tables.mayRequestPages) this.fault = FAULT.PRE_CLEAR;
    else if (this.#parts.bindings.get(rid, pasid) === undefined) this.fault = FAULT.PASID_INVALID;
    return this.fault === 0;
  }

  /** A request of a device that the host's hardware has refused. */
  record(of: GuestFault): void {
    this.#judge(of.rid, of.pasid);
    const type = (of.rights & RIGHT.WRITE) === 0 ? FAULT_TYPE.READ : FAULT_TYPE.WRITE;
    this.#parts.record({ reason: of.reason, addressType: ADDRESS_TYPE.UNTRANSLATED, type }, of);
  }

  /**
   * A guest PASID has been used that nothing is bound to: what a device behind the unit would have found, or, where
   * it would have found an entry, that this one cannot be used.
   */
  recordUse(pasid: number): void {
    if (!this.isEnabled) return;
    for (const rid of this.#parts.devices()) {
      const found = this.#judge(rid, pasid);
      const reason = found === 0 ? FAULT.PASID_INVALID : found;
      const request = { rid, pasid, page: 0, rights: RIGHT.READ | RIGHT.USER };
      this.#parts.record({ reason, addressType: ADDRESS_TYPE.UNTRANSLATED, type: FAULT_TYPE.READ }, request);
    }
  }

  /** Why a device has no entry for a PASID; 0 if it has one. */
  #judge(rid: number, pasid: number): number {
    const { tables } = this.#parts;
    const root = this.#parts.root();
    this.isSilenced = false;
    if (root === undefined) return FAULT.ROOT_TABLE_ADDRESS_INVALID;
    tables.read(root, { rid, pasid: pasid === NO_PASID ? 0 : pasid });
    this.isSilenced = tables.isSilenced;
    return tables.fault;
  }
}
