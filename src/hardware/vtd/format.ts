/**
 * What a VT-d unit's capability registers say of the tables that it reads: which modes, widths and levels it
 * knows, and so which bits of an entry are reserved and which settings are invalid (VT-d 10.4.2 and 10.4.3).
 */
import { u64 } from '../../base/index.js';
import { CAP_REG, ECAP_REG, pasidTableReserved, scalableContextReserved } from '../../spec/index.js';
import { FirstStage } from '../paging/first-stage.js';
import { SecondStage } from '../paging/second-stage.js';

/** The tables' formats, as one unit implements them. */
export interface UnitFormat {
  /** Bits of a host physical address. */
  readonly hostAddressWidth: number;
  /** One past the largest frame number that an entry may hold. */
  readonly frameLimit: number;
  /** Bits of the largest address that a second stage (or a legacy domain) translates: CAP.MGAW + 1. */
  readonly guestAddressWidth: number;
  /** One past the largest page number of such an address. */
  readonly guestPageLimit: number;
  /** Whether the unit has second-stage tables of 3, 4, 5 levels, by their number: CAP.SAGAW. */
  readonly secondStageLevels: ReadonlySet<number>;
  /** Whether first-stage tables may have 5 levels: CAP.FS5LP. */
  readonly firstStage5Levels: boolean;
  readonly scalable: boolean;
  readonly firstStageTranslation: boolean;
  readonly secondStageTranslation: boolean;
  readonly nested: boolean;
  readonly passThrough: boolean;
  readonly deviceTlb: boolean;
  /** Device-TLB invalidations name the physical function; its field is reserved otherwise. */
  readonly deviceTlbThrottle: boolean;
  readonly pageRequests: boolean;
  readonly pasid: boolean;
  /** Bits of a PASID: ECAP.PSS + 1. */
  readonly pasidWidth: number;
  readonly ridPasid: boolean;
  readonly executeRequests: boolean;
  readonly supervisorRequests: boolean;
  /** Faulty entries are cached too: CAP.CM. */
  readonly cachingMode: boolean;
  /** The root table may be one that aborts all requests: ECAP.ADMS. */
  readonly abortDma: boolean;
  /** The largest domain number, 2^n - 1: CAP.ND. */
  readonly largestDomain: number;
  /** Whether the unit sees what CPUs have not written back, in tables of devices and PASIDs: ECAP.C. */
  readonly snoopsTables: boolean;
  /** The same in paging structures of scalable mode, where the PASID's entry says so: ECAP.SMPWCS. */
  readonly snoopsWalks: boolean;
  /** The bits that this unit reserves in a scalable-mode context entry, a word of them for each of its words. */
  readonly contextReserved: Int32Array;
  /** The same of a PASID table entry, but for its pointers: whether they are host addresses depends on the entry. */
  readonly pasidReserved: Int32Array;
  readonly firstStage: FirstStage;
  readonly secondStage: SecondStage;
  /** The second stage of a PASID that has execute requests enabled: elsewhere its entries' X is ignored. */
  readonly executableSecondStage: SecondStage;
}

/** The two capability registers, as two words each, and what no register says. */
export interface Capabilities {
  readonly cap: Int32Array;
  readonly ecap: Int32Array;
  /** Bits of a host physical address, as the DMAR table of ACPI says; the guest address width if left out. */
  readonly hostAddressWidth?: number;
}

/** Reads a unit's formats from its capability registers. */
export function unitFormat({ cap, ecap, hostAddressWidth }: Capabilities): UnitFormat {
  const has = (field: { get(words: Int32Array, at: number): number }, words: Int32Array): boolean =>
    field.get(words, 0) === 1;
  const guestAddressWidth = CAP_REG.MGAW.get(cap, 0) + 1;
  const addressWidth = Math.min(hostAddressWidth ?? guestAddressWidth, 52);
  const sagaw = CAP_REG.SAGAW.get(cap, 0);
  const largePages = CAP_REG.SSLPS.get(cap, 0);
  const second = {
    addressWidth,
    largePages: (largePages & 1) !== 0,
    gigabytePages: (largePages & 2) !== 0,
    snoopControl: has(ECAP_REG.SC, ecap),
  };
  const limits = { cap: u64(cap[0] ?? 0, cap[1] ?? 0), ecap: u64(ecap[0] ?? 0, ecap[1] ?? 0) };
  return {
    hostAddressWidth: addressWidth,
    frameLimit: 2 ** (addressWidth - 12),
    guestAddressWidth,
    guestPageLimit: 2 ** (guestAddressWidth - 12),
    secondStageLevels: new Set([3, 4, 5].filter((levels) => (sagaw >> (levels - 2)) & 1)),
    firstStage5Levels: has(CAP_REG.FS5LP, cap),
    scalable: has(ECAP_REG.SMTS, ecap),
    firstStageTranslation: has(ECAP_REG.FSTS, ecap),
    secondStageTranslation: has(ECAP_REG.SSTS, ecap),
    nested: has(ECAP_REG.NEST, ecap),
    passThrough: has(ECAP_REG.PT, ecap),
    deviceTlb: has(ECAP_REG.DT, ecap),
    deviceTlbThrottle: has(ECAP_REG.DIT, ecap),
    pageRequests: has(ECAP_REG.PRS, ecap),
    pasid: has(ECAP_REG.PASID, ecap),
    pasidWidth: ECAP_REG.PSS.get(ecap, 0) + 1,
    ridPasid: has(ECAP_REG.RPS, ecap),
    executeRequests: has(ECAP_REG.ERS, ecap),
    supervisorRequests: has(ECAP_REG.SRS, ecap),
    cachingMode: has(CAP_REG.CM, cap),
    abortDma: has(ECAP_REG.ADMS, ecap),
    largestDomain: Math.min(2 ** (4 + 2 * CAP_REG.ND.get(cap, 0)), 2 ** 16) - 1,
    snoopsTables: has(ECAP_REG.C, ecap),
    snoopsWalks: has(ECAP_REG.SMPWCS, ecap),
    contextReserved: scalableContextReserved({ width: addressWidth, ...limits }),
    pasidReserved: pasidTableReserved({ width: 64, ...limits }),
    firstStage: new FirstStage({ addressWidth, gigabytePages: has(CAP_REG.FS1GP, cap) }),
    secondStage: new SecondStage({ ...second, execute: false }),
    executableSecondStage: new SecondStage({ ...second, execute: true }),
  };
}
