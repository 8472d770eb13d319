/**
 * Virtual machines, as the rules know them: which pages of which VMM are the guest's memory, and who in the guest
 * owns which of its frames. With that a frame of the host's leads to its owner in the guest, without a look into any
 * table.
 */
import type { Restorable } from '../../base/index.js';
import { FrameLedger } from './frames.js';
import { PasidLedger } from './pasids.js';

/** A run of the guest's memory: from which of its frames on, and where the VMM has it mapped. */
export interface MemorySlot {
  readonly gfn: number;
  readonly pages: number;
  /** The VMM's virtual page. */
  readonly page: number;
}

/** Where a guest's memory is. */
export interface GuestHome {
  /** The VMM that it is in: a process of the host's. */
  readonly vmm: string;
  readonly slots: readonly MemorySlot[];
}

export class GuestLedger implements Restorable {
  readonly name: string;
  /** The VMMs that it may be in, the one where it began first. */
  readonly vmms: readonly string[];
  /** By the guest's frame numbers. */
  readonly frames = new FrameLedger();
  /** The guest's own PASIDs. */
  readonly pasids = new PasidLedger();
  /** What runs in it is no kernel of ours: nobody tells who in it owns what, and all of it is one owner. */
  isOpaque = false;
  #home: GuestHome;
  #marked: GuestHome;

  constructor(name: string, vmms: readonly string[] = [name]) {
    this.name = name;
    this.vmms = vmms;
    this.#home = { vmm: name, slots: [] };
    this.#marked = this.#home;
  }

  /** The VMM that it is in now. */
  get vmm(): string {
    return this.#home.vmm;
  }

  get home(): GuestHome {
    return this.#home;
  }

  addMemory(slot: MemorySlot): void {
    this.#home = { ...this.#home, slots: [...this.#home.slots, slot] };
  }

  /** Its memory is another VMM's from now on. */
  moved(home: GuestHome): void {
    this.#home = home;
  }

  /** The guest's frame that a page of its VMM is; undefined for what is the VMM's own. */
  gfnOf(page: number): number | undefined {
    for (const slot of this.#home.slots) {
      if (page >= slot.page && page < slot.page + slot.pages) return slot.gfn + page - slot.page;
    }
    return undefined;
  }

  /** The VMM's page that a frame of the guest's is. */
  pageOf(gfn: number): number | undefined {
    for (const slot of this.#home.slots) {
      if (gfn >= slot.gfn && gfn < slot.gfn + slot.pages) return slot.page + gfn - slot.gfn;
    }
    return undefined;
  }

  mark(): void {
    this.frames.mark();
    this.pasids.mark();
    this.#marked = this.#home;
  }

  restore(): void {
    this.frames.restore();
    this.pasids.restore();
    this.#home = this.#marked;
  }
}
