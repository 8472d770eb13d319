/**
 * A virtual PCI function in front of a mediated device: configuration space and MSI-X are the VMM's, the other
 * registers of BAR0 the device's own, and of BAR2 the portal's page is mapped straight through; accesses to the rest
 * of it trap here, and do nothing. It has PASIDs, ATS and PRI where the virtual IOMMU has: a guest's driver asks for
 * both.
 */
import { isRefusal, type Refusal, type Task } from '../base/index.js';
import type { MmioRegion } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { Mdev, VfioDevice } from '../kernel/index.js';
import { DSA_BAR0_BYTES, DSA_TABLE, DSA_WQ_PORTAL_BYTES } from '../spec/index.js';
import {
  type FunctionOptions,
  FunctionShell,
  type FunctionState,
  type VmFunction,
  withMsix,
  wordRegion,
} from './function.js';

const MSIX_AT = { table: DSA_TABLE.MSIX, pending: DSA_TABLE.MSIX_PBA };

export interface VirtualFunctionOptions extends FunctionOptions {
  readonly mdev: Mdev;
}

export class VirtualFunction extends FunctionShell implements VmFunction {
  readonly mdev: Mdev;
  readonly bars: readonly MmioRegion[];
  readonly vfio: VfioDevice;
  readonly portals: readonly number[];

  constructor(options: VirtualFunctionOptions) {
    const { name, mdev, shown } = options;
    const { vendor, device, classCode, vectors } = mdev.config;
    const bars = [DSA_BAR0_BYTES, DSA_WQ_PORTAL_BYTES];
    super(options, { identity: { vendor, device, classCode, bars }, msix: { vectors, ...MSIX_AT } });
    this.mdev = mdev;
    this.portals = [mdev.portal.frame];
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
    this.bars = [withMsix(registers, this.msix, MSIX_AT), portalRegion(`${name} BAR2`)];
  }

  get portalGfn(): number | undefined {
    return this.gfnOf(1, this.mdev.portal.offset);
  }

  open(set: IoasidSet, wanted: () => void): Refusal | undefined {
    const refusal = this.mdev.open(set, (vector) => this.signal(vector), wanted);
    if (refusal === undefined) this.mdev.configWritten(this.config);
    return refusal;
  }

  /** What bus mastering, PASIDs, ATS and PRI do is the device's. */
  override writeConfig(offset: number, bytes: number, value: number): void {
    super.writeConfig(offset, bytes, value);
    this.mdev.configWritten(this.config);
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

  hold(): void {
    this.mdev.hold();
  }

  *suspend(): Task<Refusal<'EIO'> | undefined> {
    return yield* this.mdev.suspend();
  }

  *resume(): Task {
    yield* this.mdev.resume();
  }

  save(): FunctionState | Refusal<'EOPNOTSUPP'> {
    const device = this.mdev.save();
    return isRefusal(device) ? device : { ...this.saveShell(), device };
  }

  load(state: FunctionState): Refusal<'EINVAL'> | undefined {
    const refusal = this.mdev.load(state.device);
    if (refusal === undefined) this.loadShell(state);
    return refusal;
  }

  *close(): Task {
    yield* this.mdev.close();
  }

  /** The device signals a vector. */
  signal(vector: number): void {
    this.msix.signal(vector);
  }
}

const portalRegion = (name: string): MmioRegion =>
  wordRegion({ name, bytes: DSA_WQ_PORTAL_BYTES, read32: () => 0, write32: () => {} });
