/**
 * IA32_PASID and ENQCMD against Linux; EPT against the masks of Linux (VMX_EPT_* in asm/vmx.h); the structure of
 * PASID translation against the sizes and positions that Linux's proposed KVM uses; the x86-64 paging entry against the
 * masks of QEMU and VirtualBox (`docs/reference/vtd-notes.md`), and entries that a Linux guest wrote.
 */
import { describe } from 'vitest';
import { testGolden } from '../../../test/golden.js';
import * as x86 from './index.js';
import {
  ENQCMD_HEAD,
  EPT_ENTRY,
  EPT_POINTER,
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  FIRST_STAGE_LEAF_4K,
  IA32_PASID,
  VMX_PASID_DIRECTORY_ENTRY,
  VMX_PASID_TABLE_ENTRY,
} from './index.js';

const COMMON = {
  P: [0, 0x1n],
  RW: [0, 0x2n],
  US: [0, 0x4n],
  PWT: [0, 0x8n],
  PCD: [0, 0x10n],
  A: [0, 0x20n],
  D: [0, 0x40n],
  G: [0, 0x100n],
  IGN_9: [0, 0x200n],
  EA: [0, 0x400n],
  IGN_11: [0, 0x800n],
  IGN_62_52: [0, 0x7ff0000000000000n],
  XD: [0, 0x8000000000000000n],
} as const;

describe('x86-64', () => {
  testGolden(x86, [
    // MSR_IA32_PASID_VALID is BIT_ULL(31) in Linux.
    { layout: IA32_PASID, masks: { PASID: [0, 0xfffffn], VALID: [0, 0x80000000n] } },
    {
      layout: ENQCMD_HEAD,
      masks: { PASID: [0, 0xfffffn], PRIV: [0, 0x80000000n] },
      examples: [{ quads: [0x8000002an], fields: { PASID: 42, PRIV: 1 } }],
    },
    {
      layout: EPT_ENTRY,
      masks: {
        R: [0, 0x1n],
        W: [0, 0x2n],
        X: [0, 0x4n],
        EMT: [0, 0x38n],
        IPAT: [0, 0x40n],
        PS: [0, 0x80n],
        A: [0, 0x100n],
        D: [0, 0x200n],
        XU: [0, 0x400n],
        IGN_11: [0, 0x800n],
        ADDR: [0, 0x000ffffffffff000n],
        IGN_56_52: [0, 0x01f0000000000000n],
        VGP: [0, 0x0200000000000000n],
        PW: [0, 0x0400000000000000n],
        IGN_59: [0, 0x0800000000000000n],
        SSS: [0, 0x1000000000000000n],
        SPP: [0, 0x2000000000000000n],
        IGN_62: [0, 0x4000000000000000n],
        SVE: [0, 0x8000000000000000n],
      },
      examples: [{ quads: [0x12345037n], fields: { R: 1, W: 1, X: 1, EMT: 6, ADDR: 0x12345 } }],
    },
    {
      layout: EPT_POINTER,
      masks: {
        MT: [0, 0x7n],
        LEVELS: [0, 0x38n],
        AD: [0, 0x40n],
        SSS: [0, 0x80n],
        ADDR: [0, 0x000ffffffffff000n],
      },
      examples: [{ quads: [0x1234501en], fields: { MT: 6, LEVELS: 3, ADDR: 0x12345 } }],
    },
    {
      layout: VMX_PASID_DIRECTORY_ENTRY,
      masks: { P: [0, 0x1n], ADDR: [0, 0x000ffffffffff000n] },
      examples: [{ quads: [0x4567001n], fields: { P: 1, ADDR: 0x4567 } }],
    },
    {
      layout: VMX_PASID_TABLE_ENTRY,
      masks: { PASID: [0, 0xfffffn], VALID: [0, 0x80000000n] },
      examples: [{ quads: [0x800000can], fields: { PASID: 202, VALID: 1 } }],
    },
    {
      layout: FIRST_STAGE_ENTRY,
      masks: { ...COMMON, PS: [0, 0x80n], ADDR: [0, 0x000ffffffffff000n] },
      examples: [
        { quads: [0x6330067n], fields: { P: 1, RW: 1, US: 1, A: 1, D: 1, ADDR: 0x6330 } },
        { quads: [0x80000000060ad001n], fields: { P: 1, ADDR: 0x60ad, XD: 1 } },
      ],
    },
    { layout: FIRST_STAGE_LEAF_4K, masks: { ...COMMON, PAT: [0, 0x80n], ADDR: [0, 0x000ffffffffff000n] } },
    {
      layout: FIRST_STAGE_LEAF_2M,
      masks: { ...COMMON, PS: [0, 0x80n], PAT: [0, 0x1000n], ADDR: [0, 0x000fffffffe00000n] },
      examples: [{ quads: [0x4010e7n], fields: { P: 1, RW: 1, US: 1, A: 1, D: 1, PS: 1, PAT: 1, ADDR: 2 } }],
    },
    {
      layout: FIRST_STAGE_LEAF_1G,
      masks: { ...COMMON, PS: [0, 0x80n], PAT: [0, 0x1000n], ADDR: [0, 0x000fffffc0000000n] },
      examples: [{ quads: [0xc00000e7n], fields: { P: 1, RW: 1, US: 1, A: 1, D: 1, PS: 1, ADDR: 3 } }],
    },
  ]);
});
