/**
 * What the commands and invalidation descriptors of a VT-d unit act on. Registers, queues and records are the same
 * code for silicon and for a VMM's virtual unit; they differ in the end behind them: here the unit's own caches and
 * translation, there what the host does for the guest.
 */
import type { DeviceTlbInvalidation, IommuDownstream, PageGroupResponse } from '../pci/ports.js';
import type { Translator } from './translator.js';
import type { PageRun } from './unit-caches.js';

/** A root table, as SRTP takes it from RTADDR. */
export interface RootTable {
  readonly frame: number;
  /** RTADDR.TTM. */
  readonly mode: number;
  /** CAP.ESRTPS: all caches are invalidated with it. */
  readonly invalidates: boolean;
}

/** Context entries: all, those of a domain, or those of a requester but for the bits of `ridMask`. */
export interface ContextScope {
  readonly rid?: number;
  readonly ridMask?: number;
  readonly domain?: number;
}

/** PASID table entries: all, those of a domain, or of it those of one PASID. */
export interface PasidScope {
  readonly domain?: number;
  readonly pasid?: number;
}

/**
 * Each call answers whether it is done. Where it is not, software sees its command or descriptor in progress until
 * whoever performs it tells the commands or the queue that it is finished; the next descriptor waits.
 */
export interface UnitEnd {
  /** Whether the root table, as latched, is a scalable-mode one. */
  readonly isScalable: boolean;
  latchRoot(table: RootTable): boolean;
  setTranslation(isOn: boolean): boolean;
  invalidateContexts(scope: ContextScope): boolean;
  invalidatePasids(scope: PasidScope): boolean;
  /** Translations and paging structures: all, or a domain's. */
  invalidateDomain(domain?: number): boolean;
  /** Of a domain, what a second stage has a part in. The record is the caller's, here and of a PASID's pages. */
  invalidatePages(domain: number, run: PageRun): boolean;
  invalidatePasid(domain: number, pasid: number): boolean;
  invalidatePasidPages(of: { readonly domain: number; readonly pasid: number }, run: PageRun): boolean;
  /** Sends an invalidation to a device; its answer comes later in any case. The record is the caller's. */
  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): boolean;
  /** Sends a page group response. The record is the caller's. */
  respond(response: PageGroupResponse): boolean;
}

/** The end of a unit of silicon: its caches, and the functions behind it. */
export class SiliconEnd implements UnitEnd {
  readonly #translator: Translator;
  readonly #downstream: IommuDownstream;

  constructor(translator: Translator, downstream: IommuDownstream) {
    this.#translator = translator;
    this.#downstream = downstream;
  }

  get isScalable(): boolean {
    return this.#translator.isScalable;
  }

  latchRoot({ frame, mode, invalidates }: RootTable): boolean {
    this.#translator.latchRoot(frame, mode);
    if (invalidates) this.#translator.caches.invalidateAll();
    return true;
  }

  setTranslation(isOn: boolean): boolean {
    this.#translator.isEnabled = isOn;
    return true;
  }

  invalidateContexts(scope: ContextScope): boolean {
    this.#translator.invalidateContexts(scope);
    return true;
  }

  invalidatePasids(scope: PasidScope): boolean {
    this.#translator.caches.pasids.remove(scope);
    return true;
  }

  invalidateDomain(domain?: number): boolean {
    this.#translator.caches.invalidateDomain(domain);
    return true;
  }

  invalidatePages(domain: number, run: PageRun): boolean {
    this.#translator.caches.invalidatePages(domain, run);
    return true;
  }

  invalidatePasid(domain: number, pasid: number): boolean {
    this.#translator.caches.invalidatePasid(domain, pasid);
    return true;
  }

  invalidatePasidPages(of: { readonly domain: number; readonly pasid: number }, run: PageRun): boolean {
    this.#translator.caches.invalidatePasidPages(of.domain, of.pasid, run);
    return true;
  }

  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): boolean {
    this.#downstream.invalidateDeviceTlb(invalidation);
    return true;
  }

  respond(response: PageGroupResponse): boolean {
    this.#downstream.pageGroupResponse(response);
    return true;
  }
}
