/** Guest mode: every guest-physical address goes through the EPT; exits; PASIDs by the directories in memory. */
import { describe, expect, test } from 'vitest';
import { ProcessTables } from '../../../test/dsa/tables.js';
import {
  EPT_ENTRY,
  EPT_POINTER,
  EXIT_REASON,
  encode,
  FIRST_STAGE_ENTRY,
  SECONDARY_CONTROL,
  VMCS_FIELD,
} from '../../spec/index.js';
import { Bus, Memory } from '../index.js';
import { Cpu } from './cpu.js';
import { GENERAL_PROTECTION, PAGE_FAULT, PF } from './mmu.js';
import { translatePasid } from './pasid-translation.js';
import { type CpuExit, Vmcs } from './vmcs.js';

const PAGE = 4096;
/** A guest's frame lies so far from where the guest sees it, in the opposite order. */
const hostOf = (gfn: number): number => 0x80 - gfn;
const GUEST_TABLES = 0x10;
const GUEST_PAGE = 0x400;
const GUEST_FRAME = 0x20;
const EPT_FRAMES = 0x90;

/** A guest with 64 frames, one page of memory in its process, and an EPT built by hand. */
function machine() {
  const memory = new Memory([{ first: 0, last: 0xff }]);
  const cpu = new Cpu({ index: 0, memory, bus: new Bus(memory, { mapped: [] }) });
  const ept = new EptTables(memory);
  for (let gfn = 0; gfn < 64; gfn++) ept.map(gfn, { ADDR: hostOf(gfn) });
  const at = (address: number): number => hostOf(Math.floor(address / PAGE)) * PAGE + (address % PAGE);
  const tables = new ProcessTables(
    {
      read: (address, into) => memory.read(at(address), into),
      write: (address, from) => memory.write(at(address), from),
    },
    GUEST_TABLES,
  );
  tables.map(GUEST_PAGE, GUEST_FRAME);
  const vmcs = new Vmcs();
  const exits: CpuExit[] = [];
  vmcs.onExit = (exit) => {
    exits.push(exit);
    return 'general-protection';
  };
  const pointer = encode(EPT_POINTER, { MT: 6, LEVELS: 3, ADDR: ept.root });
  vmcs.write(VMCS_FIELD.EPT_POINTER, pointer[0] ?? 0, pointer[1] ?? 0);
  vmcs.write(VMCS_FIELD.SECONDARY_CONTROLS, SECONDARY_CONTROL.ENABLE_EPT, 0);
  cpu.vmcs = vmcs;
  cpu.setPageTable(GUEST_TABLES);
  cpu.cpl = 3;
  return { cpu, memory, ept, tables, vmcs, exits };
}

/** EPT of four levels for the guest's first 512 frames. */
class EptTables {
  readonly root = EPT_FRAMES;
  readonly #memory: Memory;

  constructor(memory: Memory) {
    this.#memory = memory;
    for (let i = 0; i < 3; i++)
      this.#write((EPT_FRAMES + i) * PAGE, { R: 1, W: 1, X: 1, ADDR: EPT_FRAMES + i + 1 });
  }

  map(gfn: number, fields: Partial<Record<'R' | 'W' | 'X' | 'EMT' | 'ADDR', number>>): void {
    this.#write((EPT_FRAMES + 3) * PAGE + gfn * 8, { R: 1, W: 1, X: 1, EMT: 6, ...fields });
  }

  unmap(gfn: number): void {
    this.#memory.write((EPT_FRAMES + 3) * PAGE + gfn * 8, new Uint8Array(8));
  }

  #write(address: number, fields: Partial<Record<'R' | 'W' | 'X' | 'EMT' | 'ADDR', number>>): void {
    this.#memory.write(address, new Uint8Array(encode(EPT_ENTRY, fields).buffer));
  }
}

const ADDRESS = GUEST_PAGE * PAGE;
const byte = new Uint8Array(1);

