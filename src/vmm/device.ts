/**
 * A virtual PCI function in front of a mediated device: configuration space and MSI-X are the VMM's, the other
 * registers of BAR0 the device's own, and of BAR2 the portal's page is mapped straight through; accesses to the rest
 * of it trap here, and do nothing. It has PASIDs, ATS and PRI where the virtual IOMMU has: a guest's driver asks for
 * both.
 */
import type { Refusal, Task } from '../base/index.js';
import type { MmioRegion } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { Mdev, VfioDevice } from '../kernel/index.js';
import { DSA_BAR0_BYTES, DSA_TABLE, DSA_WQ_PORTAL_BYTES } from '../spec/index.js';
import { FunctionShell, type Shown, type VmFunction, withMsix, wordRegion } from './function.js';

const MSIX_AT = { table: DSA_TABLE.MSIX, pending: DSA_TABLE.MSIX_PBA };

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

export class VirtualFunction implements VmFunction {
  readonly name: string;
  readonly rid: number;
  readonly mdev: Mdev;
  readonly bars: readonly MmioRegion[];
  readonly vfio: VfioDevice;
  readonly portals: readonly number[];
  readonly #shell: FunctionShell;

  constructor({ name, rid, mdev, shown, message, moved }: VirtualFunctionOptions) {
    const { config } = mdev;
    this.name = name;
    this.rid = rid;
    this.mdev = mdev;
    this.portals = [mdev.portal.frame];
    const bars = [DSA_BAR0_BYTES, DSA_WQ_PORTAL_BYTES];
    this.#shell = new FunctionShell({
      identity: { vendor: config.vendor, device: config.device, classCode: config.classCode, bars },
      msix: { vectors: config.vectors, ...MSIX_AT },
      ...{ shown, message, headerChanged: moved },
    });
    const { iommu, usesParentPasids } = mdev;
    const { deviceTlbs: showsAts } = shown;
    this.vfio = {
      ...{ name, iommu, usesParentPasids, showsAts },
      drain: (pasid) => mdev.drain(pasid),
      drainStrays: (pasid) => mdev.drainStrays(pasid),
      bound: (pair) => mdev.bound(pair),
      unbound: (pasid) => mdev.unbound(pasid),
    };
    const registers = {
      ...{ name: `${name} BAR0`, bytes: DSA_BAR0_BYTES },
      read32: (offset: number) => mdev.read32(offset),
      write32: (offset: number, value: number) => mdev.write32(offset, value),
    };
    this.bars = [withMsix(registers, this.#shell.msix, MSIX_AT), portalRegion(`${name} BAR2`)];
  }

  readConfig(offset: number, bytes: number): number {
    return this.#shell.config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.#shell.config.write(offset, bytes, value);
  }

  placeBars(from: number): number {
    return this.#shell.placeBars(this.bars, from);
  }

  get portalGfn(): number | undefined {
    return this.#shell.gfnOf(1, this.mdev.portal.offset);
  }

  open(set: IoasidSet, wanted: () => void): Refusal | undefined {
    return this.mdev.open(set, (vector) => this.signal(vector), wanted);
  }

  /** It was reset when it was let go of. */
  *start(): Task {}

  /** The host drains it by PASID. */
  *quiesce(): Task {}

  *reset(): Task {
    yield* this.mdev.reset();
  }

  abandon(): void {
    this.mdev.abandon();
  }

  *suspend(): Task<Refusal<'EIO'> | undefined> {
    return yield* this.mdev.suspend();
  }

  *resume(): Task {
    yield* this.mdev.resume();
  }

  *close(): Task {
    yield* this.mdev.close();
  }

  /** The device signals a vector. */
  signal(vector: number): void {
    this.#shell.msix.signal(vector);
  }

  mark(): void {
    this.#shell.mark();
  }

  restore(): void {
    this.#shell.restore();
  }
}

const portalRegion = (name: string): MmioRegion =>
  wordRegion({ name, bytes: DSA_WQ_PORTAL_BYTES, read32: () => 0, write32: () => {} });
