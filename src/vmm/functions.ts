/**
 * The virtual functions of a VM, from its boot on and while it runs: they are plugged in, and go, with a word to the
 * guest before or without.
 *
 * A function that goes is first out of the guest's reach: its registers answer nobody, its portal is unmapped. Then
 * VFIO unbinds what is bound for it, in the phases of every tear-down; what the guest itself undoes meanwhile waits for
 * that, for the virtual IOMMU knows the function still. Only then it is forgotten there, and given back to the host.
 *
 * Left out: whole functions that come at run time.
 */
import { KeptList, KeptMap, KeptValue, type Refusal, refuse, type Task, WaitQueue } from '../base/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import { type KernelContext, ridName, tell, type VfioContainer } from '../kernel/index.js';
import type { GuestBus } from './bus.js';
import type { VmFunction } from './function.js';
import type { VirtualIommu } from './iommu/virtual-iommu.js';
import type { VmDevice } from './options.js';
import type { Portals } from './portals.js';
import { SlotController } from './slots.js';
import type { VfioSide } from './vfio-side.js';

const COMMAND = 4;
const FIRST_BAR = 0xe000_0000;
const FUNCTIONS = 8;
const SLOTS = 32;

export interface FunctionsParts {
  readonly name: string;
  readonly context: KernelContext;
  readonly container: VfioContainer;
  readonly bus: GuestBus;
  readonly side: VfioSide;
  readonly portals: Portals;
  /** Undefined if the guest has none. */
  readonly iommu: VirtualIommu | undefined;
  /** Sends an interrupt message to the guest. */
  readonly message: (address: number, data: number) => void;
  readonly create: (device: VmDevice) => VmFunction;
  /** Has devices reach the guest's memory; once more is no error. */
  readonly mapDma: () => Task<Refusal | undefined>;
}

/** Where a function's BARs were placed. */
interface Window {
  readonly first: number;
  readonly end: number;
}

export class VmFunctions {
  readonly controller: SlotController;
  readonly #parts: FunctionsParts;
  readonly #items: KeptList<VmFunction>;
  readonly #windows: KeptMap<VmFunction, Window>;
  /** Those that are on their way out. */
  readonly #leaving: KeptMap<VmFunction, true>;
  /** Comings and goings under way. */
  readonly #busy: KeptValue<number>;
  /** Woken when one has come or gone, or the VM has ended. */
  readonly #changed: WaitQueue;
  readonly #isEnded: KeptValue<boolean>;

  constructor(parts: FunctionsParts) {
    const { name, context, message } = parts;
    const { log } = context;
    this.#parts = parts;
    this.#items = new KeptList(log);
    this.#windows = new KeptMap(log);
    this.#leaving = new KeptMap(log);
    this.#busy = new KeptValue(log, 0);
    this.#changed = new WaitQueue(`functions of ${name}`);
    this.#isEnded = new KeptValue(log, false);
    const ejected = (slot: number): void => this.#ejected(slot);
    this.controller = new SlotController(log, { name, message, ejected });
  }

  get items(): readonly VmFunction[] {
    return this.#items.items;
  }

  /** Whether there is a device of that name that is not on its way out. */
  has(name: string): boolean {
    const each = this.#find(name);
    return each !== undefined && !this.#leaving.has(each);
  }

  /** Whether one comes or goes. */
  get isBusy(): boolean {
    return this.#busy.value > 0;
  }

  /** A function that the machine is built with; it is added later. */
  build(device: VmDevice): void {
    const made = this.#parts.create(device);
    this.#items.push(made);
    this.#parts.bus.attach(made);
  }

