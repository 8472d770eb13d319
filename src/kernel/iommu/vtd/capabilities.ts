/**
 * What a unit can do, read once from CAP and ECAP (VT-d 4.1, 11.4.2 and 11.4.3), as the driver needs it.
 */
import { u64 } from '../../../base/index.js';
import { CAP_REG, ECAP_REG, maskOf, VTD_REGISTER } from '../../../spec/index.js';
import type { UnitRegisters } from './registers.js';

export interface Capabilities {
  /** Bits of a PASID; 0 without PASIDs. */
  readonly pasidBits: number;
  readonly queuedInvalidation: boolean;
  /** Where its invalidation registers are: ECAP.IRO. */
  readonly invalidationRegisters: number;
  readonly scalableMode: boolean;
  readonly firstStage: boolean;
  readonly secondStage: boolean;
  readonly nested: boolean;
  readonly passThrough: boolean;
  /** Levels of the second-stage tables that it walks, ascending. */
  readonly secondStageLevels: readonly number[];
  /** Bits of the largest address that a second stage translates. */
  readonly guestAddressWidth: number;
  /** Levels of a second stage at which a leaf may stand; level 1 always. */
  readonly secondStageLeaves: readonly number[];
  readonly firstStageLevels: readonly number[];
  readonly firstStageLeaves: readonly number[];
  readonly supervisorRequests: boolean;
  readonly extendedAccessed: boolean;
  readonly snoopControl: boolean;
  /**
   * The stages whose dirty bits can be told: where walks do not snoop, those that it sets pass the CPUs' caches by, and
   * Linux uses none.
   */
  readonly dirtyStages: readonly ('first-stage' | 'second-stage')[];
  readonly deviceTlbs: boolean;
  /** Device-TLB invalidations have to name the physical function; its field is reserved otherwise. */
  readonly deviceTlbThrottle: boolean;
  readonly pageRequests: boolean;
  readonly pageRequestDrain: boolean;
  /** Accesses to root, context and PASID tables are snooped. */
  readonly snoopsTables: boolean;
  /** Accesses to paging structures are snooped; in scalable mode where the PASID entry asks for it. */
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
  /** The bits of CAP and ECAP that concern first stages of a guest's. */
  readonly nesting: { readonly cap: bigint; readonly ecap: bigint };
}

const quadOf = (words: Int32Array): bigint => u64(words[0] ?? 0, words[1] ?? 0);
const GUEST_CAP = quadOf(maskOf(CAP_REG, CAP_REG.FS1GP, CAP_REG.FS5LP));
const GUEST_ECAP = quadOf(
  maskOf(ECAP_REG, ECAP_REG.PRS, ECAP_REG.SRS, ECAP_REG.EAFS, ECAP_REG.PASID, ECAP_REG.PSS, ECAP_REG.NEST),
);

export function readCapabilities(registers: UnitRegisters): Capabilities {
  const cap = registers.read64(VTD_REGISTER.CAP);
  const ecap = registers.read64(VTD_REGISTER.ECAP);
  const [c, e] = [CAP_REG, ECAP_REG];
  const scalableMode = e.SMTS.get(ecap, 0) === 1;
  const hasPasid = scalableMode && e.PASID.get(ecap, 0) === 1;
  const sagaw = c.SAGAW.get(cap, 0);
  const large = c.SSLPS.get(cap, 0);
  const secondStage = !scalableMode || e.SSTS.get(ecap, 0) === 1;
  return {
    pasidBits: hasPasid ? e.PSS.get(ecap, 0) + 1 : 0,
    queuedInvalidation: e.QI.get(ecap, 0) === 1,
    invalidationRegisters: e.IRO.get(ecap, 0),
    scalableMode,
    firstStage: scalableMode && e.FSTS.get(ecap, 0) === 1,
    secondStage,
    nested: scalableMode && secondStage && e.NEST.get(ecap, 0) === 1,
    secondStageLevels: [3, 4, 5].filter((levels) => ((sagaw >> (levels - 2)) & 1) === 1),
    guestAddressWidth: c.MGAW.get(cap, 0) + 1,
    secondStageLeaves: [1, ...[2, 3].filter((level) => ((large >> (level - 2)) & 1) === 1)],
    firstStageLevels: c.FS5LP.get(cap, 0) === 1 ? [4, 5] : [4],
    firstStageLeaves: c.FS1GP.get(cap, 0) === 1 ? [1, 2, 3] : [1, 2],
    supervisorRequests: e.SRS.get(ecap, 0) === 1,
    snoopControl: e.SC.get(ecap, 0) === 1,
    dirtyStages: dirtyStages(ecap),
    extendedAccessed: e.EAFS.get(ecap, 0) === 1,
    passThrough: e.PT.get(ecap, 0) === 1,
    // No register invalidates them.
    deviceTlbThrottle: e.DIT.get(ecap, 0) === 1,
    deviceTlbs: e.QI.get(ecap, 0) === 1 && e.DT.get(ecap, 0) === 1,
    pageRequests: scalableMode && e.PRS.get(ecap, 0) === 1,
    pageRequestDrain: e.PDS.get(ecap, 0) === 1,
    snoopsTables: e.C.get(ecap, 0) === 1,
    snoopsWalks: (scalableMode ? e.SMPWCS : e.C).get(ecap, 0) === 1,
    cachingMode: c.CM.get(cap, 0) === 1,
    writeBufferFlush: c.RWBF.get(cap, 0) === 1,
    pageSelective: c.PSI.get(cap, 0) === 1,
    maxMask: c.MAMV.get(cap, 0),
    domains: 2 ** Math.min(4 + 2 * c.ND.get(cap, 0), 16),
    nesting: { cap: quadOf(cap) & GUEST_CAP, ecap: quadOf(ecap) & GUEST_ECAP },
    faultRecords: { offset: c.FRO.get(cap, 0) * 16, count: c.NFR.get(cap, 0) + 1 },
  };
}

function dirtyStages(ecap: Int32Array): Capabilities['dirtyStages'] {
  const { SMTS, SMPWCS, SSADS } = ECAP_REG;
  if (SMTS.get(ecap, 0) === 0 || SMPWCS.get(ecap, 0) === 0) return [];
  return SSADS.get(ecap, 0) === 1 ? ['first-stage', 'second-stage'] : ['first-stage'];
}

/** What the driver cannot do without; undefined if it is all there. */
export function lacking(of: Capabilities): string | undefined {
  if (of.scalableMode && !of.queuedInvalidation) return 'no queue (ECAP.QI) for scalable mode';
  if (!of.scalableMode && of.secondStageLevels.length === 0) return 'no second-stage width (CAP.SAGAW)';
  return undefined;
}
