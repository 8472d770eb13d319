/** User-space interfaces of Linux around PASIDs and nested translation, of its versions 5.9 to 5.11. */
export * from './bind.js';
export * from './fault.js';
export * from './invalidate.js';
export * from './u64.js';
export * from './vfio.js';
