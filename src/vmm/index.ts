/**
 * One virtual machine: its memory, its virtual IOMMU, its virtual devices, and the kernel that runs in it.
 *
 * @module
 */
export type { SharedQueues } from './assigned.js';
export type { VmHost } from './host.js';
export * from './iommu/index.js';
export { GuestRam, guestRanges, type MemorySlot } from './memory.js';
export type { MachineState } from './migration/machine-state.js';
export { type MigrationWatch, migrate } from './migration/migrate.js';
export type { AssignedDevice, MediatedDevice, VmDevice, VmIommu, VmMachine, VmOptions } from './options.js';
export { Vm } from './vm.js';
