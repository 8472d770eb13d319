/** PCI Express, revision 6.0: configuration space, and the capabilities for address spaces and interrupts. */
export * from './configuration.js';
export * from './hot-plug.js';
