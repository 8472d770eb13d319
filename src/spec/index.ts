/**
 * Layouts and codes as the specifications print them, and what a table of registers does by itself.
 *
 * @module
 */
export * from './codec.js';
export * from './dsa/index.js';
export * from './layout.js';
export { getNumber, setNumber } from './numbers.js';
export * from './pci/index.js';
export * from './registers.js';
export * from './uapi/index.js';
export * from './vtd/index.js';
export * from './x86/index.js';
