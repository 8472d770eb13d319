/**
 * The portals of a VM's virtual functions, mapped where the guest's BARs say. A guest that moves a BAR is followed by
 * a task of the VMM's: until then the portal stays where it was, which reaches nothing but its own.
 */
import { KeptMap, KeptValue, type Task } from '../base/index.js';
import type { KernelContext, KvmVm } from '../kernel/index.js';
import type { VirtualFunction } from './device.js';

export class Portals {
  readonly #name: string;
  readonly #context: KernelContext;
  readonly #kvm: KvmVm;
  /** Where each is mapped: a guest frame. */
  readonly #mapped: KeptMap<VirtualFunction, number>;
  readonly #moved: KeptValue<boolean>;
  readonly #isRunning: KeptValue<boolean>;
  readonly #isFollowing: KeptValue<boolean>;

  constructor(context: KernelContext, of: { readonly name: string; readonly kvm: KvmVm }) {
    const { log } = context;
    this.#name = of.name;
    this.#context = context;
    this.#kvm = of.kvm;
    this.#mapped = new KeptMap(log);
    this.#moved = new KeptValue(log, false);
    this.#isRunning = new KeptValue(log, false);
    this.#isFollowing = new KeptValue(log, false);
  }

  /** Whether its task runs. */
  get isBusy(): boolean {
    return this.#isRunning.value;
  }

  /** A function's BARs may have been moved. */
  moved(functions: readonly VirtualFunction[]): void {
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

  /** Maps a portal where its function says, and nowhere else. One that has no place there is mapped nowhere. */
  *place(each: VirtualFunction): Task {
    const wanted = each.portalGfn;
    const there = this.#mapped.get(each);
    if (wanted === there) return;
    if (there !== undefined) {
      yield* this.#kvm.unmapDevicePage(there);
      this.#mapped.delete(each);
    }
    if (wanted === undefined) return;
    const refusal = yield* this.#kvm.mapDevicePage(wanted, each.mdev.portal.frame);
    if (refusal === undefined) this.#mapped.set(each, wanted);
  }

  /** Whether a function's portal is mapped. */
  isMapped(each: VirtualFunction): boolean {
    return this.#mapped.has(each);
  }

  *#run(functions: readonly VirtualFunction[]): Task {
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
