/** All that the rules know of a run, told by taps on hardware and kernels, and by what the processes did. */
import type { Restorable } from '../../base/index.js';
import type { FrameOwner } from '../../kernel/index.js';
import { FrameLedger, type Tenure } from './frames.js';
import { GuestLedger } from './guests.js';
import { JobLedger } from './jobs.js';
import { Numbering } from './numbering.js';
import { OpenLedger } from './opens.js';
import { OverlayMap } from './overlay.js';
import { machineOf, PasidLedger } from './pasids.js';

export class Ledger implements Restorable {
  /** The scheduler's step. */
  step = 0;
  /** The host's. */
  readonly frames = new FrameLedger();
  readonly pasids = new PasidLedger();
  readonly jobs = new JobLedger();
  readonly opens = new OpenLedger();
  /** Whose numbers those of a device are. */
  readonly numbering: Numbering = new Numbering(this);
  /** Address spaces that are going, or gone, and since when. */
  readonly dying = new OverlayMap<string, number>();
  readonly #guests: GuestLedger[] = [];
  /** By the names of the VMMs that they may be in. */
  readonly #byVmm = new Map<string, GuestLedger>();

  /** A virtual machine; its VMM is the process of the same name, and perhaps others later. */
  addGuest(name: string, others: readonly string[] = []): GuestLedger {
    const guest = new GuestLedger(name, [name, ...others]);
    this.#guests.push(guest);
    for (const vmm of guest.vmms) this.#byVmm.set(vmm, guest);
    return guest;
  }

  /** A virtual machine by its name, or by that of a VMM that it may be in. */
  guest(name: string): GuestLedger | undefined {
    return this.#byVmm.get(name);
  }

  guests(): Iterable<GuestLedger> {
    return this.#guests;
  }

  /** The virtual machine that an address space is in; undefined for the host's own. */
  guestOf(mm: string): GuestLedger | undefined {
    return this.#byVmm.size === 0 ? undefined : this.#byVmm.get(machineOf(mm));
  }

  /** The frames of the machine that an address space is in, by that machine's own numbers. */
  framesOf(mm: string): FrameLedger {
    return mm.includes('/') ? (this.guestOf(mm)?.frames ?? this.frames) : this.frames;
  }

  /** The host's frame that is one of a guest's. */
  frameOf(guest: GuestLedger, gfn: number): number | undefined {
    const page = guest.pageOf(gfn);
    return page === undefined ? undefined : this.frames.frameAt(guest.vmm, page);
  }

  /**
   * Who has a frame of the host's now: in a guest's memory, who in the guest has it. Undefined if it never had an
   * owner.
   */
  tenure(frame: number): Tenure | undefined {
    const tenure = this.frames.tenure(frame);
    const owner = tenure?.owner;
    if (tenure === undefined || owner?.kind !== 'page') return tenure;
    const guest = this.#byVmm.get(owner.mm);
    const gfn = guest?.vmm === owner.mm ? guest.gfnOf(owner.page) : undefined;
    if (guest === undefined || gfn === undefined) return tenure;
    if (guest.isOpaque) return { ...tenure, vm: guest.name };
    const inside = guest.frames.tenure(gfn);
    const free = { owner: undefined, since: tenure.since, before: undefined };
    return { ...(inside ?? free), vm: guest.name };
  }

  /** The same without its history: who has it, if anybody has. */
  ownerOf(frame: number): FrameOwner | undefined {
    const owner = this.frames.tenure(frame)?.owner;
    if (owner?.kind !== 'page') return owner;
    const guest = this.#byVmm.get(owner.mm);
    const gfn = guest?.vmm === owner.mm ? guest.gfnOf(owner.page) : undefined;
    if (guest === undefined || gfn === undefined || guest.isOpaque) return owner;
    return guest.frames.tenure(gfn)?.owner;
  }

  mark(): void {
    for (const part of this.#parts()) part.mark();
  }

  restore(): void {
    this.step = 0;
    for (const part of this.#parts()) part.restore();
  }

  #parts(): Restorable[] {
    return [this.frames, this.pasids, this.jobs, this.opens, this.numbering, this.dying, ...this.#guests];
  }
}
