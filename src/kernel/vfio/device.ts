/**
 * What VFIO is given to hand to a virtual machine: a whole function, or a mediated device, which a parent driver has
 * composed of a part of one.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { Pasid } from '../ids.js';
import type { IommuDevice } from '../iommu/device.js';

export interface VfioDevice {
  readonly name: string;
  /** The physical function whose RID its DMA carries. */
  readonly iommu: IommuDevice;
  /**
   * Mediated: it shares its function's PASID table with others, and its requests are told apart by the host's PASID
   * alone. A whole function has the table to itself, and its requests carry what the guest put into it.
   */
  readonly usesParentPasids: boolean;
  /** Whether the guest sees a device TLB, and invalidates it by itself; if not, the host adds that. */
  readonly showsAts?: boolean;
  /**
   * Returns when the device has nothing of this PASID, as its requests carry it, under way: of this virtual device,
   * where hardware can tell. With PASID 0, of what it sends without one.
   */
  drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined>;
}

/** Takes faults as `struct iommu_fault`, 64 bytes. It may be called in an interrupt's context: it may not sleep. */
export type FaultListener = (fault: Uint8Array) => void;
