/**
 * What a unit can do, read once from CAP and ECAP (VT-d 4.1, 11.4.2 and 11.4.3), as the driver needs it.
 */
import { CAP_REG, ECAP_REG, VTD_REGISTER } from '../../../spec/index.js';
import type { UnitRegisters } from './registers.js';

export interface Capabilities {
  /** Bits of a PASID; 0 without PASIDs. */
  readonly pasidBits: number;
  readonly queuedInvalidation: boolean;
  readonly scalableMode: boolean;
  readonly firstStage: boolean;
  readonly passThrough: boolean;
  readonly deviceTlbs: boolean;
  readonly pageRequests: boolean;
  readonly pageRequestDrain: boolean;
  /** Accesses to root, context and PASID tables are snooped. */
  readonly snoopsTables: boolean;
  /** Accesses to paging structures are snooped, where the PASID entry asks for it. */
  readonly snoopsWalks: boolean;
  /** Entries that are not present may be cached: new ones are told too. */
  readonly cachingMode: boolean;
  readonly writeBufferFlush: boolean;
  readonly pageSelective: boolean;
  /** Largest address mask of a page-selective invalidation. */
  readonly maxMask: number;
  readonly domains: number;
  /** Offset of the fault recording registers, in bytes, and how many there are. */
  readonly faultRecords: { readonly offset: number; readonly count: number };
}

export function readCapabilities(registers: UnitRegisters): Capabilities {
  const cap = registers.read64(VTD_REGISTER.CAP);
  const ecap = registers.read64(VTD_REGISTER.ECAP);
  const [c, e] = [CAP_REG, ECAP_REG];
  const hasPasid = e.PASID.get(ecap, 0) === 1;
  return {
    pasidBits: hasPasid ? e.PSS.get(ecap, 0) + 1 : 0,
    queuedInvalidation: e.QI.get(ecap, 0) === 1,
    scalableMode: e.SMTS.get(ecap, 0) === 1,
    firstStage: e.FSTS.get(ecap, 0) === 1,
    passThrough: e.PT.get(ecap, 0) === 1,
    deviceTlbs: e.DT.get(ecap, 0) === 1,
    pageRequests: e.PRS.get(ecap, 0) === 1,
    pageRequestDrain: e.PDS.get(ecap, 0) === 1,
    snoopsTables: e.C.get(ecap, 0) === 1,
    snoopsWalks: e.SMPWCS.get(ecap, 0) === 1,
    cachingMode: c.CM.get(cap, 0) === 1,
    writeBufferFlush: c.RWBF.get(cap, 0) === 1,
    pageSelective: c.PSI.get(cap, 0) === 1,
    maxMask: c.MAMV.get(cap, 0),
    domains: 2 ** Math.min(4 + 2 * c.ND.get(cap, 0), 16),
    faultRecords: { offset: c.FRO.get(cap, 0) * 16, count: c.NFR.get(cap, 0) + 1 },
  };
}

/** What the driver cannot do without; undefined if it is all there. */
export function lacking(of: Capabilities): string | undefined {
  if (!of.queuedInvalidation) return 'no queued invalidation (ECAP.QI)';
  if (!of.scalableMode) return 'no scalable mode (ECAP.SMTS)';
  return undefined;
}
