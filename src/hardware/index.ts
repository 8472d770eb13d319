/**
 * What silicon does, byte for byte: memory, the PCI fabric, and a VT-d unit.
 *
 * @module
 */
export * from './bus.js';
export * from './cache/page-cache.js';
export * from './cache/slots.js';
export * from './cpu/index.js';
export * from './dsa/index.js';
export * from './engine.js';
export * from './local-apic.js';
export * from './memory.js';
export * from './paging/ept.js';
export * from './paging/first-stage.js';
export * from './paging/second-stage.js';
export * from './paging/step.js';
export * from './pci/config-space.js';
export * from './pci/device-tlb.js';
export * from './pci/page-request-interface.js';
export * from './pci/ports.js';
export * from './pci/root-complex.js';
export * from './vtd/address-space.js';
export * from './vtd/device-tables.js';
export * from './vtd/end.js';
export type { EntryAudit } from './vtd/entry-walk.js';
export type { FaultAudit } from './vtd/fault-recording.js';
export * from './vtd/format.js';
export * from './vtd/front.js';
export * from './vtd/offered.js';
export type { PageRequestGate } from './vtd/page-requests.js';
export * from './vtd/request.js';
export * from './vtd/translator.js';
export * from './vtd/unit.js';
export * from './vtd/unit-caches.js';
export * from './vtd/virtual-commands.js';
export * from './vtd/walk.js';
export type { WalkStage } from './vtd/walk-faults.js';
export * from './written-back.js';
