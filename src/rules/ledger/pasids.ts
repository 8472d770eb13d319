/** Which address space a PASID stands for, and for which it stood before. */
import type { Restorable } from '../../base/index.js';
import { OverlayMap } from './overlay.js';

/** A time in which a PASID stood for one address space. */
export interface PasidTenure {
  readonly mm: string;
  readonly from: number;
  /** The step in which it was given back; undefined while it stands. */
  readonly until: number | undefined;
  readonly before: PasidTenure | undefined;
  /** Of a virtual machine's: the number that its guest has for it. */
  readonly guest?: number;
  /** In a virtual machine's own ledger: the number of the host's behind it. */
  readonly backing?: number;
}

export class PasidLedger implements Restorable {
  readonly #tenures = new OverlayMap<number, PasidTenure>();
  readonly #byMm = new OverlayMap<string, number>();
  /** By machine: how many stand for address spaces in it. */
  readonly #counts = new OverlayMap<string, number>();
  #live = 0;
  #markedLive = 0;

  given(pasid: number, mm: string, step: number): void {
    const last = this.#tenures.get(pasid);
    if (last !== undefined && last.until === undefined) this.#count(last.mm, -1);
    this.#count(mm, 1);
    // One tenure before this one is enough to tell whose a leftover is.
    const before = last && { ...last, before: undefined };
    this.#tenures.set(pasid, { mm, from: step, until: undefined, before });
    this.#byMm.set(mm, pasid);
    if (last === undefined || last.until !== undefined) this.#live++;
  }

  /** The guest has another number for it: what it asked for is backed by this one. */
  named(pasid: number, guest: number): void {
    const tenure = this.#tenures.get(pasid);
    if (tenure !== undefined) this.#tenures.set(pasid, { ...tenure, guest });
  }

  /** In a virtual machine's own: this one of the host's stands behind it. */
  backed(guest: number, backing: number): void {
    const tenure = this.#tenures.get(guest);
    if (tenure !== undefined) this.#tenures.set(guest, { ...tenure, backing });
  }

  /** Whom it was taken for: who asks for it may not be who works with it. */
  takenFor(pasid: number, mm: string): void {
    const tenure = this.#tenures.get(pasid);
    if (tenure === undefined || tenure.until !== undefined) return;
    this.#count(tenure.mm, -1);
    this.#count(mm, 1);
    if (this.#byMm.get(tenure.mm) === pasid) this.#byMm.delete(tenure.mm);
    this.#byMm.set(mm, pasid);
    this.#tenures.set(pasid, { ...tenure, mm });
  }

  takenBack(pasid: number, step: number): void {
    const last = this.#tenures.get(pasid);
    if (last === undefined) return;
    if (last.until === undefined) {
      this.#live--;
      this.#count(last.mm, -1);
    }
    this.#tenures.set(pasid, { ...last, until: step });
    if (this.#byMm.get(last.mm) === pasid) this.#byMm.delete(last.mm);
  }

  /** Its present tenure, or its last. */
  tenure(pasid: number): PasidTenure | undefined {
    return this.#tenures.get(pasid);
  }

  /** The PASID of an address space, if it has one now. */
  of(mm: string): number | undefined {
    return this.#byMm.get(mm);
  }

  /** How many stand now for address spaces that are meant. @remarks All are looked through. */
  count(isMeant: (mm: string) => boolean): number {
    let count = 0;
    for (const { mm, until } of this.#tenures.values()) if (until === undefined && isMeant(mm)) count++;
    return count;
  }

  /** How many stand for an address space now. */
  get live(): number {
    return this.#live;
  }

  /** How many of them stand for an address space in a virtual machine. */
  liveIn(vm: string): number {
    return this.#counts.get(vm) ?? 0;
  }

  /** The PASIDs that stand for an address space now. */
  *all(): Generator<[number, PasidTenure]> {
    for (const [pasid, tenure] of this.#tenures.entries()) {
      if (tenure.until === undefined) yield [pasid, tenure];
    }
  }

  mark(): void {
    this.#tenures.mark();
    this.#byMm.mark();
    this.#counts.mark();
    this.#markedLive = this.#live;
  }

  restore(): void {
    this.#tenures.restore();
    this.#byMm.restore();
    this.#counts.restore();
    this.#live = this.#markedLive;
  }

  #count(mm: string, change: 1 | -1): void {
    const machine = machineOf(mm);
    const count = this.liveIn(machine) + change;
    if (count === 0) this.#counts.delete(machine);
    else this.#counts.set(machine, count);
  }
}

/** The machine that an address space is in: `vm1` of `vm1/alice`; of the host's own, itself. */
export function machineOf(mm: string): string {
  const end = mm.indexOf('/');
  return end < 0 ? mm : mm.slice(0, end);
}
