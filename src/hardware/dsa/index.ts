/** Intel DSA. */
export { DsaDevice } from './device.js';
export type { SoftwareError } from './error-record.js';
export { IMS_TABLE } from './interrupt-handles.js';
export { DSA_DEFAULTS, type DsaOptions } from './options.js';
export type { DsaAudit, DsaParts, DsaSlot } from './ports.js';
export type { ErrorAudit } from './software-errors.js';
