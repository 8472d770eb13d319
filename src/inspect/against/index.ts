/**
 * Compares a machine's tables with what its kernel's log says was mapped.
 */
export {
  type AgainstReport,
  compareWithLog,
  type Difference,
  type LateChange,
  type Place,
} from './compare.js';
export { type KernelLog, parseLog } from './log.js';
export { compareWithMoments, isExact } from './moments.js';
export { againstJson, againstLines } from './report.js';