describe('an access in guest mode', () => {
  test("goes by the guest's tables and the EPT, each in its own numbers", () => {
    const { cpu, memory, exits } = machine();
    expect(cpu.store(ADDRESS + 5, Uint8Array.of(9))).toBeUndefined();
    memory.read(hostOf(GUEST_FRAME) * PAGE + 5, byte);
    expect([byte[0], cpu.physical(ADDRESS, 1), exits.length]).toEqual([9, hostOf(GUEST_FRAME) * PAGE, 0]);
  });

  test("sets the accessed and dirty bits of the guest's own tables", () => {
    const { cpu, tables } = machine();
    const bits = (): number[] =>
      [FIRST_STAGE_ENTRY.A, FIRST_STAGE_ENTRY.D].map((field) => field.get(tables.leaf(GUEST_PAGE), 0));
    cpu.load(ADDRESS, byte);
    expect(bits()).toEqual([1, 0]);
    cpu.store(ADDRESS, byte);
    expect(bits()).toEqual([1, 1]);
  });

  test("that the guest's tables do not grant is the guest's page fault, and no exit", () => {
    const { cpu, exits } = machine();
    const fault = cpu.store(ADDRESS + PAGE, byte);
    expect(fault).toEqual({ vector: PAGE_FAULT, errorCode: PF.USER | PF.WRITE, address: ADDRESS + PAGE });
    expect(exits).toEqual([]);
  });

  test.each([
    { name: 'the page', gfn: GUEST_FRAME, entry: undefined, write: true },
    { name: 'a page that may not be written', gfn: GUEST_FRAME, entry: { W: 0 }, write: true },
    { name: "the guest's root", gfn: GUEST_TABLES, entry: undefined, write: false },
    { name: "the guest's last table", gfn: GUEST_TABLES + 3, entry: undefined, write: false },
    { name: 'a table in which a bit is to be set', gfn: GUEST_TABLES + 3, entry: { W: 0 }, write: true },
  ])('exits 48 where the EPT does not grant it: $name', ({ gfn, entry, write }) => {
    const { cpu, ept, exits } = machine();
    if (entry === undefined) ept.unmap(gfn);
    else ept.map(gfn, { ADDR: hostOf(gfn), ...entry });
    expect(cpu.store(ADDRESS, byte)?.vector).toBe(GENERAL_PROTECTION);
    expect(exits).toEqual([{ reason: EXIT_REASON.EPT_VIOLATION, gfn, write, pasid: 0 }]);
  });

  test('exits 49 where the EPT is malformed', () => {
    const { cpu, ept, exits } = machine();
    ept.map(GUEST_FRAME, { R: 0, ADDR: hostOf(GUEST_FRAME) });
    cpu.load(ADDRESS, byte);
    expect(exits).toMatchObject([{ reason: EXIT_REASON.EPT_MISCONFIGURATION, gfn: GUEST_FRAME }]);
  });

  test('is executed again if the host says so, and not for ever', () => {
    const { cpu, ept, vmcs, exits } = machine();
    ept.unmap(GUEST_FRAME);
    vmcs.onExit = (exit) => {
      exits.push(exit);
      ept.map(GUEST_FRAME, { ADDR: hostOf(GUEST_FRAME) });
      return 'resume';
    };
    expect(cpu.load(ADDRESS, byte)).toBeUndefined();
    expect(exits).toHaveLength(1);
    vmcs.onExit = () => 'resume';
    ept.unmap(GUEST_FRAME);
    cpu.invept();
    expect(cpu.load(ADDRESS, byte)?.vector).toBe(GENERAL_PROTECTION);
  });

  test('may use what the EPT said before, until INVEPT', () => {
    const { cpu, ept, exits } = machine();
    cpu.load(ADDRESS, byte);
    ept.unmap(GUEST_FRAME);
    expect(cpu.load(ADDRESS, byte)).toBeUndefined();
    cpu.invept();
    expect(cpu.load(ADDRESS, byte)?.vector).toBe(GENERAL_PROTECTION);
    expect(exits).toHaveLength(1);
  });

  test('drops what a violation came from: executed again, it finds what the EPT says now', () => {
    const { cpu, ept, vmcs } = machine();
    ept.map(GUEST_FRAME, { W: 0, ADDR: hostOf(GUEST_FRAME) });
    expect(cpu.load(ADDRESS, byte)).toBeUndefined();
    ept.map(GUEST_FRAME, { ADDR: hostOf(GUEST_FRAME) });
    const exits: CpuExit[] = [];
    vmcs.onExit = (exit) => {
      exits.push(exit);
      return 'resume';
    };
    expect(cpu.store(ADDRESS, byte)).toBeUndefined();
    expect(exits).toMatchObject([{ reason: EXIT_REASON.EPT_VIOLATION, gfn: GUEST_FRAME, write: true }]);
  });

  test("never uses what another guest's EPT said", () => {
    const { cpu, exits } = machine();
    cpu.load(ADDRESS, byte);
    const other = new Vmcs();
    other.write(VMCS_FIELD.SECONDARY_CONTROLS, SECONDARY_CONTROL.ENABLE_EPT, 0);
    cpu.vmcs = other;
    expect(cpu.load(ADDRESS, byte)?.vector).toBe(GENERAL_PROTECTION);
    expect(exits).toEqual([]);
  });

  test('goes back to what it was with the CPU', () => {
    const { cpu, ept, vmcs } = machine();
    cpu.mark();
    ept.unmap(GUEST_FRAME);
    vmcs.write(VMCS_FIELD.SECONDARY_CONTROLS, SECONDARY_CONTROL.PASID_TRANSLATION, 0);
    cpu.vmcs = undefined;
    cpu.restore();
    expect([cpu.vmcs, vmcs.hasEpt, vmcs.translatesPasids]).toEqual([vmcs, true, false]);
    ept.map(GUEST_FRAME, { ADDR: hostOf(GUEST_FRAME) });
    expect(cpu.load(ADDRESS, byte)).toBeUndefined();
  });
});

