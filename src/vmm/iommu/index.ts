export * from './capabilities.js';
export * from './guest-pasids.js';
export * from './host-side.js';
export * from './port.js';
export * from './virtual-iommu.js';
