/**
 * The table of registers of one VT-d unit, from its capabilities: VT-d 4.1, chapter 11 says of each register
 * with which capability it is implemented, and where those are whose place is not fixed.
 */
import { wordsOf } from '../codec.js';
import type { Field } from '../layout.js';
import { type Register, RegisterMap, register } from '../registers.js';
import { CAP_REG, ECAP_REG } from './register-layouts.js';
import {
  ECCAP,
  faultRegisters,
  iotlbRegisters,
  MTRR_FIX,
  MTRR_PHYS,
  VTD_REGISTER as R,
  VIRTUAL_COMMAND_REGISTER_3_2,
} from './registers.js';

/** What a unit is. */
export interface VtdRegisterOptions {
  readonly cap: bigint;
  readonly ecap: bigint;
  /** What VER says: major version at 7:4, minor at 3:0. 4.0 if it is not given. */
  readonly ver?: bigint;
  /** The virtual command registers of the revisions before 3.3. */
  readonly oldVirtualCommands?: boolean;
}

/** A unit's registers. */
export interface VtdRegisterTable {
  readonly all: readonly Register[];
  readonly IVA: Register;
  readonly IOTLB: Register;
  /** The fault recording registers. */
  readonly FRCD: readonly Register[];
  /** Bytes of the region that holds them all, a multiple of the page size. */
  readonly bytes: number;
  /** What they do by themselves. */
  readonly map: RegisterMap;
}

const PAGE = 4096;
/** Remembered at once. */
const MOST_TABLES = 16;

/** By what they follow from: a thousand virtual machines have the same. */
const tables = new Map<string, VtdRegisterTable>();

/**
 * The registers of a unit with these capabilities.
 *
 * @returns the table, the same for the same; a `Bug` if CAP or ECAP put registers over others
 */
export function vtdRegisters(options: VtdRegisterOptions): VtdRegisterTable {
  const { cap, ecap, ver = R.VER.reset, oldVirtualCommands = false } = options;
  const key = `${cap} ${ecap} ${ver} ${oldVirtualCommands}`;
  const known = tables.get(key);
  if (known !== undefined) return known;
  const table = tableOf(options);
  if (tables.size === MOST_TABLES) tables.clear();
  tables.set(key, table);
  return table;
}

function tableOf(options: VtdRegisterOptions): VtdRegisterTable {
  const { cap, ecap, ver = R.VER.reset, oldVirtualCommands = false } = options;
  const capWords = wordsOf(cap);
  const ecapWords = wordsOf(ecap);
  const has = (field: Field): boolean => field.get(capWords, 0) !== 0;
  const hasExtended = (field: Field): boolean => field.get(ecapWords, 0) !== 0;
  const iotlb = iotlbRegisters(ECAP_REG.IRO.get(ecapWords, 0));
  const FRCD = faultRegisters(CAP_REG.FRO.get(capWords, 0), CAP_REG.NFR.get(capWords, 0) + 1);
  const commands = oldVirtualCommands
    ? Object.values(VIRTUAL_COMMAND_REGISTER_3_2)
    : [R.VCMD, R.VCMD_EO, R.VCRSP, R.VCCAP];
  const all = [
    ...[
      withReset(R.VER, ver),
      withReset(R.CAP, cap),
      withReset(R.ECAP, ecap),
      R.GCMD,
      R.GSTS,
      R.RTADDR,
      R.CCMD,
    ],
    ...[R.FSTS, R.FECTL, R.FEDATA, R.FEADDR, R.FEUADDR, iotlb.IVA, iotlb.IOTLB, ...FRCD],
    ...(has(CAP_REG.AFL) ? [R.AFLOG] : []),
    ...(has(CAP_REG.PLMR) || has(CAP_REG.PHMR) ? [R.PMEN] : []),
    ...(has(CAP_REG.PLMR) ? [R.PLMBASE, R.PLMLIMIT] : []),
    ...(has(CAP_REG.PHMR) ? [R.PHMBASE, R.PHMLIMIT] : []),
    ...(hasExtended(ECAP_REG.QI) ? [R.IQH, R.IQT, R.IQA, R.ICS, R.IQER] : []),
    ...(hasExtended(ECAP_REG.QI) ? [R.IECTL, R.IEDATA, R.IEADDR, R.IEUADDR] : []),
    ...(hasExtended(ECAP_REG.IR) ? [R.IRTA] : []),
    ...(hasExtended(ECAP_REG.PRS) ? [R.PQH, R.PQT, R.PQA, R.PRS] : []),
    ...(hasExtended(ECAP_REG.PRS) ? [R.PECTL, R.PEDATA, R.PEADDR, R.PEUADDR] : []),
    ...(hasExtended(ECAP_REG.MTS) ? [R.MTRRCAP, R.MTRRDEF, ...MTRR_FIX, ...MTRR_PHYS] : []),
    ...(hasExtended(ECAP_REG.PMS)
      ? [R.PERFCAP, R.PERFCFGOFF, R.PERFFRZOFF, R.PERFOVFOFF, R.PERFCNTROFF]
      : []),
    ...(hasExtended(ECAP_REG.PMS) ? [R.PERFINTRSTS, R.PERFINTRCTL, R.PERFINTRDATA] : []),
    ...(hasExtended(ECAP_REG.PMS) ? [R.PERFINTRADDR, R.PERFINTRUADDR, R.PERFEVNTCAP] : []),
    ...(has(CAP_REG.ECMDS) ? [R.ECMD, R.ECEO, R.ECRSP, ...ECCAP] : []),
    ...(hasExtended(ECAP_REG.VCS) ? commands : []),
  ];
  const end = Math.max(...all.map((each) => each.offset + each.layout.bytes));
  const bytes = Math.ceil(end / PAGE) * PAGE;
  return { all, ...iotlb, FRCD, bytes, map: new RegisterMap(all, bytes) };
}

/** `of`, with another value after reset. */
function withReset(of: Register, reset: bigint): Register {
  return register(of.name, { ...of, reset });
}
