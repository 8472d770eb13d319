/** The reserved bits that depend on the unit: against QEMU's masks, and one capability at a time. */
import { describe, expect, test } from 'vitest';
import { decode, wordsOf } from '../codec.js';
import { type Field, hasBits, type LayoutInfo } from '../layout.js';
import { CAP_REG, ECAP_REG } from './register-layouts.js';
import {
  firstStageReserved,
  pasidTableReserved,
  scalableContextReserved,
  secondStageReserved,
  type VtdLimits,
} from './reserved.js';
import { PASID_TABLE_ENTRY, SCALABLE_CONTEXT_ENTRY } from './tables.js';

const ALL = 0xffff_ffff_ffff_ffffn;
const quadOf = (mask: Int32Array): bigint =>
  (BigInt((mask[1] ?? 0) >>> 0) << 32n) | BigInt((mask[0] ?? 0) >>> 0);
const bit = (field: Field): bigint => 1n << BigInt(field.low);

describe('paging entries, 48-bit addresses, as QEMU checks them', () => {
  // VTD_SPTE_PAGE_Ln_RSVD_MASK and VTD_FPTE_PAGE_Ln_RSVD_MASK of intel_iommu_internal.h, and those of LPAGE.
  const limits: VtdLimits = { width: 48, cap: ALL, ecap: ALL & ~bit(ECAP_REG.SC) };
  test.each([
    [1, true, 0x400f000000000800n, 0x000f000000000000n],
    [2, false, 0x400f000000000800n, 0x000f000000000000n],
    [3, false, 0x400f000000000800n, 0x000f000000000000n],
    [4, false, 0x400f000000000880n, 0x000f000000000080n],
    [5, false, 0x400f000000000880n, 0x000f000000000080n],
    [2, true, 0x400f0000001ff800n, 0x000f0000001fe000n],
    [3, true, 0x400f00003ffff800n, 0x000f00003fffe000n],
  ])('level %d, leaf %s', (level, leaf, second, first) => {
    expect(quadOf(secondStageReserved({ level, leaf }, limits))).toBe(second);
    expect(quadOf(firstStageReserved({ level, leaf }, limits))).toBe(first);
  });

  test('snoop control frees SNP in leaves alone', () => {
    const snooping = { ...limits, ecap: ALL };
    expect(quadOf(secondStageReserved({ level: 1, leaf: true }, snooping))).toBe(0x400f000000000000n);
    expect(quadOf(secondStageReserved({ level: 3, leaf: true }, snooping))).toBe(0x400f00003ffff000n);
    expect(quadOf(secondStageReserved({ level: 2, leaf: false }, snooping))).toBe(0x400f000000000800n);
  });

  test('without large pages PS is reserved in the leaf that it makes', () => {
    const PS = 0x80n;
    const none = { ...limits, cap: 0n };
    expect(quadOf(secondStageReserved({ level: 2, leaf: true }, none)) & PS).toBe(PS);
    expect(quadOf(secondStageReserved({ level: 3, leaf: true }, none)) & PS).toBe(PS);
    expect(quadOf(firstStageReserved({ level: 3, leaf: true }, none)) & PS).toBe(PS);
    expect(quadOf(firstStageReserved({ level: 2, leaf: true }, none)) & PS).toBe(0n);
    const small = { ...limits, cap: 1n << BigInt(CAP_REG.SSLPS.low) };
    expect(quadOf(secondStageReserved({ level: 2, leaf: true }, small)) & PS).toBe(0n);
    expect(quadOf(secondStageReserved({ level: 3, leaf: true }, small)) & PS).toBe(PS);
  });

  test('with 52-bit addresses no address bit is', () => {
    expect(quadOf(firstStageReserved({ level: 1, leaf: true }, { ...limits, width: 52 }))).toBe(0n);
  });
});

/** The fields of a structure that may be set under these limits. */
function allowed(of: LayoutInfo, reserved: Int32Array): string[] {
  return of.fields
    .filter((field) => {
      const words = new Int32Array(of.bytes / 4);
      field.setBig(words, 0, 1n);
      return !hasBits(reserved, words, 0);
    })
    .map(({ name }) => name);
}

describe('fields that want a capability', () => {
  const bare = { width: 46, cap: 0n, ecap: 0n };
  test.each([
    ['context', SCALABLE_CONTEXT_ENTRY, scalableContextReserved, ['P', 'FPD', 'PDTS', 'PASIDDIRPTR']],
    [
      'PASID-table',
      PASID_TABLE_ENTRY,
      pasidTableReserved,
      ['P', 'FPD', 'AW', 'PGTT', 'SSPTPTR', 'DID', 'FSPM', 'WPE', 'IGN_134_133', 'FSPTPTR'],
    ],
  ] as const)('a bare unit has few in a %s entry', (_, of, reserved, names) => {
    expect(allowed(of, reserved(bare))).toEqual(names);
    expect(allowed(of, reserved({ ...bare, ecap: ALL }))).toEqual(of.fields.map(({ name }) => name));
  });

  test.each([
    [ECAP_REG.DT, scalableContextReserved, ['DTE']],
    [ECAP_REG.PASID, scalableContextReserved, ['PASIDE']],
    [ECAP_REG.PRS, scalableContextReserved, ['PRE']],
    [ECAP_REG.RPS, scalableContextReserved, ['RID_PASID']],
    [ECAP_REG.RPRIVS, scalableContextReserved, ['RID_PRIV']],
    [ECAP_REG.SSADS, pasidTableReserved, ['SSADE']],
    [ECAP_REG.SMPWCS, pasidTableReserved, ['PWSNP']],
    [ECAP_REG.SC, pasidTableReserved, ['PGSNP']],
    [ECAP_REG.MTS, pasidTableReserved, ['CD', 'EMTE', 'EMT', 'PAT']],
    [ECAP_REG.SRS, pasidTableReserved, ['SRE']],
    [ECAP_REG.ERS, pasidTableReserved, ['ERE']],
    [ECAP_REG.EAFS, pasidTableReserved, ['EAFE']],
  ] as const)('$name allows its own', (capability, reserved, names) => {
    const of = reserved === pasidTableReserved ? PASID_TABLE_ENTRY : SCALABLE_CONTEXT_ENTRY;
    const before = allowed(of, reserved(bare));
    const after = allowed(of, reserved({ ...bare, ecap: bit(capability) }));
    expect(after.filter((name) => !before.includes(name))).toEqual(names);
  });

  test('pointers end at the host address width', () => {
    const mask = pasidTableReserved({ ...bare, width: 46 });
    const entry = wordsOf(1n << 46n, 0n, 1n << 45n, 0n, 0n, 0n, 0n, 0n);
    expect(hasBits(mask, entry, 0)).toBe(true);
    expect(decode(PASID_TABLE_ENTRY, entry).reserved).toEqual([]);
    expect(hasBits(mask, wordsOf(1n << 45n, 0n, 1n << 45n, 0n, 0n, 0n, 0n, 0n), 0)).toBe(false);
    expect(hasBits(mask, wordsOf(0n, 0n, 1n << 46n, 0n, 0n, 0n, 0n, 0n), 0)).toBe(true);
  });
});
