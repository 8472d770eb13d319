/**
 * What the driver of an accelerator knows of virtual devices that stand on its queues: whom to tell of errors, which
 * PASIDs of a guest are bound through how many of them, and what of them is put back with the machine. They come and go
 * while it runs.
 */
import { KeptList, KeptTable, type Restorable, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import type { Pasid } from '../ids.js';

/** A virtual device, as its parent knows it. */
export interface VirtualDevice {
  /** Its registers. */
  readonly state: Restorable;
  /** Told of an error of the device, as SWERROR has it; whether it was its own matter. */
  readonly reported: (words: Int32Array) => boolean;
  /** The parent goes: returns when nobody has it any more, and it is removed. */
  surrender(): Task;
}

export class VirtualDevices implements Restorable {
  readonly #devices: KeptList<VirtualDevice>;
  /** Through how many of them each PASID of a guest's is bound. */
  readonly #users: KeptTable<Pasid, number>;
  #marked: readonly VirtualDevice[] = [];

  constructor({ log, platform }: KernelContext) {
    this.#devices = new KeptList(log);
    this.#users = new KeptTable(log);
    platform.keep(this);
  }

  get count(): number {
    return this.#devices.length;
  }

  add(device: VirtualDevice): void {
    this.#devices.push(device);
  }

  remove(device: VirtualDevice): void {
    this.#devices.remove(device);
  }

  /** The parent goes, and all of them before it. */
  *surrender(): Task {
    for (const device of [...this.#devices.items]) yield* device.surrender();
  }

  /** Tells the one whose matter an error is. It is nobody else's: the first that knows the PASID. */
  report(words: Int32Array): void {
    this.#devices.items.some(({ reported }) => reported(words));
  }

  /** A PASID is bound through one more of them. */
  bound(pasid: Pasid): void {
    this.#users.set(pasid, (this.#users.get(pasid) ?? 0) + 1);
  }

  /** And through one less. */
  unbound(pasid: Pasid): void {
    const left = (this.#users.get(pasid) ?? 0) - 1;
    if (left > 0) this.#users.set(pasid, left);
    else this.#users.delete(pasid);
  }

  /** Through how many of them a PASID is bound. */
  usersOf(pasid: Pasid): number {
    return this.#users.get(pasid) ?? 0;
  }

  /** Whether a PASID is bound through several of them. */
  isShared(pasid: Pasid): boolean {
    return (this.#users.get(pasid) ?? 0) > 1;
  }

  mark(): void {
    this.#marked = [...this.#devices.items];
    for (const { state } of this.#marked) state.mark();
  }

  /** What came after the mark is led to by nothing any more. */
  restore(): void {
    for (const { state } of this.#marked) state.restore();
  }
}
