/**
 * A process's address space. Memory is promised by `mmap` and comes on the first touch: by the CPU, by a device's
 * page request, or by the kernel on behalf of the process. Before a frame is given back, whoever walks the table
 * beside the CPU has been told, and has let go of it (mmu notifiers).
 *
 * Two counts, as Linux has them: its *users* are processes, and with the last of them the memory goes; *pins* hold
 * what outlives that: a device's binding keeps the PASID, and the PASID goes with the last pin, not before (bugs
 * C1, C5). Left out: files, swapping, copy on write (a fork copies), large pages, more than one range lock.
 */
import {
  assert,
  isRefusal,
  Kept,
  KeptList,
  KeptMap,
  type Refusal,
  refuse,
  type Task,
} from '../../base/index.js';
import { type KernelContext, tell } from '../context.js';
import type { FrameOwner } from '../frames.js';
import { PAGE_BYTES, type Pasid, pageName, paOf } from '../ids.js';
import { Mutex } from '../mutex.js';
import { type Area, within, without } from './area.js';
import { type LeafRights, leafRights, PageTable } from './page-table.js';

/** Whoever walks the page table beside the CPU. */
export interface MmuNotifier {
  readonly name: string;
  /**
   * The leaves of these pages are gone, or have fewer rights: returns when no copy of them is used any more.
   *
   * On failure: `EIO` if hardware did not confirm: copies may be used for ever.
   */
  invalidateRange(first: number, last: number): Task<Refusal<'EIO'> | undefined>;
  /**
   * The memory goes: returns when nobody walks the table any more.
   *
   * On failure: `EIO` if hardware did not confirm.
   */
  release(): Task<Refusal<'EIO'> | undefined>;
}

/** Who has given an address space its PASID. */
export interface PasidOwner {
  /** The last pin has gone: it stands for nothing any more. */
  unpinned(mm: AddressSpace, pasid: Pasid): void;
}

/** What an access needs. */
export interface FaultAccess {
  readonly write: boolean;
  readonly execute: boolean;
}

/** Where `mmap` looks first. */
const MMAP_BASE = 0x7_f000_0000;

export class AddressSpace extends Kept {
  readonly name: string;
  readonly table: PageTable;
  #pasid: Pasid | undefined;
  #pasidOwner: PasidOwner | undefined;
  readonly #context: KernelContext;
  /** By their first page. */
  readonly #areas: KeptMap<number, Area>;
  readonly #notifiers: KeptList<MmuNotifier>;
  #users = 1;
  /** All users together have one. */
  #pins = 1;
  /** Held over each change of the areas, and each fault. */
  readonly #lock: Mutex;

  private constructor(context: KernelContext, name: string, table: PageTable) {
    const { log } = context;
    super(log);
    this.#context = context;
    this.name = name;
    this.table = table;
    this.#areas = new KeptMap(log);
    this.#notifiers = new KeptList(log);
    this.#lock = new Mutex(log, 'mmap', this);
  }

  /**
   * An empty address space with one user.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, name: string): AddressSpace | Refusal<'ENOMEM'> {
    const table = PageTable.create(context, name);
    return isRefusal(table) ? table : new AddressSpace(context, name, table);
  }

  /** The PASID that stands for it, once a device has been bound. Goes with the last pin. */
  get pasid(): Pasid | undefined {
    return this.#pasid;
  }

  /** @param owner told when it stands for nothing any more */
  setPasid(pasid: Pasid, owner?: PasidOwner): void {
    this.changing();
    this.#pasid = pasid;
    this.#pasidOwner = owner;
  }

  /** Whether its memory is still there: false from the end of its last user on. */
  get isAlive(): boolean {
    return this.#users > 0;
  }

  /** What it promises, ascending. */
  get areas(): readonly Area[] {
    return this.#areas.values().sort((a, b) => a.first - b.first);
  }

  addNotifier(notifier: MmuNotifier): void {
    this.#notifiers.push(notifier);
  }

  removeNotifier(notifier: MmuNotifier): void {
    this.#notifiers.remove(notifier);
  }

