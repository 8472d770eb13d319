/** Intel DSA. */
export { DsaDevice } from './device.js';
export { DSA_DEFAULTS, type DsaOptions } from './options.js';
export type { DsaAudit, DsaParts, DsaSlot } from './ports.js';
export type { ErrorAudit, SoftwareError } from './software-errors.js';
