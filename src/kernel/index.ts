/**
 * What a kernel does: address spaces, processes, the IOMMU core with its drivers, SVA, the accelerator's driver.
 *
 * @module
 */
export { FIRST_VECTOR, type KernelContext, newInterrupt, type Spawner, tell } from './context.js';
export * from './cpus.js';
export * from './frames.js';
export * from './ids.js';
export type { CompletionInterrupt } from './idxd/completion-interrupts.js';
export type { GroupConfig } from './idxd/configuration.js';
export * from './idxd/device.js';
export { type Copy, KernelQueue } from './idxd/kernel-queue.js';
export { WorkQueue, type WqConfig } from './idxd/work-queue.js';
export { WqFile } from './idxd/wq-file.js';
export { Iommu, type NestedOptions } from './iommu/core.js';
export { Attachment, IommuDevice } from './iommu/device.js';
export type { DmaBuffer, DmaSpace } from './iommu/dma.js';
export * from './iommu/domain.js';
export * from './iommu/driver.js';
export { ALL_PROTECTIONS, type GuestProtections } from './iommu/guest/protections.js';
export type { IoLeaf, IoRights } from './iommu/io-entries.js';
export type { IoMapping } from './iommu/io-page-table.js';
export { isSecondStage, PagingDomain } from './iommu/paging-domain.js';
export { Sva, type SvaBinding } from './iommu/sva.js';
export * from './kernel.js';
export { Kvm, type KvmOptions } from './kvm/kvm.js';
export type { KvmSlot } from './kvm/memory.js';
export type { PasidPair } from './kvm/pasid-table.js';
export { KvmVm, type UnknownPasidHandler } from './kvm/vm.js';
export { AddressSpace, type FaultAccess, type MmuNotifier } from './mm/address-space.js';
export type { Area, PortalFrames } from './mm/area.js';
export { type Leaf, type LeafRights, PageTable } from './mm/page-table.js';
export { enumeratePci, PciDevice } from './pci.js';
export * from './platform.js';
export * from './process.js';
export { Mdev, type MdevConfig } from './vdcm/mdev.js';
export type { MdevState } from './vdcm/migration.js';
export { VfioContainer } from './vfio/container.js';
export type { FaultListener, VfioDevice } from './vfio/device.js';
export { type BarRegion, VfioPci } from './vfio/pci-function.js';
export { Vfio, type VfioOptions } from './vfio/vfio.js';
