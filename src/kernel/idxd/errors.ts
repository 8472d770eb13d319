/**
 * The accelerator's error interrupt (Intel DSA 3.0, 5.8 and 9.2.14): what has no completion record to stand in, it
 * reports in its event log, or in SWERROR.
 */
import type { KeptValue } from '../../base/index.js';
import { DSA_GENCTRL_REG, DSA_INTCAUSE_REG, DSA_SWERROR_REG, encode, textOf } from '../../spec/index.js';
import { type KernelContext, newInterrupt, tell } from '../context.js';
import { routeVector } from '../msix.js';
import type { EventLog } from './event-log.js';
import { type DsaRegisters, REGISTER } from './registers.js';
import type { VirtualDevices } from './virtual-devices.js';

const e = DSA_SWERROR_REG;
const DEVICE_VECTOR = 0;

/** Whose errors they are. */
export interface ErrorSource {
  readonly name: string;
  /** The address of its MSI-X table. */
  readonly msix: number;
  readonly virtual: VirtualDevices;
  /** Where errors of descriptors go, if it has one. */
  readonly log: KeptValue<EventLog | undefined>;
}

/** Routes the device's first vector here, and asks for interrupts on errors. */
export function startErrorReports(
  context: KernelContext,
  registers: DsaRegisters,
  source: ErrorSource,
): void {
  const message = newInterrupt(context, () => reportErrors(context, registers, source));
  routeVector(context, source.msix, { vector: DEVICE_VECTOR, ...message });
  enableErrorReports(registers, source);
}

/** Asks for interrupts on errors; a reset of the device undoes it. */
export function enableErrorReports(registers: DsaRegisters, { log }: Pick<ErrorSource, 'log'>): void {
  const EVL_INT = log.value === undefined ? 0 : 1;
  registers.writeAt(REGISTER.GENCTRL.offset, encode(DSA_GENCTRL_REG, { SWERR_INT: 1, EVL_INT }));
}

/** In an interrupt's context. */
function reportErrors(context: KernelContext, registers: DsaRegisters, source: ErrorSource): void {
  const cause = registers.read(REGISTER.INTCAUSE);
  registers.writeAt(REGISTER.INTCAUSE.offset, cause);
  if (DSA_INTCAUSE_REG.EVL.get(cause, 0) === 1) source.log.value?.came();
  if (DSA_INTCAUSE_REG.SWERR.get(cause, 0) === 0) return;
  const words = registers.read(REGISTER.SWERROR);
  if (e.VALID.get(words, 0) === 0) return;
  registers.writeAt(REGISTER.SWERROR.offset, encode(e, { VALID: 1, OVERFLOW: 1 }).subarray(0, 1));
  reportError(context, source, words);
}

/** Tells an error, as SWERROR has it, also to the virtual device that it concerns. */
export function reportError(
  context: KernelContext,
  source: Pick<ErrorSource, 'name' | 'virtual'>,
  words: Int32Array,
): void {
  source.virtual.report(words);
  tell(context, 'idxd:error', {
    device: source.name,
    wq: e.WQ_VALID.get(words, 0) === 1 ? e.WQ.get(words, 0) : null,
    pasid: e.DESC_VALID.get(words, 0) === 1 ? e.PASID.get(words, 0) : null,
    operation: textOf(e.OPERATION, e.OPERATION.getBig(words, 0)),
    error: textOf(e.ERROR, e.ERROR.getBig(words, 0)),
    write: e.RW.get(words, 0) === 1,
    address: textOf({ ...e.ADDR, values: {} }, e.ADDR.getBig(words, 0)),
    overflow: e.OVERFLOW.get(words, 0) === 1,
  });
}
