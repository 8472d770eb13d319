/**
 * The physical address space as a CPU sees it: memory, the registers of what is soldered on (IOMMUs), and the
 * BARs of functions, where software has put them. Loads give all ones and stores are lost where nothing is.
 * Accesses are naturally aligned; after SDM volume 3, 9, and PCIe 6.0, 2.2.
 */
import { Bug } from '../base/index.js';
import { ABSENT, FRAME_BYTES, type Memory } from './memory.js';
import type { MmioRegion } from './pci/ports.js';
import type { MappedRegion } from './pci/root-complex.js';
import type { WrittenBack } from './written-back.js';

/** Where the BARs that answer now are to be had: the root complex. */
export interface BarSource {
  readonly mapped: readonly MappedRegion[];
}

const LINE_WORDS = 16;

export class Bus {
  readonly #memory: Memory;
  readonly #bars: BarSource;
  readonly #writtenBack: WrittenBack | undefined;
  readonly #fixed: MappedRegion[] = [];
  /** The offset in the region found last. */
  #offset = 0;

  /** @param writtenBack told of stores to memory, where some hardware does not snoop */
  constructor(memory: Memory, bars: BarSource, writtenBack?: WrittenBack) {
    this.#memory = memory;
    this.#bars = bars;
    this.#writtenBack = writtenBack;
  }

  /** Writes cache lines back. */
  flush(address: number, bytes: number): void {
    this.#writtenBack?.flush(address, bytes);
  }

  /** Maps a region for good. */
  map(region: MmioRegion, base: number): void {
    this.#fixed.push({ region, base });
  }

  /** Loads 4 bytes, as a signed word. */
  read32(address: number): number {
    const at = this.#wordAt(address, 4);
    if (at !== ABSENT) return this.#memory.words[at] ?? 0;
    return this.#regionAt(address)?.read32(this.#offset) ?? -1;
  }

  write32(address: number, value: number): void {
    if (this.#wordAt(address, 4) !== ABSENT) {
      const at = this.#writableAt(address, 4);
      this.#memory.words[at] = value;
    } else {
      this.#regionAt(address)?.write32(this.#offset, value);
    }
  }

  /** Loads 8 bytes at once into `out[0]` (low) and `out[1]`. */
  read64(address: number, out: Int32Array): void {
    const at = this.#wordAt(address, 8);
    const region = at === ABSENT ? this.#regionAt(address) : undefined;
    if (region !== undefined) {
      region.read64(this.#offset, out);
      return;
    }
    out[0] = at === ABSENT ? -1 : (this.#memory.words[at] ?? 0);
    out[1] = at === ABSENT ? -1 : (this.#memory.words[at + 1] ?? 0);
  }

  /** Stores 8 bytes at once. */
  write64(address: number, lo: number, hi: number): void {
    if (this.#wordAt(address, 8) !== ABSENT) {
      const at = this.#writableAt(address, 8);
      this.#memory.words[at] = lo;
      this.#memory.words[at + 1] = hi;
    } else {
      this.#regionAt(address)?.write64(this.#offset, lo, hi);
    }
  }

  /** Stores 64 bytes at once (MOVDIR64B): 16 words of `data`. */
  write512(address: number, data: Int32Array): void {
    if (this.#wordAt(address, 64) !== ABSENT) {
      const at = this.#writableAt(address, 64);
      for (let i = 0; i < LINE_WORDS; i++) this.#memory.words[at + i] = data[i] ?? 0;
    } else {
      this.#regionAt(address)?.write512(this.#offset, data);
    }
  }

  /** Sends 64 bytes as a deferrable write (ENQCMD): whether they were accepted. What takes none says "retry". */
  enqueue(address: number, data: Int32Array): boolean {
    if (this.#wordAt(address, 64) !== ABSENT) return false;
    return this.#regionAt(address)?.enqueue(this.#offset, data) ?? false;
  }

  /** The region that an address lies in, if any; its offset in it goes to `#offset`. */
  #regionAt(address: number): MmioRegion | undefined {
    return this.#find(this.#fixed, address) ?? this.#find(this.#bars.mapped, address);
  }

  #find(regions: readonly MappedRegion[], address: number): MmioRegion | undefined {
    for (const { region, base } of regions) {
      if (address < base || address >= base + region.bytes) continue;
      this.#offset = address - base;
      return region;
    }
    return undefined;
  }

  #wordAt(address: number, bytes: number): number {
    if (address % bytes !== 0) throw new Bug(`an access of ${bytes} bytes at 0x${address.toString(16)}`);
    return this.#memory.at(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  }

  #writableAt(address: number, bytes: number): number {
    this.#writtenBack?.storing(address, bytes);
    return this.#memory.writable(Math.floor(address / FRAME_BYTES), (address % FRAME_BYTES) / 4);
  }
}
