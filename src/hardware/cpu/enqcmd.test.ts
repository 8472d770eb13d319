/** ENQCMD, ENQCMDS and MOVDIR64B: faults, what arrives, and in which order. */
import { describe, expect, test } from 'vitest';
import { ProcessTables } from '../../../test/dsa/tables.js';
import type { Task } from '../../base/index.js';
import { Bus, Memory, type MmioRegion } from '../index.js';
import { Cpu } from './cpu.js';
import { type EnqcmdResult, enqcmd, enqcmds, movdir64b, type Submission } from './enqcmd.js';
import { GENERAL_PROTECTION, PAGE_FAULT } from './mmu.js';

const SOURCE = 0x400000;
const PORTAL = 0x500000;
const READ_ONLY = 0x600000;
const PORTAL_FRAME = 0xfe000;

/** A device that writes down what it gets, and accepts what it is told to. */
class Recorder implements MmioRegion {
  readonly name = 'portal';
  readonly bytes = 4096;
  readonly log: string[] = [];
  accepts = true;
  read32(): number {
    this.log.push('read');
    return 0;
  }
  write32(): void {
    this.log.push('write');
  }
  read64(): void {}
  write64(): void {}
  write512(offset: number, data: Int32Array): void {
    this.log.push(`posted ${offset} ${data[1]}`);
  }
  enqueue(offset: number, data: Int32Array): boolean {
    this.log.push(`command ${offset} ${((data[0] ?? 0) >>> 0).toString(16)} ${data[15]}`);
    return this.accepts;
  }
}

function machine() {
  const memory = new Memory([{ first: 0, last: 0xff }]);
  const bus = new Bus(memory, { mapped: [] });
  const device = new Recorder();
  bus.map(device, PORTAL_FRAME * 4096);
  const cpu = new Cpu({ index: 0, memory, bus });
  const tables = new ProcessTables(memory, 1);
  tables.map(SOURCE / 4096, 0x80);
  tables.map(PORTAL / 4096, PORTAL_FRAME);
  tables.map(READ_ONLY / 4096, PORTAL_FRAME, { RW: 0 });
  cpu.setPageTable(tables.root);
  cpu.writePasidMsr(0x8000002a | 0);
  cpu.cpl = 3;
  const put = (first: number, at = SOURCE): void => {
    const words = new Int32Array(16).fill(9);
    words[0] = first;
    cpu.store(at, new Uint8Array(words.buffer));
  };
  put(0);
  return { cpu, device, put };
}

/** Runs an instruction to its end, and tells how often it paused. */
function finish(task: Task<EnqcmdResult>): { result: EnqcmdResult; pauses: unknown[] } {
  const pauses: unknown[] = [];
  for (;;) {
    const { done, value } = task.next();
    if (done === true) return { result: value, pauses };
    pauses.push(value);
  }
}

const AT: Submission = { destination: PORTAL + 64, source: SOURCE };

describe('ENQCMD', () => {
  test('sends 64 bytes with the PASID of the MSR, as user, in three steps', () => {
    const { cpu, device } = machine();
    const { result, pauses } = finish(enqcmd(cpu, AT));
    expect(result).toEqual({ zf: 0 });
    expect(pauses).toEqual(['enqcmd translates', 'enqcmd departs', 'enqcmd arrives']);
    expect(device.log).toEqual(['command 64 2a 9']);
  });

  test('sets ZF where the device does not accept, and where there is none', () => {
    const { cpu, device } = machine();
    device.accepts = false;
    expect(finish(enqcmd(cpu, AT)).result).toEqual({ zf: 1 });
    expect(finish(enqcmd(cpu, { source: SOURCE, destination: SOURCE })).result).toEqual({ zf: 1 });
  });

  test('keeps the PASID that it began with', () => {
    const { cpu, device } = machine();
    const task = enqcmd(cpu, AT);
    task.next();
    cpu.writePasidMsr(0);
    expect(finish(task).result).toEqual({ zf: 0 });
    expect(device.log).toEqual(['command 64 2a 9']);
  });

  test.each([
    { name: 'an MSR that is not valid', msr: 0x2a },
    { name: 'a first doubleword that is not zero', first: 1 },
    { name: 'a destination that is not aligned', at: { destination: PORTAL + 32 } },
  ])('raises #GP at $name', ({ msr, first, at }) => {
    const { cpu, device, put } = machine();
    if (msr !== undefined) cpu.writePasidMsr(msr);
    if (first !== undefined) put(first);
    expect(finish(enqcmd(cpu, { ...AT, ...at })).result.fault?.vector).toBe(GENERAL_PROTECTION);
    expect(device.log).toEqual([]);
  });

  test.each([
    { name: 'a source that is not mapped', at: { source: 0x700000 }, address: 0x700000 },
    { name: 'a destination that is not writable', at: { destination: READ_ONLY }, address: READ_ONLY },
  ])('raises #PF at $name', ({ at, address }) => {
    const { cpu } = machine();
    expect(finish(enqcmd(cpu, { ...AT, ...at })).result.fault).toMatchObject({ vector: PAGE_FAULT, address });
  });
});

