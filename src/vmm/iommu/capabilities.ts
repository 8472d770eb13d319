/**
 * What a virtual VT-d unit says it can do: scalable mode with first-stage translation, PASIDs that are allocated by
 * virtual command, and no second stage or nesting: an entry that asks for one is a fault, as on hardware without. So
 * all that a guest can ask for is a first stage, which the host nests over the VM's own second stage, and pass-through,
 * for which that second stage does by itself.
 *
 * Requests without a PASID go by the entry of PASID 0 (ECAP.RPS is clear: no other can be named), and have no privilege
 * (ECAP.RPRIVS is clear). Only they can be passed through: a PASID's entry that says so cannot be used. Accesses to
 * tables are snooped, as the VMM's are.
 */
import { u64 } from '../../base/index.js';
import { CAP_REG, ECAP_REG, encode, type Layout, type LayoutInfo } from '../../spec/index.js';

/** What may differ between virtual units. */
export interface VirtualCapabilities {
  /** CAP.CM: entries that become present are told too. */
  readonly cachingMode: boolean;
  /** ECAP.DT: the guest sees device TLBs, and invalidates them; else the host adds that. */
  readonly deviceTlbs: boolean;
  /** ECAP.PRS. */
  readonly pageRequests: boolean;
  /** Bits of a guest PASID, 1 to 20. */
  readonly pasidBits: number;
  /** CAP.FS5LP: first stages of 5 levels, if the host's units have them. */
  readonly fiveLevels?: boolean;
  /** CAP.FS1GP. */
  readonly gigabytePages?: boolean;
  /** ECAP.SRS. */
  readonly supervisorRequests?: boolean;
  /** ECAP.EAFS. */
  readonly extendedAccessed?: boolean;
}

/** Bits of a guest-physical address, less one, and where the registers stand that may stand anywhere. */
const MGAW = 47;
const FRO = 0x22;
const IRO = 0x10;
const FAULT_RECORDS = 8;
/** 2^(4 + 2n) domains. */
const ND = 6;
const MAMV = 18;

/** CAP and ECAP of a virtual unit. */
export function virtualCapabilities(of: VirtualCapabilities): {
  readonly cap: bigint;
  readonly ecap: bigint;
} {
  const bit = (isSet: boolean | undefined): number => (isSet === true ? 1 : 0);
  const cap = quad(CAP_REG, {
    ...{ ND, MGAW, FRO, MAMV, PSI: 1, NFR: FAULT_RECORDS - 1, DWD: 1, DRD: 1 },
    CM: bit(of.cachingMode),
    FS5LP: bit(of.fiveLevels),
    FS1GP: bit(of.gigabytePages),
  });
  const ecap = quad(ECAP_REG, {
    ...{ C: 1, QI: 1, IRO, PASID: 1, SMTS: 1, FSTS: 1, PT: 1, SMPWCS: 1, VCS: 1 },
    PSS: of.pasidBits - 1,
    DT: bit(of.deviceTlbs),
    PRS: bit(of.pageRequests),
    SRS: bit(of.supervisorRequests),
    EAFS: bit(of.extendedAccessed),
  });
  return { cap, ecap };
}

function quad<N extends string>(of: Layout<N>, values: Partial<Record<N, number>>): bigint {
  const words = encode(of, values);
  return u64(words[0] ?? 0, words[1] ?? 0);
}

/** The fields of CAP and ECAP that a virtual unit may have set: the others it has not, whatever it was asked for. */
const CAP_FIELDS = [
  'ND',
  'CM',
  'MGAW',
  'FRO',
  'PSI',
  'NFR',
  'MAMV',
  'DWD',
  'DRD',
  'FS1GP',
  'FS5LP',
  'ESRTPS',
];
const ECAP_FIELDS = [
  ...['C', 'QI', 'DT', 'IRO', 'PRS', 'SRS', 'EAFS', 'PSS', 'PASID', 'SMTS', 'VCS', 'FSTS', 'SMPWCS', 'PT'],
];

/** Of CAP and ECAP, what a virtual unit offers. */
export function offeredToGuests(of: { readonly cap: bigint; readonly ecap: bigint }): {
  readonly cap: bigint;
  readonly ecap: bigint;
} {
  return { cap: of.cap & bitsOf(CAP_REG, CAP_FIELDS), ecap: of.ecap & bitsOf(ECAP_REG, ECAP_FIELDS) };
}

function bitsOf(layout: LayoutInfo, names: readonly string[]): bigint {
  return layout.fields
    .filter(({ name }) => names.includes(name))
    .reduce((bits, { low, width }) => bits | (((1n << BigInt(width)) - 1n) << BigInt(low)), 0n);
}
