/**
 * The structure that CPUs translate a guest's PASIDs by (Intel SDM volume 3, 26.5.8), in memory: two directories of a
 * page, and a page of entries for each 1024 PASIDs that are used. CPUs walk it at any time and cache nothing of it:
 * a table is filled with zeroes before its directory entry says present, and an entry is one store of 4 bytes.
 */
import { isRefusal, KeptList, type Refusal } from '../../base/index.js';
import { VMX_PASID_DIRECTORY_ENTRY, VMX_PASID_INDEX, VMX_PASID_TABLE_ENTRY } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import type { FrameOwner } from '../frames.js';
import { GuestPasid, Pasid, paOf } from '../ids.js';

const { P, ADDR } = VMX_PASID_DIRECTORY_ENTRY;
const { PASID, VALID } = VMX_PASID_TABLE_ENTRY;
const { HIGH_SHIFT, DIRECTORY_SHIFT, DIRECTORY_MASK, TABLE_MASK } = VMX_PASID_INDEX;
const DIRECTORY_ENTRY_BYTES = 8;
const TABLE_ENTRY_BYTES = 4;
const TABLE_ENTRIES = TABLE_MASK + 1;

/** What a guest's PASID stands for. */
export interface PasidPair {
  readonly guest: GuestPasid;
  readonly host: Pasid;
}

/** A page of entries. */
interface Table {
  readonly frame: number;
  /** The guest's PASID that its first entry is for. */
  readonly first: number;
}

export class VmxPasidTable {
  /** Frames of the directories: of PASIDs without bit 19, and with it. */
  readonly low: number;
  readonly high: number;
  readonly #context: KernelContext;
  readonly #owner: FrameOwner;
  readonly #tables: KeptList<Table>;
  readonly #entry = new Int32Array(2);

  private constructor(
    context: KernelContext,
    owner: FrameOwner,
    of: { readonly low: number; readonly high: number },
  ) {
    this.#context = context;
    this.#owner = owner;
    this.low = of.low;
    this.high = of.high;
    this.#tables = new KeptList(context.log);
  }

  /**
   * A structure that translates nothing.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, name: string): VmxPasidTable | Refusal<'ENOMEM'> {
    const owner: FrameOwner = { kind: 'kernel', use: `PASID translation of ${name}` };
    const low = context.frames.alloc(owner);
    if (isRefusal(low)) return low;
    const high = context.frames.alloc(owner);
    if (!isRefusal(high)) return new VmxPasidTable(context, owner, { low, high });
    context.frames.free(low);
    return high;
  }

  /** What a guest's PASID is translated to; undefined if to nothing. */
  get(guest: GuestPasid): Pasid | undefined {
    const at = this.#find(guest);
    if (at < 0) return undefined;
    this.#entry[0] = this.#context.platform.memory.load32(at);
    return VALID.get(this.#entry, 0) === 1 ? Pasid.of(PASID.get(this.#entry, 0)) : undefined;
  }

  /**
   * Has a guest's PASID translated, from the store on.
   *
   * On failure: `ENOMEM` if its table is not there; it is translated as before.
   */
  set({ guest, host }: PasidPair): Refusal<'ENOMEM'> | undefined {
    const there = this.#find(guest);
    const at = there < 0 ? this.#make(guest) : there;
    if (isRefusal(at)) return at;
    this.#entry[0] = 0;
    PASID.set(this.#entry, 0, host);
    VALID.set(this.#entry, 0, 1);
    this.#context.platform.memory.store32(at, this.#entry[0]);
    return undefined;
  }

  /** Translates a guest's PASID to nothing, from the store on. */
  clear(guest: GuestPasid): void {
    const at = this.#find(guest);
    if (at >= 0) this.#context.platform.memory.store32(at, 0);
  }

  /** All that is translated. */
  get pairs(): PasidPair[] {
    const pairs: PasidPair[] = [];
    const entries = new Int32Array(TABLE_ENTRIES);
    for (const { frame, first } of this.#tables.items) {
      this.#context.platform.memory.read(paOf(frame), new Uint8Array(entries.buffer));
      for (let i = 0; i < TABLE_ENTRIES; i++) {
        if (VALID.get(entries, i) === 0) continue;
        pairs.push({ guest: GuestPasid.of(first + i), host: Pasid.of(PASID.get(entries, i)) });
      }
    }
    return pairs;
  }

  /** Gives all of it back. No CPU may walk it any more. */
  free(): void {
    const { frames } = this.#context;
    for (let table = this.#tables.shift(); table !== undefined; table = this.#tables.shift()) {
      frames.free(table.frame);
    }
    frames.free(this.low);
    frames.free(this.high);
  }

  /** The address of the entry of a guest's PASID; -1 if its table is not there. */
  #find(guest: GuestPasid): number {
    this.#context.platform.memory.load64(this.#directoryEntryOf(guest), this.#entry);
    if (P.get(this.#entry, 0) === 0) return -1;
    return paOf(ADDR.get(this.#entry, 0), (guest & TABLE_MASK) * TABLE_ENTRY_BYTES);
  }

  #make(guest: GuestPasid): number | Refusal<'ENOMEM'> {
    const { frames, platform } = this.#context;
    const frame = frames.alloc(this.#owner);
    if (isRefusal(frame)) return frame;
    this.#entry.fill(0);
    P.set(this.#entry, 0, 1);
    ADDR.set(this.#entry, 0, frame);
    platform.memory.store64(this.#directoryEntryOf(guest), this.#entry[0] ?? 0, this.#entry[1] ?? 0);
    this.#tables.push({ frame, first: guest - (guest & TABLE_MASK) });
    return paOf(frame, (guest & TABLE_MASK) * TABLE_ENTRY_BYTES);
  }

  #directoryEntryOf(guest: GuestPasid): number {
    const directory = guest >>> HIGH_SHIFT === 0 ? this.low : this.high;
    return paOf(directory, ((guest >>> DIRECTORY_SHIFT) & DIRECTORY_MASK) * DIRECTORY_ENTRY_BYTES);
  }
}
