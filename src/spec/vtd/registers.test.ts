/** VT-d's table of registers: the one test for all of them, their places, and what software may write. */
import { describe, expect, test } from 'vitest';
import { accessOf, testRegisters } from '../../../test/registers.js';
import { wordsOf } from '../codec.js';
import { type Register, RegisterFile, RegisterMap } from '../registers.js';
import { CAP_REG, ECAP_REG } from './register-layouts.js';
import { vtdRegisters } from './register-table.js';
import { MTRR_FIX, MTRR_PHYS, VTD_REGISTER as R, VIRTUAL_COMMAND_REGISTER_3_2 } from './registers.js';

/** What QEMU's first-stage machine says of itself. */
const QEMU = { cap: 0x81d2008c222f0606n, ecap: 0x8d9a20f00f4en };

/** Everything, with the places of IVA (0x500) and eight FRCDs (0x600) out of the others' way. */
const EVERYTHING = (() => {
  const cap = wordsOf(0n);
  for (const field of [CAP_REG.AFL, CAP_REG.PLMR, CAP_REG.PHMR, CAP_REG.ECMDS]) field.set(cap, 0, 1);
  CAP_REG.FRO.set(cap, 0, 0x60);
  CAP_REG.NFR.set(cap, 0, 7);
  const ecap = wordsOf(0n);
  const extended = [ECAP_REG.QI, ECAP_REG.IR, ECAP_REG.PRS, ECAP_REG.MTS, ECAP_REG.PMS, ECAP_REG.VCS];
  for (const field of extended) field.set(ecap, 0, 1);
  ECAP_REG.IRO.set(ecap, 0, 0x50);
  const value = (words: Int32Array) => new BigUint64Array(words.buffer)[0] ?? 0n;
  return { cap: value(cap), ecap: value(ecap) };
})();

describe('every register does what the table says', () => {
  const { all, bytes } = vtdRegisters(EVERYTHING);
  testRegisters(all, bytes);
});

describe('the virtual commands before revision 3.3', () => {
  const { all, bytes } = vtdRegisters({ ...EVERYTHING, oldVirtualCommands: true });
  testRegisters(all.slice(-3), bytes);
  test('stand in the place of those of today', () => {
    expect(all.slice(-3)).toEqual(Object.values(VIRTUAL_COMMAND_REGISTER_3_2));
    expect(all).not.toContain(R.VCMD);
  });
});

describe('what software may write', () => {
  // VirtualBox's RW and RW1C masks (iommu-intel.h); QEMU's vtd_init has the same where it has the register.
  const masks: readonly [Register, bigint, bigint?][] = [
    [R.VER, 0n],
    [R.CAP, 0n],
    [R.ECAP, 0n],
    [R.GCMD, 0xff800000n],
    [R.GSTS, 0n],
    [R.RTADDR, 0xfffffffffffffc00n],
    [R.CCMD, 0xe0000003ffffffffn],
    [R.FSTS, 0n, 0x7dn],
    [R.FECTL, 0x80000000n],
    [R.FEDATA, 0xffffn],
    [R.FEADDR, 0xfffffffcn],
    [R.FEUADDR, 0xffffffffn],
    [R.AFLOG, 0xfffffffffffffe00n],
    [R.PMEN, 0x80000000n],
    [R.IQH, 0n],
    [R.IQT, 0x7fff0n],
    [R.IQA, 0xfffffffffffff807n],
    [R.ICS, 0n, 0x1n],
    [R.IECTL, 0x80000000n],
    [R.IQER, 0n],
    [R.IRTA, 0xfffffffffffff80fn],
    [R.PQH, 0x7ffe0n],
    [R.PQT, 0x7ffe0n],
    [R.PQA, 0xfffffffffffff007n],
    [R.PRS, 0n, 0x3n],
    [R.PECTL, 0x80000000n],
    [R.MTRRCAP, 0n],
    [R.MTRRDEF, 0xcffn],
    [R.VCCAP, 0n],
    [R.VCRSP, 0n],
  ];
  test.each(masks.map(([register, ...rest]) => [register.name, register, ...rest] as const))(
    '%s',
    (_, register, writable, clearable = 0n) => {
      expect(accessOf(register)).toEqual({ writable, clearable });
    },
  );

  test('IVA, IOTLB and FRCD', () => {
    const { IVA, IOTLB, FRCD } = vtdRegisters(QEMU);
    expect(accessOf(IVA)).toEqual({ writable: 0xfffffffffffff07fn, clearable: 0n });
    expect(accessOf(IOTLB)).toEqual({ writable: 0xb003ffff00000000n, clearable: 0n });
    expect(FRCD.map(accessOf)).toEqual([{ writable: 0n, clearable: 1n << 127n }]);
  });
});