  /**
   * Takes what is behind a function for the VM.
   *
   * On failure: what the host refuses with: nothing of it is left.
   */
  *add(each: VmFunction, set: IoasidSet): Task<Refusal | undefined> {
    const { container, iommu, side } = this.#parts;
    this.#place(each);
    const taken = each.open(set, () => this.#ask(each));
    if (taken !== undefined) return taken;
    const refusal = yield* container.addDevice(each.vfio);
    if (refusal !== undefined) {
      yield* each.close();
      return refusal;
    }
    yield* each.start();
    side.add(each.rid, each.vfio);
    if (iommu === undefined) return undefined;
    iommu.addDevice(each.rid);
    side.listen(each.rid, iommu);
    return undefined;
  }

  /**
   * Plugs a device in: returns when it is there, and the guest is told of it.
   *
   * On failure: `EINVAL` for a place that is none; `EBUSY` if something is there, or the guest has not let go of what
   * was; `EOPNOTSUPP` for a whole function; what the host refuses with. Nothing has changed.
   */
  *plug(device: VmDevice, set: IoasidSet): Task<Refusal | undefined> {
    const slot = slotOf(device.at);
    const { name, bus, portals } = this.#parts;
    if (!('mdev' in device)) return refuse('EOPNOTSUPP', `${device.name} is a whole function`);
    if (slot === undefined) return refuse('EINVAL', `no slot at ${ridName(device.at)}`);
    if (this.#items.items.some(({ rid }) => rid === device.at) || this.controller.isAsked(slot)) {
      return refuse('EBUSY', `there is something at ${ridName(device.at)} of ${name}`);
    }
    const made = this.#parts.create(device);
    this.#items.push(made);
    this.#busy.value++;
    try {
      const refusal = (yield* this.add(made, set)) ?? (yield* this.#parts.mapDma());
      if (refusal !== undefined) {
        yield* this.#remove(made);
        return refusal;
      }
      bus.attach(made);
      if (portals.isFollowing) yield* portals.place(made);
      tell(this.#parts.context, 'vmm:plug', { vm: name, device: made.name, rid: ridName(made.rid) });
      this.controller.come(slot);
      return undefined;
    } finally {
      this.#busy.value--;
      this.#changed.wakeAll();
    }
  }

  /**
   * Asks the guest to let go of a device: returns when it is out.
   *
   * On failure: `ENOENT` if there is none; `EOPNOTSUPP` if it has no slot, and nobody can be asked; `ESRCH` if the VM
   * has ended before.
   */
  *unplug(name: string): Task<Refusal<'ENOENT' | 'EOPNOTSUPP' | 'ESRCH'> | undefined> {
    const each = this.#find(name);
    if (each === undefined) return refuse('ENOENT', `there is no ${name}`);
    if (slotOf(each.rid) === undefined) return refuse('EOPNOTSUPP', `${name} has no slot`);
    this.#ask(each);
    return yield* this.#out(each);
  }

  /**
   * Takes a device out, whatever the guest does with it; it is told afterwards. Returns when it is out.
   *
   * On failure: `ENOENT` if there is none; `ESRCH` if the VM has ended before.
   */
  *pullOut(name: string): Task<Refusal<'ENOENT' | 'ESRCH'> | undefined> {
    const each = this.#find(name);
    if (each === undefined) return refuse('ENOENT', `there is no ${name}`);
    this.#begin(each);
    const slot = slotOf(each.rid);
    if (slot !== undefined) this.controller.go(slot);
    return yield* this.#out(each);
  }

  /** The VM has ended: who waits for its guest does so no longer. */
  end(): void {
    this.#isEnded.value = true;
    this.#changed.wakeAll();
  }

  #find(name: string): VmFunction | undefined {
    return this.#items.items.find((each) => each.name === `${this.#parts.name} ${name}`);
  }

  #ask(each: VmFunction): void {
    if (this.#leaving.has(each)) return;
    tell(this.#parts.context, 'vmm:unplug', { vm: this.#parts.name, device: each.name });
    const slot = slotOf(each.rid);
    if (slot === undefined) this.#begin(each);
    else this.controller.go(slot);
  }

  *#out(each: VmFunction): Task<Refusal<'ESRCH'> | undefined> {
    while (this.#items.items.includes(each)) {
      if (this.#isEnded.value) return refuse('ESRCH', `${this.#parts.name} has ended`);
      yield this.#changed;
    }
    return undefined;
  }

  /** The guest says that it has let go of a slot. */
  #ejected(slot: number): void {
    const each = this.#items.items.find(({ rid }) => rid === slot * FUNCTIONS);
    if (each !== undefined) this.#begin(each);
  }

  /** From now on it answers nobody; the rest is a task's. */
  #begin(each: VmFunction): void {
    if (this.#leaving.has(each)) return;
    const { context, name } = this.#parts;
    this.#leaving.set(each, true);
    this.#parts.bus.detach(each.rid);
    each.abandon();
    this.#busy.value++;
    context.tasks.spawn(`${name}: ${each.name} goes`, this.#goes(each));
  }

  *#goes(each: VmFunction): Task {
    yield* this.#remove(each);
    tell(this.#parts.context, 'vmm:gone', { vm: this.#parts.name, device: each.name });
    this.#busy.value--;
    this.#changed.wakeAll();
  }

  *#remove(each: VmFunction): Task {
    const { portals, container, iommu, side } = this.#parts;
    // Its portal has no place any more.
    each.writeConfig(COMMAND, 2, 0);
    yield* portals.place(each);
    yield* each.quiesce();
    yield* container.removeDevice(each.vfio);
    iommu?.removeDevice(each.rid);
    side.remove(each.rid);
    yield* each.close();
    this.#items.remove(each);
    this.#leaving.delete(each);
    this.#windows.delete(each);
  }

  /** As firmware does: behind or between the others. */
  #place(each: VmFunction): void {
    const windows = this.#windows.values().sort((a, b) => a.first - b.first);
    let first = FIRST_BAR;
    for (;;) {
      const end = each.placeBars(first);
      const at = first;
      const other = windows.find((window) => window.first < end && window.end > at);
      if (other === undefined) {
        this.#windows.set(each, { first, end });
        return;
      }
      first = other.end;
    }
  }
}

/** The slot of a function; undefined for one that is not function 0 of a device of bus 0. */
const slotOf = (rid: number): number | undefined =>
  rid % FUNCTIONS === 0 && rid < SLOTS * FUNCTIONS ? rid / FUNCTIONS : undefined;
