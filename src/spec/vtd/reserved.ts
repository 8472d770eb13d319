/**
 * The reserved bits that depend on what a unit can do: its host address width and the capabilities that it
 * lacks. After VT-d 4.1, 9.1 to 9.8, which say of such a field that it is "treated as reserved".
 */
import { wordsOf } from '../codec.js';
import { type Field, reservedWith } from '../layout.js';
import {
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  FIRST_STAGE_LEAF_4K,
} from '../x86/paging.js';
import { SECOND_STAGE_ENTRY, SECOND_STAGE_LEAF_1G, SECOND_STAGE_LEAF_2M } from './paging.js';
import { CAP_REG, ECAP_REG } from './register-layouts.js';
import { PASID_TABLE_ENTRY, SCALABLE_CONTEXT_ENTRY } from './tables.js';

/** What the reserved bits depend on. */
export interface VtdLimits {
  /** Host address width: bits of a physical address. */
  readonly width: number;
  readonly cap: bigint;
  readonly ecap: bigint;
}

/** An entry's place in a table walk. */
export interface EntryPlace {
  /** 1 is the last level. */
  readonly level: number;
  /** Whether the entry maps a page: every one of level 1, and one with PS at levels 2 and 3. */
  readonly leaf: boolean;
}

/** The reserved bits of a scalable-mode context entry. */
export function scalableContextReserved({ width, ecap }: VtdLimits): Int32Array {
  const { DTE, PASIDE, PRE, RID_PASID, RID_PRIV } = SCALABLE_CONTEXT_ENTRY;
  const { DT, PASID, PRS, RPS, RPRIVS } = ECAP_REG;
  const absent = without(ecap, [
    [DT, DTE],
    [PASID, PASIDE],
    [PRS, PRE],
    [RPS, RID_PASID],
    [RPRIVS, RID_PRIV],
  ]);
  return reservedWith(SCALABLE_CONTEXT_ENTRY, width, ...absent);
}

/** The reserved bits of a PASID-table entry. FSPTPTR, if the entry is nested, is no host address: its own check. */
export function pasidTableReserved({ width, ecap }: VtdLimits): Int32Array {
  const { SSADE, PWSNP, PGSNP, CD, EMTE, EMT, PAT, SRE, ERE, EAFE } = PASID_TABLE_ENTRY;
  const { SSADS, SMPWCS, SC, MTS, SRS, ERS, EAFS } = ECAP_REG;
  const absent = without(ecap, [
    [SSADS, SSADE],
    [SMPWCS, PWSNP],
    [SC, PGSNP],
    [MTS, CD, EMTE, EMT, PAT],
    [SRS, SRE],
    [ERS, ERE],
    [EAFS, EAFE],
  ]);
  return reservedWith(PASID_TABLE_ENTRY, width, ...absent);
}

/** The reserved bits of a first-stage entry: 64-bit words, low one first. */
export function firstStageReserved({ level, leaf }: EntryPlace, { width, cap }: VtdLimits): Int32Array {
  const capWords = wordsOf(cap);
  if (leaf && level === 1) return reservedWith(FIRST_STAGE_LEAF_4K, width);
  if (leaf && level === 2) return reservedWith(FIRST_STAGE_LEAF_2M, width);
  if (leaf) {
    const { PS } = FIRST_STAGE_LEAF_1G;
    return reservedWith(FIRST_STAGE_LEAF_1G, width, ...(CAP_REG.FS1GP.get(capWords, 0) === 0 ? [PS] : []));
  }
  return reservedWith(FIRST_STAGE_ENTRY, width, ...(level > 3 ? [FIRST_STAGE_ENTRY.PS] : []));
}

/** The reserved bits of a second-stage entry: 64-bit words, low one first. */
export function secondStageReserved({ level, leaf }: EntryPlace, limits: VtdLimits): Int32Array {
  const large = CAP_REG.SSLPS.get(wordsOf(limits.cap), 0);
  const snoop = ECAP_REG.SC.get(wordsOf(limits.ecap), 0) !== 0;
  const of = leaf ? [SECOND_STAGE_ENTRY, SECOND_STAGE_LEAF_2M, SECOND_STAGE_LEAF_1G][level - 1] : undefined;
  const entry = of ?? SECOND_STAGE_ENTRY;
  const isLargeBeyond = leaf && level > 1 && (large & (1 << (level - 2))) === 0;
  return reservedWith(
    entry,
    limits.width,
    entry.TM,
    ...(leaf && snoop ? [] : [entry.SNP]),
    ...(isLargeBeyond || level > 3 ? [entry.PS] : []),
  );
}

/** The fields in `pairs` whose capability, the first of its list, is not in `ecap`. */
function without(ecap: bigint, pairs: readonly (readonly [Field, ...Field[]])[]): Field[] {
  const words = wordsOf(ecap);
  return pairs.flatMap(([capability, ...fields]) => (capability.get(words, 0) === 0 ? fields : []));
}
