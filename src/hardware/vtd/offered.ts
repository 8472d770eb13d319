/**
 * Of the capabilities that a unit was asked to have, those that it offers: not interrupt remapping, the fault log
 * in memory, protected memory ranges, enhanced commands and performance monitoring, which this model has not, and
 * virtual commands only where somebody takes them. What is not advertised is refused.
 */
import { CAP_REG, ECAP_REG, type Field } from '../../spec/index.js';

const { AFL, PLMR, PHMR, PI, ECMDS, ESIRTPS } = CAP_REG;
const { IR, EIM, PMS, VCS } = ECAP_REG;

const without = (value: bigint, ...fields: readonly Field[]): bigint =>
  fields.reduce((left, { low }) => left & ~(1n << BigInt(low)), value);

/** CAP, as it is read. */
export const offeredCap = (cap: bigint): bigint => without(cap, AFL, PLMR, PHMR, PI, ECMDS, ESIRTPS);

/** ECAP, as it is read. */
export const offeredEcap = (ecap: bigint, hasVirtualCommands: boolean): bigint =>
  without(ecap, IR, EIM, PMS, ...(hasVirtualCommands ? [] : [VCS]));