  /** Keeps what outlives the memory. */
  pin(): void {
    assert(this.#pins > 0, `${this.name} is pinned after its end`);
    this.changing();
    this.#pins++;
  }

  unpin(): void {
    assert(this.#pins > 0, `${this.name} is unpinned too often`);
    this.changing();
    this.#pins--;
    if (this.#pins > 0) return;
    if (this.#pasid !== undefined) this.#pasidOwner?.unpinned(this, this.#pasid);
    this.table.free();
    tell(this.#context, 'mm:end', { mm: this.name });
  }

  /**
   * Becomes a user for the length of one access; false if the memory is gone. Whoever gets true calls
   * {@link AddressSpace.put}.
   */
  tryUse(): boolean {
    if (!this.isAlive) return false;
    this.changing();
    this.#users++;
    return true;
  }

  /** Is no user any more, unless it would be the last one: whether that was so. `put` tears the memory down. */
  tryPut(): boolean {
    if (this.#users < 2) return false;
    this.changing();
    this.#users--;
    return true;
  }

  /** Is no user any more; the last one tears the memory down. */
  *put(): Task {
    if (this.tryPut()) return;
    assert(this.#users > 0, `${this.name} has no users`);
    // No lock: the last user is alone, and from here on nobody becomes one.
    this.changing();
    this.#users = 0;
    tell(this.#context, 'mm:exit', { mm: this.name });
    let isFree = true;
    for (const notifier of [...this.#notifiers.items]) {
      if ((yield* notifier.release()) !== undefined) isFree = false;
    }
    yield `${this.name}: free its memory`;
    const gone = this.areas.map((area) => ({ area, led: this.table.clearAll(area.first, area.last) }));
    yield* this.#context.cpus.shootdown();
    for (const { area, led } of gone) {
      this.#areas.delete(area.first);
      if (isFree) this.#freePages(area, led);
      else this.#lose(area);
    }
    if (isFree) this.table.freeTables();
    this.unpin();
  }

  /**
   * Promises `count` pages of memory, zeroed when they come.
   *
   * @param options `at`, the first page, if it matters; `write` and `execute` rights; `portal` for frames of a
   *   device, which are mapped at once; `scattered` frames for a virtual machine's memory
   * @returns the first page
   *
   * On failure: `EINVAL` for a range that is none; `EEXIST` if something is there; `ENOMEM`.
   */
  *mmap(
    count: number,
    options: Partial<LeafRights> &
      Partial<Pick<Area, 'portal' | 'scattered'>> & { readonly at?: number } = {},
  ): Task<number | Refusal<'EINVAL' | 'EEXIST' | 'ENOMEM'>> {
    yield* this.#lock.lock();
    try {
      const first = options.at ?? this.#gap(count);
      const last = first + count - 1;
      if (!Number.isInteger(first) || first < 1 || count < 1 || last >= this.table.userPages) {
        return refuse('EINVAL', `no ${count} pages from ${pageName(first)} in ${this.name}`);
      }
      const taken = this.#overlapping(first, last)[0];
      if (taken !== undefined)
        return refuse('EEXIST', `${this.name} has something at ${pageName(taken.first)}`);
      const rights = leafRights(options.write ?? true, options.execute ?? false);
      const { portal, scattered = false } = options;
      const area: Area = { first, last, rights, scattered, portal };
      const refusal = area.portal && this.#mapPortal(area, area.portal.frame);
      if (refusal !== undefined) {
        this.table.clearAll(first, last);
        yield* this.#flush(first, last);
        return refusal;
      }
      this.#areas.set(first, area);
      tell(this.#context, 'mm:map', { mm: this.name, page: pageName(first), pages: count });
      return first;
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Takes a range of pages away, whatever is there. When it returns, no CPU and no device reaches their frames; those
   * of which hardware did not confirm it are nobody's any more.
   *
   * On failure: `EINVAL` for a range that is none.
   */
  *munmap(first: number, count: number): Task<Refusal<'EINVAL'> | undefined> {
    if (!this.#isRange(first, count)) return refuse('EINVAL', `no ${count} pages from page ${first}`);
    const last = first + count - 1;
    yield* this.#lock.lock();
    try {
      for (const area of this.#overlapping(first, last)) {
        this.#areas.delete(area.first);
        for (const left of without(area, first, last)) this.#areas.set(left.first, left);
        const gone = within(area, first, last);
        const led = this.table.clearAll(gone.first, gone.last);
        const isFree = yield* this.#flush(gone.first, gone.last);
        if (isFree) this.#freePages(gone, led);
        else this.#lose(gone);
      }
      tell(this.#context, 'mm:unmap', { mm: this.name, page: pageName(first), pages: count });
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  /** Takes away all portals of an owner's. Nothing is there of them any more if the memory is gone. */
  *unmapPortals(owner: object): Task {
    for (const area of this.areas) {
      if (this.isAlive && area.portal?.owner === owner) yield* this.munmap(area.first, pagesOf(area));
    }
  }

  /**
   * Changes the rights of a range of pages. When it returns, no CPU and no device has more than these, but one that
   * does not answer.
   *
   * On failure: `EINVAL` for a range that is none; `ENOENT` if a page of it is not promised.
   */
  *protect(
    range: { readonly first: number; readonly count: number },
    rights: LeafRights,
  ): Task<Refusal<'EINVAL' | 'ENOENT'> | undefined> {
    const { first, count } = range;
    if (!this.#isRange(first, count)) return refuse('EINVAL', `no ${count} pages from page ${first}`);
    const last = first + count - 1;
    yield* this.#lock.lock();
    try {
      const areas = this.#overlapping(first, last);
      const covered = areas.reduce((sum, area) => sum + pagesOf(within(area, first, last)), 0);
      if (covered < count) return refuse('ENOENT', `${this.name} has a hole after ${pageName(first)}`);
      for (const area of areas) {
        this.#areas.delete(area.first);
        for (const left of without(area, first, last)) this.#areas.set(left.first, left);
        const changed = { ...within(area, first, last), rights };
        this.#areas.set(changed.first, changed);
      }
      for (const { page } of this.table.leaves(first, last)) this.table.protect(page, rights);
      yield* this.#flush(first, last);
      tell(this.#context, 'mm:protect', { mm: this.name, page: pageName(first), pages: count, ...rights });
      return undefined;
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * Serves a fault: makes a page present if it is promised with these rights. That it is there already is fine.
   *
   * On failure: `EFAULT` if it is not; `ENOMEM`.
   */
  *handleFault(page: number, access: FaultAccess): Task<Refusal<'EFAULT' | 'ENOMEM'> | undefined> {
    yield* this.#lock.lock();
    try {
      return this.#fault(page, access);
    } finally {
      this.#lock.unlock();
    }
  }

  /**
   * The frames of a range of pages, all present, and held: they stay in use, whatever becomes of the pages. Whoever
   * gets them releases each.
   *
   * On failure: `EFAULT` if a page is not promised with these rights, or is a device's; `ENOMEM`; `EOVERFLOW`. None
   * is held.
   */
  *holdPages(
    range: { readonly first: number; readonly count: number },
    write: boolean,
  ): Task<Int32Array | Refusal<'EFAULT' | 'ENOMEM' | 'EOVERFLOW'>> {
    const { first, count } = range;
    const held = new Int32Array(count);
    yield* this.#lock.lock();
    try {
      for (let i = 0; i < count; i++) {
        const frame = this.#holdPage(first + i, write);
        if (isRefusal(frame)) {
          for (const each of held.subarray(0, i)) this.#context.frames.release(each);
          return frame;
        }
        held[i] = frame;
      }
    } finally {
      this.#lock.unlock();
    }
    return held;
  }

  protected override saved(): () => void {
    const before = { pasid: this.#pasid, owner: this.#pasidOwner, users: this.#users, pins: this.#pins };
    return () => {
      this.#pasid = before.pasid;
      this.#pasidOwner = before.owner;
      this.#users = before.users;
      this.#pins = before.pins;
    };
  }

  #holdPage(page: number, write: boolean): number | Refusal<'EFAULT' | 'ENOMEM' | 'EOVERFLOW'> {
    const refusal = this.#fault(page, { write, execute: false });
    if (refusal !== undefined) return refusal;
    if (this.#areaAt(page)?.portal !== undefined) {
      return refuse('EFAULT', `${pageName(page)} of ${this.name} is a device's`);
    }
    const leaf = this.table.leaf(page);
    assert(leaf !== undefined, 'a fault was served, and there is no leaf');
    return this.#context.frames.hold(leaf.frame) ?? leaf.frame;
  }

  /**
   * Copies bytes to the process's memory as the kernel does on its behalf, with the process's rights.
   *
   * On failure: `EFAULT`, `ENOMEM`; what came before stays copied.
   */
  *copyTo(address: number, from: Uint8Array): Task<Refusal<'EFAULT' | 'ENOMEM'> | undefined> {
    const { memory } = this.#context.platform;
    return yield* this.#copy(address, from.length, true, (at, offset, length) => {
      memory.write(at, from.subarray(offset, offset + length));
    });
  }

  /**
   * Copies bytes out of the process's memory.
   *
   * On failure: `EFAULT`, `ENOMEM`.
   */
  *copyFrom(address: number, into: Uint8Array): Task<Refusal<'EFAULT' | 'ENOMEM'> | undefined> {
    const { memory } = this.#context.platform;
    return yield* this.#copy(address, into.length, false, (at, offset, length) => {
      memory.read(at, into.subarray(offset, offset + length));
    });
  }

  /**
   * A copy with one user: pages that are there are copied, portals only where they are inherited. The PASID is
   * not: it stands for this address space.
   *
   * On failure: `ENOMEM`; nothing is left of the copy.
   */
  *fork(name: string): Task<AddressSpace | Refusal<'ENOMEM'>> {
    const child = AddressSpace.create(this.#context, name);
    if (isRefusal(child)) return child;
    yield* this.#lock.lock();
    try {
      for (const area of this.areas) {
        const refusal = this.#copyArea(area, child);
        if (refusal === undefined) continue;
        yield* child.put();
        return refusal;
      }
    } finally {
      this.#lock.unlock();
    }
    return child;
  }

  #copyArea(area: Area, child: AddressSpace): Refusal<'ENOMEM'> | undefined {
    if (area.portal !== undefined) {
      if (!area.portal.inherited) return undefined;
      const refusal = child.#mapPortal(area, area.portal.frame);
      if (refusal === undefined) child.#areas.set(area.first, area);
      return refusal;
    }
    child.#areas.set(area.first, area);
    const { memory } = this.#context.platform;
    const bytes = new Uint8Array(PAGE_BYTES);
    for (const leaf of this.table.leaves(area.first, area.last)) {
      const refusal = child.#fault(leaf.page, { write: false, execute: false });
      if (refusal !== undefined) return refuse('ENOMEM', refusal.why);
      const copy = child.table.leaf(leaf.page);
      assert(copy !== undefined, 'a fault was served, and there is no leaf');
      memory.read(paOf(leaf.frame), bytes);
      memory.write(paOf(copy.frame), bytes);
    }
    return undefined;
  }

  *#copy(
    address: number,
    length: number,
    write: boolean,
    piece: (at: number, offset: number, length: number) => void,
  ): Task<Refusal<'EFAULT' | 'ENOMEM'> | undefined> {
    for (let done = 0; done < length; ) {
      const page = Math.floor((address + done) / PAGE_BYTES);
      const offset = (address + done) % PAGE_BYTES;
      const bytes = Math.min(PAGE_BYTES - offset, length - done);
      yield* this.#lock.lock();
      try {
        const refusal = this.#fault(page, { write, execute: false });
        if (refusal !== undefined) return refusal;
        const leaf = this.table.leaf(page);
        assert(leaf !== undefined, 'a fault was served, and there is no leaf');
        if (this.#areaAt(page)?.portal !== undefined) {
          return refuse('EFAULT', `${pageName(page)} of ${this.name} is a device's`);
        }
        piece(paOf(leaf.frame, offset), done, bytes);
      } finally {
        this.#lock.unlock();
      }
      done += bytes;
    }
    return undefined;
  }

  /** Under the lock. */
  #fault(page: number, { write, execute }: FaultAccess): Refusal<'EFAULT' | 'ENOMEM'> | undefined {
    const area = this.#areaAt(page);
    if (area === undefined) return refuse('EFAULT', `${this.name} has nothing at ${pageName(page)}`);
    if ((write && !area.rights.write) || (execute && !area.rights.execute)) {
      return refuse('EFAULT', `${this.name} may not ${write ? 'write' : 'execute'} ${pageName(page)}`);
    }
    if (this.table.leaf(page) !== undefined) return undefined;
    const { frames } = this.#context;
    const owner: FrameOwner = { kind: 'page', mm: this.name, page };
    const frame = area.scattered ? frames.allocScattered(owner) : frames.alloc(owner);
    if (isRefusal(frame)) return frame;
    const refusal = this.table.map(page, frame, area.rights);
    if (refusal !== undefined) frames.free(frame);
    return refusal;
  }

  /** On failure some pages may be mapped. */
  #mapPortal(area: Area, frame: number): Refusal<'ENOMEM'> | undefined {
    for (let page = area.first; page <= area.last; page++) {
      const refusal = this.table.map(page, frame + page - area.first, area.rights);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Gives back what pages of an area led to. */
  #freePages(area: Area, led: readonly number[]): void {
    if (area.portal !== undefined) return;
    for (const frame of led) this.#context.frames.free(frame);
  }

  /** The frames of pages that hardware may still reach stay taken (bug F14). */
  #lose(area: Area): void {
    tell(this.#context, 'mm:lost', { mm: this.name, page: pageName(area.first), pages: pagesOf(area) });
  }

  /**
   * Returns when neither a CPU nor anybody else uses copies of the leaves of these pages; false if that is not sure.
   */
  *#flush(first: number, last: number): Task<boolean> {
    yield* this.#context.cpus.shootdown();
    let isSure = true;
    for (const notifier of [...this.#notifiers.items]) {
      if ((yield* notifier.invalidateRange(first, last)) !== undefined) isSure = false;
    }
    return isSure;
  }

  #areaAt(page: number): Area | undefined {
    return this.#areas.find((area) => area.first <= page && area.last >= page);
  }

  #overlapping(first: number, last: number): Area[] {
    const found = this.#areas.values().filter((area) => area.first <= last && area.last >= first);
    return found.sort((a, b) => a.first - b.first);
  }

  #isRange(first: number, count: number): boolean {
    const isWhole = Number.isInteger(first) && Number.isInteger(count);
    return isWhole && first >= 0 && count >= 1 && first + count <= this.table.userPages;
  }

  #gap(count: number): number {
    let first = MMAP_BASE;
    for (const area of this.areas)
      if (area.first < first + count && area.last >= first) first = area.last + 1;
    return first;
  }
}

const pagesOf = (area: Area): number => area.last - area.first + 1;
