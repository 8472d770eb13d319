/**
 * What all layers share: refusals, `Bug`, brands, 64-bit halves, the generator of random numbers, `choose`,
 * tasks, events, and words that can be put back.
 *
 * @module
 */
export * from './brand.js';
export * from './bug.js';
export * from './choose.js';
export * from './errno.js';
export * from './event.js';
export * from './random.js';
export * from './refusal.js';
export * from './task.js';
export * from './u64.js';
export * from './undo.js';
export * from './words.js';
