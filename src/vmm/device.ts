/**
 * A virtual PCI function in front of a mediated device: configuration space and MSI-X are the VMM's, the other
 * registers of BAR0 the device's own, and of BAR2 the portal's page is mapped straight through; accesses to the rest
 * of it trap here, and do nothing. It has PASIDs, ATS and PRI where the virtual IOMMU has: a guest's driver asks for
 * both.
 */
import type { Restorable } from '../base/index.js';
import { ConfigSpace, type MmioRegion } from '../hardware/index.js';
import type { Mdev, VfioDevice } from '../kernel/index.js';
import {
  BASE_ADDRESS_REG,
  DSA_BAR0_BYTES,
  DSA_TABLE,
  DSA_WQ_PORTAL_BYTES,
  TYPE_0_HEADER,
} from '../spec/index.js';
import type { GuestFunction } from './bus.js';
import { MsixTable } from './msix.js';

const COMMAND = 4;
const MEMORY = 1 << (TYPE_0_HEADER.MEMORY.low % 32);
const BAR_AT = 0x10;
const PAGE = 4096;
/** Invalidations that it takes at once, and page requests that it may have outstanding. */
const DEPTH = 32;

/** What the virtual IOMMU shows. */
export interface Shown {
  /** 0 for no PASIDs. */
  readonly pasidBits: number;
  readonly deviceTlbs: boolean;
  readonly pageRequests: boolean;
}

export interface VirtualFunctionOptions {
  /** `vm1 dsa0`. */
  readonly name: string;
  /** What the guest finds it at. */
  readonly rid: number;
  readonly mdev: Mdev;
  readonly shown: Shown;
  /** Sends an interrupt message. */
  readonly message: (address: number, data: number) => void;
  /** Called when its BARs may have been moved, switched on or off. */
  readonly moved: () => void;
}

export class VirtualFunction implements GuestFunction, Restorable {
  readonly name: string;
  readonly rid: number;
  readonly mdev: Mdev;
  readonly bars: readonly MmioRegion[];
  /** What VFIO is given. */
  readonly vfio: VfioDevice;
  readonly #config: ConfigSpace;
  readonly #msix: MsixTable;

  constructor({ name, rid, mdev, shown, message, moved }: VirtualFunctionOptions) {
    const { config } = mdev;
    this.name = name;
    this.rid = rid;
    this.mdev = mdev;
    this.#config = new ConfigSpace({
      ...{ vendor: config.vendor, device: config.device, classCode: config.classCode },
      bars: [DSA_BAR0_BYTES, DSA_WQ_PORTAL_BYTES],
      msix: { vectors: config.vectors, table: DSA_TABLE.MSIX, pending: DSA_TABLE.MSIX_PBA },
      ...(shown.pasidBits > 0 ? { pasid: { width: shown.pasidBits } } : {}),
      ...(shown.deviceTlbs ? { ats: { queueDepth: DEPTH } } : {}),
      ...(shown.deviceTlbs && shown.pageRequests ? { pri: { capacity: DEPTH } } : {}),
      changed: (part) => {
        if (part === 'msix') this.#msix.unmasked();
        else if (part === 'header') moved();
      },
    });
    this.#msix = new MsixTable({
      vectors: config.vectors,
      isEnabled: () => this.#config.isMsixEnabled,
      isMasked: () => this.#config.isMsixMasked,
      message,
    });
    const { iommu, usesParentPasids } = mdev;
    const { deviceTlbs: showsAts } = shown;
    this.vfio = {
      ...{ name, iommu, usesParentPasids, showsAts },
      drain: (pasid) => mdev.drain(pasid),
      bound: (pair) => mdev.bound(pair),
      unbound: (pasid) => mdev.unbound(pasid),
    };
    this.bars = [registersRegion(`${name} BAR0`, mdev, this.#msix), portalRegion(`${name} BAR2`)];
  }

  readConfig(offset: number, bytes: number): number {
    return this.#config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.#config.write(offset, bytes, value);
  }

  /** As firmware does: BARs, each at a multiple of its size from `from` on, which answer. The address after them. */
  placeBars(from: number): number {
    let at = from;
    for (const [i, { bytes }] of this.bars.entries()) {
      at = Math.ceil(at / bytes) * bytes;
      this.#config.write(BAR_AT + i * 8, 4, at % 2 ** 32);
      this.#config.write(BAR_AT + i * 8 + 4, 4, Math.floor(at / 2 ** 32));
      at += bytes;
    }
    this.#config.write(COMMAND, 2, MEMORY);
    return at;
  }

  /** The guest frame that the portal's page has now; undefined while its BARs do not answer. */
  get portalGfn(): number | undefined {
    if (!this.#config.isMemoryEnabled) return undefined;
    const low = Int32Array.of(this.#config.read(BAR_AT + 8, 4));
    const high = this.#config.read(BAR_AT + 12, 4);
    const base = high * 2 ** 32 + BASE_ADDRESS_REG.BASE.get(low, 0) * 16;
    return Math.floor((base + this.mdev.portal.offset) / PAGE);
  }

  /** The device signals a vector. */
  signal(vector: number): void {
    this.#msix.signal(vector);
  }

  mark(): void {
    this.#config.mark();
    this.#msix.mark();
  }

  restore(): void {
    this.#config.restore();
    this.#msix.restore();
  }
}

/** BAR0. A pair of 4-byte accesses is as good as one of 8: no register of the device tells them apart. */
function registersRegion(name: string, mdev: Mdev, msix: MsixTable): MmioRegion {
  const isTable = (offset: number): boolean =>
    offset >= DSA_TABLE.MSIX && offset < DSA_TABLE.MSIX + msix.bytes;
  const read32 = (offset: number): number => {
    if (offset === DSA_TABLE.MSIX_PBA) return msix.pending;
    return isTable(offset) ? msix.read32(offset - DSA_TABLE.MSIX) : mdev.read32(offset);
  };
  const write32 = (offset: number, value: number): void => {
    if (isTable(offset)) msix.write32(offset - DSA_TABLE.MSIX, value);
    else mdev.write32(offset, value);
  };
  return {
    ...{ name, bytes: DSA_BAR0_BYTES, read32, write32 },
    read64(offset, out) {
      out[0] = read32(offset);
      out[1] = read32(offset + 4);
    },
    write64(offset, lo, hi) {
      write32(offset, lo);
      write32(offset + 4, hi);
    },
    write512: () => {},
    enqueue: () => false,
  };
}

function portalRegion(name: string): MmioRegion {
  return {
    ...{ name, bytes: DSA_WQ_PORTAL_BYTES },
    read32: () => 0,
    write32: () => {},
    read64: (_offset, out) => void out.fill(0, 0, 2),
    write64: () => {},
    write512: () => {},
    enqueue: () => false,
  };
}
