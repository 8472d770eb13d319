/**
 * What a guest's accesses to registers meet: each traps into the VMM, which hands it to the virtual device or the
 * virtual IOMMU that stands there, as an exit does: at once, and nobody else goes on meanwhile. Reads give all
 * ones and writes are lost where nothing is; so are accesses that are not naturally aligned.
 */
import { KeptMap, type Restorable, type UndoLog } from '../base/index.js';
import { type MappedRegion, type MmioRegion, mappedBars, type PciFunction } from '../hardware/index.js';
import type { Mmio, PciConfig } from '../kernel/index.js';

/** What reads of configuration registers of no function give, by the size of the access. */
const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffff_ffff];
const CONFIGURATION_BYTES = 4096;

/** A virtual function, as accesses of the guest's kernel meet it. */
export type GuestFunction = Pick<PciFunction, 'rid' | 'readConfig' | 'writeConfig' | 'bars'>;

export class GuestBus implements Mmio, Restorable {
  readonly #functions: KeptMap<number, GuestFunction>;
  readonly #fixed: MappedRegion[] = [];
  /** The BARs that answer now; undefined if that may have changed. */
  #mapped: readonly MappedRegion[] | undefined;
  /** The offset in the region found last. */
  #offset = 0;

  /** Configuration space. */
  readonly config: PciConfig = {
    read: (rid, offset, bytes) => {
      if (!isConfigAccess(offset, bytes)) return ALL_ONES[bytes] ?? 0;
      return this.#functions.get(rid)?.readConfig(offset, bytes) ?? ALL_ONES[bytes] ?? 0;
    },
    write: (rid, offset, bytes, value) => {
      if (!isConfigAccess(offset, bytes)) return;
      this.#functions.get(rid)?.writeConfig(offset, bytes, value);
      this.#mapped = undefined;
    },
  };

  constructor(log: UndoLog) {
    this.#functions = new KeptMap(log);
  }

  /** Maps registers for good. */
  map(region: MmioRegion, base: number): void {
    this.#fixed.push({ region, base });
  }

  attach(added: GuestFunction): void {
    this.#functions.set(added.rid, added);
    this.#mapped = undefined;
  }

  /** Nobody answers in its place from now on. */
  detach(rid: number): void {
    this.#functions.delete(rid);
    this.#mapped = undefined;
  }

  /** Functions have taken over where their BARs are. */
  moved(): void {
    this.#mapped = undefined;
  }

  mark(): void {}

  /** The functions put themselves back, and the host's log which there are. */
  restore(): void {
    this.moved();
  }

  read32(address: number): number {
    return address % 4 === 0 ? (this.#regionAt(address)?.read32(this.#offset) ?? -1) : -1;
  }

  write32(address: number, value: number): void {
    if (address % 4 === 0) this.#regionAt(address)?.write32(this.#offset, value);
  }

  read64(address: number, out: Int32Array): void {
    const region = address % 8 === 0 ? this.#regionAt(address) : undefined;
    if (region !== undefined) region.read64(this.#offset, out);
    else out.fill(-1, 0, 2);
  }

  write64(address: number, lo: number, hi: number): void {
    if (address % 8 === 0) this.#regionAt(address)?.write64(this.#offset, lo, hi);
  }

  write512(address: number, words: Int32Array): void {
    if (address % 64 === 0) this.#regionAt(address)?.write512(this.#offset, words);
  }

  #regionAt(address: number): MmioRegion | undefined {
    this.#mapped ??= this.#functions.values().flatMap(mappedBars);
    return this.#find(this.#fixed, address) ?? this.#find(this.#mapped, address);
  }

  #find(regions: readonly MappedRegion[], address: number): MmioRegion | undefined {
    for (const { region, base } of regions) {
      if (address < base || address >= base + region.bytes) continue;
      this.#offset = address - base;
      return region;
    }
    return undefined;
  }
}

function isConfigAccess(offset: number, bytes: number): boolean {
  const isSized = bytes === 1 || bytes === 2 || bytes === 4;
  return isSized && offset >= 0 && offset < CONFIGURATION_BYTES && offset % bytes === 0;
}
