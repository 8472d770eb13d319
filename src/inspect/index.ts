/**
 * Reads the tables of machines that we did not build: a memory image, a live QEMU.
 *
 * @module
 */
export * from './access.js';
export * from './against/index.js';
export * from './bdf.js';
export * from './document.js';
export * from './errors.js';
export * from './page-hex.js';
export * from './queues.js';
export * from './sources/open.js';
export * from './sources/source.js';
export * from './survey.js';
export * from './survey-types.js';
export * from './table-memory.js';
export * from './translate.js';
export * from './unit.js';