describe('places', () => {
  const offset = ({ offset: bytes }: Register) => bytes;

  test('of QEMU: IVA at 0xf0, one FRCD at 0x220', () => {
    const { IVA, IOTLB, FRCD, bytes } = vtdRegisters(QEMU);
    expect([IVA, IOTLB, ...FRCD].map(offset)).toEqual([0xf0, 0xf8, 0x220]);
    expect(bytes).toBe(0x1000);
  });

  test('the region grows with what CAP puts behind the first page', () => {
    const cap = wordsOf(0n);
    CAP_REG.FRO.set(cap, 0, 0x100);
    CAP_REG.NFR.set(cap, 0, 255);
    const value = new BigUint64Array(cap.buffer)[0] ?? 0n;
    expect(vtdRegisters({ cap: value, ecap: 0x5000n }).bytes).toBe(0x2000);
  });

  test('events have control, data, address and upper address in a row', () => {
    const rows = [
      [R.FECTL, R.FEDATA, R.FEADDR, R.FEUADDR],
      [R.IECTL, R.IEDATA, R.IEADDR, R.IEUADDR],
      [R.PECTL, R.PEDATA, R.PEADDR, R.PEUADDR],
      [R.PERFINTRCTL, R.PERFINTRDATA, R.PERFINTRADDR, R.PERFINTRUADDR],
    ];
    expect(rows.map((row) => row.map(offset))).toEqual([
      [0x38, 0x3c, 0x40, 0x44],
      [0xa0, 0xa4, 0xa8, 0xac],
      [0xe0, 0xe4, 0xe8, 0xec],
      [0x328, 0x32c, 0x330, 0x334],
    ]);
  });

  test('memory type ranges', () => {
    expect([MTRR_FIX.length, MTRR_FIX.at(0)?.offset, MTRR_FIX.at(-1)?.offset]).toEqual([11, 0x120, 0x170]);
    expect(MTRR_FIX.at(-1)?.name).toBe('MTRR_FIX4K_F8000');
    expect([MTRR_PHYS.length, MTRR_PHYS.at(0)?.offset, MTRR_PHYS.at(-1)?.offset]).toEqual([20, 0x180, 0x218]);
    expect(MTRR_PHYS.at(-1)?.name).toBe('MTRR_PHYSMASK9');
  });
});

test('a unit without a capability has none of its registers', () => {
  const { all, bytes } = vtdRegisters({ cap: 0x2200_0000n, ecap: 0xf00n });
  const names = all.map(({ name }) => name);
  expect(names).toContain('FRCD0');
  for (const name of ['AFLOG', 'PMEN', 'IQT', 'IRTA', 'PQH', 'MTRRCAP', 'PERFCAP', 'ECMD', 'VCMD']) {
    expect(names).not.toContain(name);
  }
  const file = new RegisterFile(new RegisterMap(all, bytes), () => undefined);
  file.write64(R.IQT.offset, 0x10, 0);
  expect(file.read32(R.IQT.offset)).toBe(0);
});

test('CAP, ECAP and VER are what the unit is', () => {
  const { all, bytes } = vtdRegisters({ ...QEMU, ver: 0x10n });
  const file = new RegisterFile(new RegisterMap(all, bytes), () => undefined);
  const words = [R.VER, R.CAP, R.ECAP].map(({ offset }) =>
    [offset, offset + 4].map((at) => file.read32(at) >>> 0),
  );
  expect(words).toEqual([
    [0x10, 0],
    [0x222f0606, 0x81d2008c],
    [0x20f00f4e, 0x8d9a],
  ]);
});
