/** Intel DSA. */
export { DsaDevice } from './device.js';
export { DSA_DEFAULTS, type DsaOptions } from './options.js';
export type { DsaAudit, DsaConfigSpace, DsaDeviceTlb, DsaPageRequests, DsaParts } from './ports.js';
