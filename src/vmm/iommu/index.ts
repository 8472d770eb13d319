export * from './capabilities.js';
export * from './guest-pasids.js';
export * from './host-side.js';
export * from './port.js';
export type { VirtualIommuState } from './state.js';
export * from './virtual-iommu.js';
