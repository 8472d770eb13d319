/** What the x86-64 manuals print and others share. */
export * from './ept.js';
export * from './paging.js';
export * from './pasid.js';
export * from './vmx.js';