describe('PASID translation', () => {
  const LOW = 0xa0;
  const HIGH = 0xa1;
  const TABLE = 0xa2;

  /** A low directory whose second entry leads to a table, in which the PASID 1024 + 7 is 0x12345. */
  function structure(directory = 1n, entry = 0x8001_2345): Memory {
    const memory = new Memory([{ first: 0, last: 0xff }]);
    const words = new DataView(new ArrayBuffer(8));
    words.setBigUint64(0, (BigInt(TABLE) << 12n) | directory, true);
    memory.write(LOW * PAGE + 8, new Uint8Array(words.buffer));
    words.setUint32(0, entry, true);
    memory.write(TABLE * PAGE + 7 * 4, new Uint8Array(words.buffer.slice(0, 4)));
    return memory;
  }
  const of = (memory: Memory, pasid: number): number =>
    translatePasid(memory, { low: LOW, high: HIGH }, pasid);

  test('chooses directory, table and entry by bits 19, 18:10 and 9:0', () => {
    const memory = structure();
    expect([1031, 1030, 7, 1031 + 0x8_0000].map((pasid) => of(memory, pasid))).toEqual([0x12345, -1, -1, -1]);
    const high = translatePasid(memory, { low: HIGH, high: LOW }, 1031 + 0x8_0000);
    expect(high).toBe(0x12345);
  });

  test.each([
    { name: 'a directory entry that is not present', directory: 0n },
    { name: 'a directory entry with a reserved bit', directory: 3n },
    { name: 'a table beyond memory', directory: (1n << 40n) | 1n },
    { name: 'an entry that is not valid', entry: 0x12345 },
    { name: 'an entry with a reserved bit', entry: 0xc001_2345 },
  ])('has none for $name', ({ directory, entry }) => {
    expect(of(structure(directory, entry), 1031)).toBe(-1);
  });
});

test("MOVDIR64B of a guest's kernel lands at the registers that its page is mapped to, and exits elsewhere", () => {
  const { cpu, ept, memory } = machine();
  const landed: [number, number][] = [];
  const region = {
    ...{
      name: 'portal',
      bytes: PAGE,
      read32: () => 0,
      write32: () => {},
      read64: () => {},
      write64: () => {},
    },
    write512: (offset: number, words: Int32Array) => void landed.push([offset, words[0] ?? 0]),
    enqueue: () => false,
  };
  cpu.bus.map(region, 0x300 * PAGE);
  ept.map(70, { ADDR: 0x300 });
  const line = Int32Array.from({ length: 16 }, (_, i) => i + 5);
  expect(cpu.postGuest(70 * PAGE + 64, line)).toBe(true);
  expect(landed).toEqual([]);
  cpu.fence();
  expect(landed).toEqual([[64, 5]]);
  // Memory is no portal, and where the EPT leads nowhere is nothing.
  expect([cpu.postGuest(GUEST_FRAME * PAGE, line), cpu.postGuest(71 * PAGE, line)]).toEqual([false, false]);
  expect(memory.has(0x300)).toBe(false);
  cpu.vmcs = undefined;
  expect(cpu.postGuest(70 * PAGE, line)).toBe(false);
});
