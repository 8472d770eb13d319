/**
 * Whose number a PASID is that a device's requests carry. It is the host's, but for a function that a virtual machine
 * has whole: there it is the guest's, and where the function is sent both, either. Rules judge by the host's numbers,
 * each of which stands for one address space; this finds the host's behind a device's, and the other way round.
 *
 * Translations are cached by domain id: whose numbers a domain's are is known by the device whose entry had it last.
 */
import type { Restorable } from '../../base/index.js';
import type { GuestLedger } from './guests.js';
import type { OpenLedger } from './opens.js';
import { OverlayMap } from './overlay.js';
import { machineOf, type PasidLedger } from './pasids.js';

/** What stands in the place of a host's number behind one that stands for nobody. */
export const NOBODY = -2;

/** A function that a virtual machine has whole. */
export interface WholeFunction {
  readonly guest: GuestLedger;
  /** It is sent the host's numbers too. */
  readonly takesBothNumbers: boolean;
}

export class Numbering implements Restorable {
  readonly #pasids: PasidLedger;
  readonly #opens: OpenLedger;
  readonly #whole = new Map<string, WholeFunction>();
  /** The function whose numbers a domain's are; the host's, if none is there. */
  readonly #domains = new OverlayMap<number, string>();

  /** @param ledgers the host's PASIDs, and what is open */
  constructor(ledgers: { readonly pasids: PasidLedger; readonly opens: OpenLedger }) {
    this.#pasids = ledgers.pasids;
    this.#opens = ledgers.opens;
  }

  /** A virtual machine has a device whole, for good. */
  assign(device: string, to: WholeFunction): void {
    this.#whole.set(device, to);
  }

  /** Who has a device whole. */
  ownerOf(device: string): GuestLedger | undefined {
    return this.#whole.get(device)?.guest;
  }

  /** The host's number behind one of a device's; {@link NOBODY} if it stands for nobody. */
  idOf(device: string, number: number): number {
    const of = this.#whole.get(device);
    if (of === undefined || number < 0) return number;
    const ids = this.idsOf(device, number);
    // Where both numbers are there, no two address spaces are bound by one.
    const isBound = (id: number): boolean => this.#opens.isBound(this.#pasids.tenure(id)?.mm ?? '', device);
    return ids.find(isBound) ?? ids[0] ?? NOBODY;
  }

  /** All that one of a device's numbers may stand for. */
  idsOf(device: string, number: number): readonly number[] {
    const of = this.#whole.get(device);
    if (of === undefined) return [number];
    const own = of.guest.pasids.tenure(number)?.backing;
    const ids = own === undefined ? [] : [own];
    const tenure = of.takesBothNumbers && number !== own ? this.#pasids.tenure(number) : undefined;
    // What stands for requests without a PASID has no number of the guest's, and is in no table of such a function.
    const isNamed = tenure?.until === undefined && tenure?.guest !== undefined;
    return isNamed && machineOf(tenure.mm) === of.guest.name ? [...ids, number] : ids;
  }

  /** The numbers that a device's requests have for one of the host's. */
  numbersOf(device: string, pasid: number): readonly number[] {
    const of = this.#whole.get(device);
    if (of === undefined) return [pasid];
    const { mm = '', guest } = this.#pasids.tenure(pasid) ?? {};
    if (machineOf(mm) !== of.guest.name) return [];
    // The guest may have given its number to the next, whom another stands behind.
    const isIts = guest !== undefined && of.guest.pasids.tenure(guest)?.backing === pasid;
    const own = isIts ? [guest] : [];
    // What such a guest's numbers are, nobody tells.
    if (of.guest.isOpaque) return own;
    const isSentToo = of.takesBothNumbers && !own.includes(pasid) && this.idOf(device, pasid) === pasid;
    return isSentToo ? [...own, pasid] : own;
  }

  /** A unit has taken in an entry of a device's, with this domain. */
  tookIn(device: string, domain: number): void {
    if (this.#whole.size === 0) return;
    if (this.#whole.has(device)) this.#domains.set(domain, device);
    else this.#domains.delete(domain);
  }

  /** Whether what is cached under a domain and a number is of a host's PASID. */
  isTagOf(pasid: number, { domain, number }: { readonly domain: number; readonly number: number }): boolean {
    const device = this.#domains.get(domain);
    return device === undefined ? number === pasid : this.numbersOf(device, pasid).includes(number);
  }

  mark(): void {
    this.#domains.mark();
  }

  restore(): void {
    this.#domains.restore();
  }
}
