/**
 * MOVDIR64B of a guest's kernel: to a portal that is mapped straight through, or to registers that trap. While the machine
 * is to stand still its portals are away, and a store that finds none waits for it, as the instruction of a program does.
 */
import { KeptList, type UndoLog } from '../base/index.js';
import type { VcpuPort } from '../kernel/index.js';
import type { GuestBus } from './bus.js';

const PAGE = 4096;

/** 64 bytes that are to be stored at once. */
export interface HeldStore {
  readonly address: number;
  readonly words: Int32Array;
}

export interface PortalStoresParts {
  /** The first of them stores. */
  readonly vcpus: readonly VcpuPort[];
  readonly bus: GuestBus;
  /** Whether a portal is away for a while that is at a guest frame. */
  readonly isAway: (gfn: number) => boolean;
}

export class PortalStores {
  readonly #parts: PortalStoresParts;
  readonly #held: KeptList<HeldStore>;

  constructor(log: UndoLog, parts: PortalStoresParts) {
    this.#parts = parts;
    this.#held = new KeptList(log);
  }

  /** Those that wait, oldest first. */
  get held(): readonly HeldStore[] {
    return this.#held.items;
  }

  write(address: number, words: Int32Array): void {
    const { vcpus, bus, isAway } = this.#parts;
    if (vcpus[0]?.write512(address, words) === true) return;
    if (isAway(Math.floor(address / PAGE))) this.#held.push({ address, words: words.slice() });
    else bus.write512(address, words);
  }

  /** Those that have waited in a machine that this one has taken over wait here. */
  take(stores: readonly HeldStore[]): void {
    for (const store of stores) this.#held.push(store);
  }

  /** Portals are there again. */
  flush(): void {
    for (let store = this.#held.shift(); store !== undefined; store = this.#held.shift())
      this.write(store.address, store.words);
  }
}
