/**
 * One VM: its virtual IOMMU.
 *
 * @module
 */
export * from './iommu/index.js';