describe('ENQCMDS', () => {
  test('takes PASID and privilege from the command, whatever the MSR says', () => {
    const { cpu, device, put } = machine();
    cpu.cpl = 0;
    cpu.writePasidMsr(0);
    put(0x80000007 | 0);
    expect(finish(enqcmds(cpu, AT)).result).toEqual({ zf: 0 });
    expect(device.log).toEqual(['command 64 80000007 9']);
  });

  test.each([
    { name: 'CPL 3', cpl: 3, first: 7 },
    { name: 'a reserved bit', cpl: 0, first: 0x40000007 },
  ])('raises #GP at $name', ({ cpl, first }) => {
    const { cpu, put } = machine();
    put(first);
    cpu.cpl = cpl;
    expect(finish(enqcmds(cpu, AT)).result.fault?.vector).toBe(GENERAL_PROTECTION);
  });
});

describe('MOVDIR64B', () => {
  test('is posted: it lands later, in order', () => {
    const { cpu, device } = machine();
    expect(movdir64b(cpu, { source: SOURCE, destination: PORTAL })).toBeUndefined();
    expect(movdir64b(cpu, { source: SOURCE, destination: PORTAL + 64 })).toBeUndefined();
    expect([device.log.length, cpu.posted.length]).toEqual([0, 2]);
    cpu.posted.step();
    expect(device.log).toEqual(['posted 0 9']);
    cpu.posted.step();
    expect([cpu.posted.isReady, device.log.length]).toEqual([false, 2]);
  });

  test.each([
    { name: 'ENQCMD', push: (cpu: Cpu) => finish(enqcmd(cpu, AT)), after: 'command 64 2a 9' },
    { name: 'a load from registers', push: (cpu: Cpu) => cpu.load(PORTAL, new Uint8Array(4)), after: 'read' },
    {
      name: 'a store to registers',
      push: (cpu: Cpu) => cpu.store(PORTAL, new Uint8Array(4)),
      after: 'write',
    },
  ])('lands before $name of its CPU', ({ push, after }) => {
    const { cpu, device } = machine();
    movdir64b(cpu, { source: SOURCE, destination: PORTAL });
    push(cpu);
    expect(device.log).toEqual(['posted 0 9', after]);
  });

  test('does not land for loads and stores of memory', () => {
    const { cpu, device, put } = machine();
    movdir64b(cpu, { source: SOURCE, destination: PORTAL });
    put(5);
    expect(device.log).toEqual([]);
  });

  test('makes room by letting the oldest land', () => {
    const { cpu, device } = machine();
    for (let i = 0; i < 9; i++) movdir64b(cpu, { source: SOURCE, destination: PORTAL + i * 64 });
    expect(device.log).toEqual(['posted 0 9']);
  });

  test('raises #GP for a destination that is not aligned, #PF for one that is not writable', () => {
    const { cpu } = machine();
    expect(movdir64b(cpu, { source: SOURCE, destination: PORTAL + 8 })?.vector).toBe(GENERAL_PROTECTION);
    expect(movdir64b(cpu, { source: SOURCE, destination: READ_ONLY })?.vector).toBe(PAGE_FAULT);
    expect(movdir64b(cpu, { source: 0x700000, destination: PORTAL })?.vector).toBe(PAGE_FAULT);
  });
});

test('a CPU is put back, with what is on its way', () => {
  const { cpu, device } = machine();
  movdir64b(cpu, { source: SOURCE, destination: PORTAL });
  cpu.mark();
  cpu.writePasidMsr(0);
  cpu.cpl = 0;
  cpu.fence();
  movdir64b(cpu, { source: SOURCE, destination: PORTAL + 128 });
  cpu.restore();
  expect([cpu.pasid, cpu.cpl, cpu.posted.length]).toEqual([42, 3, 1]);
  device.log.length = 0;
  cpu.fence();
  expect(device.log).toEqual(['posted 0 9']);
});
