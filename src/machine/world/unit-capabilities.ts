/** CAP and ECAP of the unit that a scenario describes (VT-d 4.1, 11.4.2 and 11.4.3). */
import { u64 } from '../../base/index.js';
import { CAP_REG, ECAP_REG, encode, type Layout } from '../../spec/index.js';
import type { UnitTraits } from '../scenario/iommu.js';

const WIDTH_BITS = { '39-bit': 39, '48-bit': 48, '57-bit': 57 } as const;
const SAGAW = { '39-bit': 1 << 1, '48-bit': 1 << 2, '57-bit': 1 << 3 } as const;
const LARGE_PAGES = { '4 KiB': 0, '2 MiB': 1, '1 GiB': 3 } as const;
/** What a unit without second stages says of their width. */
const NO_WIDTH = 48;

export function capabilitiesOf(unit: UnitTraits): { readonly cap: bigint; readonly ecap: bigint } {
  const widths = unit['second-stage'];
  const guestAddressWidth = Math.max(...widths.map((width) => WIDTH_BITS[width]));
  const isScalable = unit.mode === 'scalable';
  const hasSecond = widths.length > 0;
  const largePages = LARGE_PAGES[unit['largest-page']];
  const pasidBits = unit['pasid-bits'];
  const cap = {
    ...{ ND: 6, FRO: 0x20, NFR: 7, PSI: 1, MAMV: 18, DWD: 1, DRD: 1, ESRTPS: 1 },
    SAGAW: widths.reduce((bits, width) => bits | SAGAW[width], 0),
    MGAW: (hasSecond ? guestAddressWidth : NO_WIDTH) - 1,
    CM: bit(unit['caching-mode']),
    SSLPS: hasSecond ? largePages : 0,
    FS1GP: bit(isScalable && largePages === LARGE_PAGES['1 GiB']),
    FS5LP: bit(unit['first-stage'] === '57-bit'),
  };
  const ecap = {
    C: bit(unit['snoops-tables']),
    QI: bit(unit['queued-invalidation']),
    DT: bit(unit['device-tlbs']),
    PT: bit(unit['pass-through']),
    SC: bit(unit['snoop-control']),
    IRO: 0x50,
    NEST: bit(unit.nested),
    PRS: bit(unit['page-requests']),
    PDS: bit(unit['page-requests']),
    PSS: Math.max(pasidBits - 1, 0),
    PASID: bit(pasidBits > 0),
    SMTS: bit(isScalable),
    SSADS: bit(unit['accessed-dirty']),
    SSTS: bit(isScalable && hasSecond),
    FSTS: bit(unit['first-stage'] !== 'none'),
    SMPWCS: bit(isScalable && unit['snoops-walks']),
    RPS: bit(isScalable),
  };
  return { cap: quad(CAP_REG, cap), ecap: quad(ECAP_REG, ecap) };
}

const bit = (is: boolean): number => (is ? 1 : 0);

function quad<N extends string>(of: Layout<N>, fields: Partial<Readonly<Record<N, number>>>): bigint {
  const words = encode(of, fields);
  return u64(words[0] ?? 0, words[1] ?? 0);
}
