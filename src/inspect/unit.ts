/**
 * What a unit's registers say: what it can do, what is switched on, and where its tables and queues lie.
 */
import { hiOf, loOf } from '../base/index.js';
import { type UnitFormat, unitFormat } from '../hardware/index.js';
import {
  CAP_REG,
  decode,
  ECAP_REG,
  type Field,
  GSTS_REG,
  type LayoutInfo,
  RTADDR_REG,
  TTM,
  VER_REG,
} from '../spec/index.js';
import type { UnitRegisters } from './sources/source.js';

/** A named bit field of a register that is not zero, as people read it. */
export interface NamedValue {
  readonly name: string;
  readonly text: string;
  readonly meaning: string;
}

/** Which tables the root pointer leads to. */
export type TableMode = 'legacy' | 'scalable' | 'abort-dma' | 'reserved';

/** A unit, as its registers describe it. */
export interface Unit {
  readonly registers: UnitRegisters;
  readonly format: UnitFormat;
  readonly version: string;
  readonly capabilities: readonly NamedValue[];
  readonly extendedCapabilities: readonly NamedValue[];
  readonly status: readonly NamedValue[];
  readonly isTranslating: boolean;
  readonly mode: TableMode;
  /** Frame of the root table. */
  readonly root: number;
}

/** The words of a register's value, lowest first. */
export function registerWords(registers: UnitRegisters, name: string, of: LayoutInfo): Int32Array {
  const value = registers.values.get(name) ?? 0n;
  return of.bytes === 4 ? Int32Array.of(loOf(value)) : Int32Array.of(loOf(value), hiOf(value));
}

/** Reads a unit's description out of its registers. */
export function describeUnit(registers: UnitRegisters, hostAddressWidth?: number): Unit {
  const cap = registerWords(registers, 'CAP', CAP_REG);
  const ecap = registerWords(registers, 'ECAP', ECAP_REG);
  const rtaddr = registerWords(registers, 'RTADDR', RTADDR_REG);
  const gsts = registerWords(registers, 'GSTS', GSTS_REG);
  const version = registerWords(registers, 'VER', VER_REG);
  return {
    registers,
    format: unitFormat({ cap, ecap, ...(hostAddressWidth === undefined ? {} : { hostAddressWidth }) }),
    version: `${VER_REG.MAX.get(version, 0)}.${VER_REG.MIN.get(version, 0)}`,
    capabilities: named(CAP_REG, cap),
    extendedCapabilities: named(ECAP_REG, ecap),
    status: named(GSTS_REG, gsts),
    isTranslating: GSTS_REG.TES.get(gsts, 0) === 1,
    mode: modeOf(RTADDR_REG.TTM.get(rtaddr, 0)),
    root: RTADDR_REG.RTA.get(rtaddr, 0),
  };
}

function modeOf(ttm: number): TableMode {
  switch (ttm) {
    case TTM.LEGACY:
      return 'legacy';
    case TTM.SCALABLE:
      return 'scalable';
    case TTM.ABORT_DMA:
      return 'abort-dma';
    default:
      return 'reserved';
  }
}

/** Fields whose register holds one less, or a count in other units, as people count. */
const COUNTED: ReadonlyMap<Field, (value: number) => string> = new Map([
  [CAP_REG.ND, (nd: number) => `${2 ** (4 + 2 * nd)} domains`],
  [CAP_REG.MGAW, (mgaw: number) => `${mgaw + 1} bits`],
  [CAP_REG.SAGAW, (sagaw: number) => ['39', '48', '57'].filter((_, i) => (sagaw >> (i + 1)) & 1).join(', ')],
  [CAP_REG.SSLPS, (sizes: number) => ['2 MiB', '1 GiB'].filter((_, i) => (sizes >> i) & 1).join(', ')],
  [CAP_REG.NFR, (nfr: number) => `${nfr + 1}`],
  [CAP_REG.FRO, (fro: number) => `0x${(fro * 16).toString(16)}`],
  [ECAP_REG.IRO, (iro: number) => `0x${(iro * 16).toString(16)}`],
  [ECAP_REG.PSS, (pss: number) => `${pss + 1} bits`],
]);

/** Fields that say something when they are zero too. */
const ZERO_COUNTS: ReadonlySet<Field> = new Set([CAP_REG.ND, CAP_REG.MGAW, CAP_REG.NFR]);

function named(of: LayoutInfo, words: Int32Array): NamedValue[] {
  return decode(of, words)
    .fields.filter(({ value, field }) => value !== 0n || ZERO_COUNTS.has(field))
    .map(({ field, value, text }) => ({
      name: field.name,
      text: COUNTED.get(field)?.(Number(value)) ?? text,
      meaning: field.meaning,
    }));
}
