export * from './codec.js';
export * from './layout.js';
