/**
 * What silicon does, byte for byte: memory, and how a VT-d unit reads its tables.
 *
 * @module
 */
export * from './engine.js';
export * from './memory.js';
export * from './paging/first-stage.js';
export * from './paging/second-stage.js';
export * from './paging/step.js';
export * from './pci/ports.js';
export * from './vtd/device-tables.js';
export * from './vtd/format.js';
export * from './vtd/walk.js';
