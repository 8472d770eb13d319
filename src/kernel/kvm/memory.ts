/**
 * What a guest's CPUs find at guest-physical addresses: KVM's slots, each a run of pages of the VMM's address space,
 * and single pages of devices; all in one EPT. Frames of a slot are the VMM's, wherever they lie, and are told by mmu
 * notifier when they go. The IOMMU's second stage of the same memory is another table, of another owner.
 *
 * Left out: large pages, dirty logging, slots taken away one by one.
 */
import { hex, isRefusal, KeptList, KeptMap, type Refusal, refuse, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import { IoPageTable } from '../iommu/io-page-table.js';
import type { AddressSpace, MmuNotifier } from '../mm/address-space.js';
import type { ExitAction } from '../platform.js';
import { eptFormat } from './ept-format.js';

const LEVELS = 4;
/** Pages that four levels lead to. */
const GUEST_PAGES = 2 ** 36;

/** A run of guest-physical pages, and the VMM's pages that they are. */
export interface KvmSlot {
  readonly gfn: number;
  readonly pages: number;
  /** The first virtual page, in the VMM's address space. */
  readonly page: number;
}

export interface GuestMemoryOptions {
  readonly name: string;
  /** The VMM's. */
  readonly mm: AddressSpace;
  /** Returns when no CPU of the VM uses what it has cached of the EPT, nor what it has read of it. */
  readonly flush: () => Task;
}

export class GuestMemory implements MmuNotifier {
  readonly name: string;
  readonly #context: KernelContext;
  readonly #mm: AddressSpace;
  readonly #flush: () => Task;
  readonly #table: IoPageTable;
  readonly #slots: KeptList<KvmSlot>;
  /** Frames of devices, by guest frame. */
  readonly #devices: KeptMap<number, number>;
  /** Guest frames at which a device's page is missing for a while: who goes there waits for it. */
  readonly #held: KeptMap<number, true>;
  /** Tables that were taken out where nobody could wait for a flush: CPUs may have come by. */
  readonly #loose: KeptList<number>;

  private constructor(context: KernelContext, { name, mm, flush }: GuestMemoryOptions, table: IoPageTable) {
    this.name = name;
    this.#context = context;
    this.#mm = mm;
    this.#flush = flush;
    this.#table = table;
    this.#slots = new KeptList(context.log);
    this.#devices = new KeptMap(context.log);
    this.#held = new KeptMap(context.log);
    this.#loose = new KeptList(context.log);
  }

  /**
   * An EPT in which nothing is mapped.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, options: GuestMemoryOptions): GuestMemory | Refusal<'ENOMEM'> {
    const isRam = (frame: number): boolean =>
      context.platform.memory.ranges.some(({ first, last }) => frame >= first && frame <= last);
    const format = eptFormat(isRam);
    const table = IoPageTable.create(context, {
      name: `EPT of ${options.name}`,
      ...{ format, levels: LEVELS, leaves: [1] },
    });
    return isRefusal(table) ? table : new GuestMemory(context, options, table);
  }

  /** The frame of the EPT's root. */
  get root(): number {
    return this.#table.root;
  }

  /**
   * Adds a slot, with all its pages present.
   *
   * On failure: `EINVAL` for a range that is none; `EEXIST` if something is at one of its guest frames; `ESRCH` if
   * the VMM's memory is gone; `EFAULT` if a page is not the VMM's to write; `ENOMEM`. Nothing of it is mapped then.
   */
  *add(slot: KvmSlot): Task<Refusal<'EINVAL' | 'EEXIST' | 'ESRCH' | 'EFAULT' | 'ENOMEM'> | undefined> {
    const { gfn, pages, page } = slot;
    if (!isRange(gfn, pages) || !Number.isInteger(page) || page < 0) {
      return refuse('EINVAL', `no ${pages} pages at guest frame ${hex(gfn)}`);
    }
    for (const guest of [...this.#slots.items, ...this.#deviceRuns()]) {
      if (guest.gfn >= gfn + pages || gfn >= guest.gfn + guest.pages) continue;
      return refuse('EEXIST', `${this.name} has something at guest frame ${hex(guest.gfn)}`);
    }
    if (!this.#mm.tryUse()) return refuse('ESRCH', `${this.#mm.name} is gone`);
    this.#slots.push(slot);
    try {
      for (let done = 0; done < pages; done++) {
        const refusal =
          (yield* this.#mm.handleFault(page + done, { write: true, execute: false })) ??
          (yield* this.#mapPage(gfn + done));
        if (refusal === undefined) continue;
        // Where the slot has gone meanwhile, so have its pages, and perhaps the EPT.
        if (this.#slots.remove(slot)) yield* this.#unmap(gfn, done);
        return refusal;
      }
      return undefined;
    } finally {
      yield* this.#mm.put();
    }
  }

  /**
   * Maps a page of a device.
   *
   * On failure: `EINVAL` if the frame is RAM, or the guest frame is none; `EEXIST` if something is there; `ENOMEM`.
   */
  *addDevice(gfn: number, frame: number): Task<Refusal<'EINVAL' | 'EEXIST' | 'ENOMEM'> | undefined> {
    const { ranges } = this.#context.platform.memory;
    if (!isRange(gfn, 1) || ranges.some(({ first, last }) => frame >= first && frame <= last)) {
      return refuse('EINVAL', `frame ${hex(frame)} at guest frame ${hex(gfn)} is no device's page`);
    }
    if (this.#slotOf(gfn) !== undefined || this.#devices.has(gfn)) {
      return refuse('EEXIST', `${this.name} has something at guest frame ${hex(gfn)}`);
    }
    this.#devices.set(gfn, frame);
    this.#held.delete(gfn);
    const refusal = yield* this.#map(gfn, frame, true);
    if (refusal !== undefined) this.#devices.delete(gfn);
    return refusal;
  }

  /**
   * Takes a page of a device away, if it is there. When it returns, no CPU writes to it any more.
   *
   * @param isHeld it will be there again: until then who goes there waits, and finds nothing else
   */
  *removeDevice(gfn: number, isHeld = false): Task {
    if (isHeld) this.#held.set(gfn, true);
    else this.#held.delete(gfn);
    if (!this.#devices.has(gfn)) return;
    yield* this.#unmap(gfn, 1);
    this.#devices.delete(gfn);
  }

  /** Takes all pages of devices away. */
  *removeDevices(): Task {
    for (const gfn of this.#devices.keys()) yield* this.removeDevice(gfn);
  }

  /** An access of a CPU that the EPT does not grant: maps what there is by now. Atomic. How the access goes on. */
  fault(gfn: number, write: boolean): Exclude<ExitAction, 'retry'> {
    if (this.#held.has(gfn)) return 'later';
    const there = this.#table.leaf(gfn);
    if (there !== undefined) return !write || there.write ? 'resume' : 'general-protection';
    const slot = this.#slotOf(gfn);
    // A device that is gone, or was never there.
    if (slot === undefined) return 'nobody';
    if (!this.#mm.isAlive) return 'general-protection';
    const leaf = this.#mm.table.leaf(slot.page + gfn - slot.gfn);
    if (leaf === undefined || (write && !leaf.write)) return 'general-protection';
    const failed = this.#table.map({ page: gfn, frame: leaf.frame, count: 1, read: true, write: leaf.write });
    if (failed === undefined) return 'resume';
    for (const table of failed.out.tables) this.#loose.push(table);
    return 'general-protection';
  }

  /** @see MmuNotifier */
  *invalidateRange(first: number, last: number): Task<undefined> {
    for (const { gfn, pages, page } of [...this.#slots.items]) {
      const from = Math.max(first, page);
      const to = Math.min(last, page + pages - 1);
      if (from <= to) yield* this.#unmap(gfn + from - page, to - from + 1);
    }
    return undefined;
  }

  /** @see MmuNotifier */
  *release(): Task<undefined> {
    for (const { gfn, pages } of [...this.#slots.items]) yield* this.#unmap(gfn, pages);
    return undefined;
  }

  /** Takes all away. */
  *clear(): Task {
    for (const slot of [...this.#slots.items]) {
      yield* this.#unmap(slot.gfn, slot.pages);
      this.#slots.remove(slot);
    }
    yield* this.removeDevices();
  }

  /** Frees the EPT. No CPU may walk it any more. */
  free(): void {
    this.#table.freeTables(this.#loose.items);
    this.#table.free();
  }

  #slotOf(gfn: number): KvmSlot | undefined {
    return this.#slots.items.find((slot) => gfn >= slot.gfn && gfn < slot.gfn + slot.pages);
  }

  #deviceRuns(): { gfn: number; pages: number }[] {
    return this.#devices.keys().map((gfn) => ({ gfn, pages: 1 }));
  }

  /** Maps one page of a slot, which has just been made present. */
  *#mapPage(gfn: number): Task<Refusal<'EFAULT' | 'ENOMEM'> | undefined> {
    const slot = this.#slotOf(gfn);
    if (slot !== undefined && this.#table.leaf(gfn) !== undefined) return undefined;
    const leaf = slot && this.#mm.table.leaf(slot.page + gfn - slot.gfn);
    if (leaf === undefined)
      return refuse('EFAULT', `${this.#mm.name} has lost the page of guest frame ${hex(gfn)}`);
    const refusal = yield* this.#map(gfn, leaf.frame, leaf.write);
    return refusal?.errno === 'ENOMEM' ? refuse('ENOMEM', refusal.why) : undefined;
  }

  *#map(gfn: number, frame: number, write: boolean): Task<Refusal<'EEXIST' | 'ENOMEM'> | undefined> {
    const failed = this.#table.map({ page: gfn, frame, count: 1, read: true, write });
    if (failed === undefined) return undefined;
    if (failed.out.tables.length > 0) {
      yield* this.#flush();
      this.#table.freeTables(failed.out.tables);
    }
    return failed.refusal;
  }

  *#unmap(gfn: number, pages: number): Task {
    if (pages === 0) return;
    const out = this.#table.unmap({ first: gfn, last: gfn + pages - 1 });
    // Also where nothing is left to take out: somebody else may have done so, and not have waited yet.
    yield* this.#flush();
    this.#table.freeTables(out.tables);
  }
}

const isRange = (first: number, pages: number): boolean =>
  Number.isInteger(first) &&
  Number.isInteger(pages) &&
  first >= 0 &&
  pages >= 1 &&
  first + pages <= GUEST_PAGES;
