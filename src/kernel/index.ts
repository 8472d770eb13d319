/**
 * What a kernel does: address spaces, processes, the IOMMU core with its drivers, SVA, the accelerator's driver.
 *
 * @module
 */
export { type KernelContext, tell } from './context.js';
export * from './cpus.js';
export * from './frames.js';
export * from './ids.js';
export { AddressSpace, type FaultAccess, type MmuNotifier } from './mm/address-space.js';
export type { Area, PortalFrames } from './mm/area.js';
export { type Leaf, type LeafRights, PageTable, USER_PAGES } from './mm/page-table.js';
export * from './platform.js';
export * from './process.js';
