/** The CPU: page tables, faults, IA32_PASID in XSAVE areas. */
import { describe, expect, test } from 'vitest';
import { ProcessTables } from '../../../test/dsa/tables.js';
import { FIRST_STAGE_ENTRY } from '../../spec/index.js';
import { Bus, Memory } from '../index.js';
import { Cpu, emptyXsaveArea, PASID_COMPONENT } from './cpu.js';
import { GENERAL_PROTECTION, GP_FAULT, PAGE_FAULT, PF } from './mmu.js';

const PAGE = 0x12345;
const ADDRESS = PAGE * 4096;
const FRAME = 0x80;

function machine(): { cpu: Cpu; memory: Memory; tables: ProcessTables } {
  const memory = new Memory([{ first: 0, last: 0xff }]);
  const cpu = new Cpu({ index: 0, memory, bus: new Bus(memory, { mapped: [] }) });
  const tables = new ProcessTables(memory, 1);
  cpu.setPageTable(tables.root);
  cpu.cpl = 3;
  return { cpu, memory, tables };
}

describe('loads and stores', () => {
  test('go where the page tables lead, also over the end of a page', () => {
    const { cpu, memory, tables } = machine();
    tables.map(PAGE, FRAME);
    tables.map(PAGE + 1, FRAME - 4);
    expect(cpu.store(ADDRESS + 4094, Uint8Array.of(1, 2, 3, 4))).toBeUndefined();
    const ends = new Uint8Array(2);
    memory.read(FRAME * 4096 + 4094, ends);
    expect([...ends]).toEqual([1, 2]);
    memory.read((FRAME - 4) * 4096, ends);
    expect([...ends]).toEqual([3, 4]);
    const back = new Uint8Array(4);
    expect(cpu.load(ADDRESS + 4094, back)).toBeUndefined();
    expect([...back]).toEqual([1, 2, 3, 4]);
  });

  test('set accessed, and dirty only for a store', () => {
    const { cpu, tables } = machine();
    tables.map(PAGE, FRAME);
    const bits = (): number[] =>
      [FIRST_STAGE_ENTRY.A, FIRST_STAGE_ENTRY.D].map((field) => field.get(tables.leaf(PAGE), 0));
    expect(bits()).toEqual([0, 0]);
    cpu.load(ADDRESS, new Uint8Array(1));
    expect(bits()).toEqual([1, 0]);
    cpu.store(ADDRESS, new Uint8Array(1));
    expect(bits()).toEqual([1, 1]);
  });

  const U = PF.USER;
  test.each([
    { name: 'nothing there', flags: { P: 0 }, isWrite: false, errorCode: U },
    {
      name: 'a store to a read-only page',
      flags: { RW: 0 },
      isWrite: true,
      errorCode: U | PF.PRESENT | PF.WRITE,
    },
    { name: 'a page of the kernel', flags: { US: 0 }, isWrite: false, errorCode: U | PF.PRESENT },
    {
      name: 'a reserved bit',
      flags: { isMalformed: true },
      isWrite: true,
      errorCode: U | PF.PRESENT | PF.WRITE | PF.RESERVED,
    },
  ])('fault at $name', ({ flags, isWrite, errorCode }) => {
    const { cpu, tables } = machine();
    tables.map(PAGE, FRAME, flags);
    const fault = isWrite
      ? cpu.store(ADDRESS + 8, new Uint8Array(4))
      : cpu.load(ADDRESS + 8, new Uint8Array(4));
    expect(fault).toEqual({ vector: PAGE_FAULT, errorCode, address: ADDRESS + 8 });
  });

  test('with CPL 0 may use pages of the kernel', () => {
    const { cpu, tables } = machine();
    tables.map(PAGE, FRAME, { US: 0 });
    cpu.cpl = 0;
    expect(cpu.load(ADDRESS, new Uint8Array(4))).toBeUndefined();
  });

  test('raise #GP where the address is not canonical', () => {
    expect(machine().cpu.load(2 ** 47, new Uint8Array(1))?.vector).toBe(GENERAL_PROTECTION);
  });
});

describe('IA32_PASID', () => {
  test('has a PASID and VALID, and no other bits', () => {
    const { cpu } = machine();
    expect(cpu.hasValidPasid).toBe(false);
    cpu.writePasidMsr(0x8000002a | 0);
    expect([cpu.hasValidPasid, cpu.pasid, cpu.readPasidMsr() >>> 0]).toEqual([true, 42, 0x8000002a]);
  });

  test('with any other bit is #GP, and stays as it was', () => {
    const { cpu } = machine();
    cpu.writePasidMsr(0x8000002a | 0);
    const area = { components: PASID_COMPONENT, pasid: 0x4000_0000 };
    expect([cpu.writePasidMsr(0x4000_0000), cpu.xrstors(area, PASID_COMPONENT)]).toEqual([
      GP_FAULT,
      GP_FAULT,
    ]);
    expect(cpu.readPasidMsr() >>> 0).toBe(0x8000002a);
  });

  test('goes to an XSAVE area and back, if its component is asked for', () => {
    const { cpu } = machine();
    const area = emptyXsaveArea();
    cpu.writePasidMsr(0x8000002a | 0);
    cpu.xsaves(area, 0);
    expect(area.components).toBe(0);
    cpu.xsaves(area, PASID_COMPONENT);
    cpu.writePasidMsr(0x80000007 | 0);
    cpu.xrstors(area, 0);
    expect(cpu.pasid).toBe(7);
    cpu.xrstors(area, PASID_COMPONENT);
    expect([cpu.hasValidPasid, cpu.pasid]).toEqual([true, 42]);
  });

  test('is zero in the initial state, which is noted and not written', () => {
    const { cpu } = machine();
    const area = { components: PASID_COMPONENT, pasid: 0x8000002a | 0 };
    cpu.xsaves(area, PASID_COMPONENT);
    expect(area).toEqual({ components: 0, pasid: 0x8000002a | 0 });
    cpu.writePasidMsr(0x80000007 | 0);
    cpu.xrstors(area, PASID_COMPONENT);
    expect(cpu.readPasidMsr()).toBe(0);
  });
});
