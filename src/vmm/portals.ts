/**
 * The portals of a VM's virtual functions, mapped where the guest's BARs say. A guest that moves a BAR is followed by
 * a task of the VMM's: until then the portal stays where it was, which reaches nothing but its own. While the VM is to
 * stand still they are mapped nowhere, and who goes there waits.
 */
import { KeptMap, KeptValue, type Task, WaitQueue } from '../base/index.js';
import type { KernelContext, KvmVm } from '../kernel/index.js';
import type { VmFunction } from './function.js';

export class Portals {
  readonly #name: string;
  readonly #context: KernelContext;
  readonly #kvm: KvmVm;
  /** Where the first of each function's is mapped: a guest frame. */
  readonly #mapped: KeptMap<VmFunction, number>;
  readonly #moved: KeptValue<boolean>;
  readonly #isRunning: KeptValue<boolean>;
  readonly #isFollowing: KeptValue<boolean>;
  /** Somebody maps or unmaps. */
  readonly #isPlacing: KeptValue<boolean>;
  readonly #placed: WaitQueue;
  /** They are to be nowhere; and where each was. */
  readonly #isHeld: KeptValue<boolean>;
  /** They are on their way back. */
  readonly #isReturning: KeptValue<boolean>;
  readonly #heldAt: KeptMap<VmFunction, number>;

  constructor(context: KernelContext, of: { readonly name: string; readonly kvm: KvmVm }) {
    const { log } = context;
    this.#name = of.name;
    this.#context = context;
    this.#kvm = of.kvm;
    this.#mapped = new KeptMap(log);
    this.#moved = new KeptValue(log, false);
    this.#isRunning = new KeptValue(log, false);
    this.#isFollowing = new KeptValue(log, false);
    this.#isPlacing = new KeptValue(log, false);
    this.#placed = new WaitQueue(`portals of ${of.name}`);
    this.#isHeld = new KeptValue(log, false);
    this.#isReturning = new KeptValue(log, false);
    this.#heldAt = new KeptMap(log);
  }

  /** Whether the guest is followed. */
  get isFollowing(): boolean {
    return this.#isFollowing.value;
  }

  /** Whether they are to be nowhere. */
  get areHeld(): boolean {
    return this.#isHeld.value;
  }

  /** Whether one is away for a while that is at a guest frame: what goes there waits for it. */
  isAwayFrom(gfn: number, functions: readonly VmFunction[]): boolean {
    if (!this.#isHeld.value && !this.#isReturning.value) return false;
    return functions.some(({ portalGfn, portals }) => {
      return portalGfn !== undefined && gfn >= portalGfn && gfn < portalGfn + portals.length;
    });
  }

  /** Whether its task runs. */
  get isBusy(): boolean {
    return this.#isRunning.value;
  }

  /** A function's BARs may have been moved. */
  moved(functions: readonly VmFunction[]): void {
    if (!this.#isFollowing.value || functions.every((each) => each.portalGfn === this.#mapped.get(each)))
      return;
    this.#moved.value = true;
    if (this.#isRunning.value) return;
    this.#isRunning.value = true;
    this.#context.tasks.spawn(`${this.#name} portals`, this.#run(functions));
  }

  /** From now on the guest is followed. */
  follow(): void {
    this.#isFollowing.value = true;
  }

  /** And from now on it is not. */
  end(): void {
    this.#isFollowing.value = false;
  }

  /** Maps a function's portals where it says, and nowhere else. Those that have no place there are mapped nowhere. */
  *place(each: VmFunction): Task {
    while (this.#isPlacing.value) yield this.#placed;
    this.#isPlacing.value = true;
    try {
      yield* this.#place(each);
    } finally {
      this.#isPlacing.value = false;
      this.#placed.wakeAll();
    }
  }

  /**
   * The VM is to stand still: returns when nothing is submitted any more. What its CPUs had on their way has arrived.
   */
  *hold(functions: readonly VmFunction[]): Task {
    this.#isHeld.value = true;
    for (const each of [...functions]) yield* this.place(each);
  }

  /** And it goes on: who waits at a portal finds it. */
  *release(functions: readonly VmFunction[]): Task {
    this.#isHeld.value = false;
    this.#isReturning.value = true;
    for (const each of [...functions]) yield* this.place(each);
    this.#isReturning.value = false;
  }

  *#place(each: VmFunction): Task {
    const wanted = each.portalGfn;
    const there = this.#mapped.get(each);
    const held = this.#heldAt.get(each);
    const pages = each.portals.length;
    const isHeld = this.#isHeld.value && wanted !== undefined;
    if (held !== undefined && !isHeld) {
      this.#heldAt.delete(each);
      if (held !== wanted) yield* this.#unmap(held, pages);
    }
    if (there !== undefined && (isHeld || wanted !== there)) {
      yield* this.#unmap(there, pages, isHeld);
      this.#mapped.delete(each);
      if (isHeld) this.#heldAt.set(each, there);
    }
    if (wanted === undefined || isHeld || this.#mapped.get(each) === wanted) return;
    for (const [i, frame] of each.portals.entries()) {
      if ((yield* this.#kvm.mapDevicePage(wanted + i, frame)) === undefined) continue;
      yield* this.#unmap(wanted, i);
      return;
    }
    this.#mapped.set(each, wanted);
  }

  /** Whether a function's portals are mapped. */
  isMapped(each: VmFunction): boolean {
    return this.#mapped.has(each);
  }

  *#unmap(first: number, pages: number, isHeld = false): Task {
    for (let i = 0; i < pages; i++) yield* this.#kvm.unmapDevicePage(first + i, isHeld);
  }

  *#run(functions: readonly VmFunction[]): Task {
    while (this.#moved.value && this.#isFollowing.value) {
      this.#moved.value = false;
      for (const each of functions) {
        yield `${this.#name}: portals`;
        yield* this.place(each);
      }
    }
    this.#isRunning.value = false;
  }
}
