/** Intel DSA, architecture specification 341204, revision 3.0: registers, tables, descriptors, records, codes. */
export * from './codes.js';
export * from './configuration.js';
export * from './descriptor.js';
export * from './register-layouts.js';
export * from './registers.js';
