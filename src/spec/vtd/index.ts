/**
 * Intel VT-d, revision 4.1: tables, paging entries, invalidation descriptors, page requests, faults, registers.
 */
export * from './faults.js';
export * from './invalidation.js';
export * from './optional-register-layouts.js';
export * from './paging.js';
export * from './register-layouts.js';
export * from './register-table.js';
export * from './registers.js';
export * from './requests.js';
export * from './reserved.js';
export * from './tables.js';
