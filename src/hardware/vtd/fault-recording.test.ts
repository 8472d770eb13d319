/** Fault records: which register takes one, what overflows, what silences, and when an interrupt follows. */
import { expect, test } from 'vitest';
import { DATA, ECAP, OTHER_RID, RID, UnitBench } from '../../../test/vtd/unit-bench.js';
import { decode, encode, FAULT, FAULT_RECORD, format, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import { NO_PASID } from './request.js';

const FSTS = 0x34;
const FRCD = 0x220;
const PFO = 1;
const PPF = 2;
const F = 1 << 31;

/** FSTS, its index apart. */
const status = ({ unit }: UnitBench) => ({ bits: unit.read32(FSTS) & 0xff, index: unit.read32(FSTS) >> 8 });

const fault = (bench: UnitBench, page: number) => bench.frameOf(9, page);

test('a record says who asked for what', () => {
  const bench = new UnitBench().enable();
  const shown = (rights: number, pasid: number): string => {
    bench.frameOf(pasid, 0x7f123, rights);
    const words = Int32Array.from([0, 4, 8, 12], (at) => bench.unit.read32(FRCD + at));
    bench.unit.write32(FRCD + 12, F);
    bench.unit.write64(0x228, 0, F);
    return format(decode(FAULT_RECORD, words)).replace(/ FR=.*\)/, '');
  };
  expect(shown(RIGHT.READ | RIGHT.USER, 9)).toBe('FI=0x7f123000 SID=0x18 PP=1 PASID=9 T1=1 F=1');
  // Registers are taken in turn, so each of these goes to the next one.
  const second = new UnitBench().enable();
  second.frameOf(NO_PASID, 0x10, RIGHT.WRITE);
  const words = Int32Array.from([0, 4, 8, 12], (at) => second.unit.read32(FRCD + at));
  expect([
    FAULT_RECORD.T1.get(words, 0),
    FAULT_RECORD.PP.get(words, 0),
    FAULT_RECORD.PRIV.get(words, 0),
  ]).toEqual([0, 0, 0]);
});

test('registers are taken in turn; the index names the first that software has not cleared', () => {
  const bench = new UnitBench().enable();
  for (const page of [1, 2, 3]) fault(bench, page);
  expect(status(bench)).toEqual({ bits: PPF, index: 0 });
  bench.unit.write32(FRCD + 12, F);
  expect(status(bench)).toEqual({ bits: PPF, index: 1 });
  bench.unit.write32(FRCD + 0x1c, F);
  bench.unit.write32(FRCD + 0x2c, F);
  expect(status(bench).bits).toBe(0);
  fault(bench, 4);
  expect(status(bench)).toEqual({ bits: PPF, index: 3 });
});

test('a fault that finds its register taken is lost, and those after it until software clears that', () => {
  const bench = new UnitBench().enable();
  for (let page = 0; page < 5; page++) fault(bench, page);
  expect(status(bench).bits).toBe(PPF | PFO);
  bench.unit.write32(FRCD + 12, F);
  fault(bench, 6);
  bench.unit.write32(FSTS, PFO);
  fault(bench, 7);
  expect(bench.faults().map(({ page }) => page)).toEqual([7, 1, 2, 3]);
});

test('interrupts: one for the first, none while anything is pending, a masked one when it is unmasked', () => {
  const bench = new UnitBench().enable();
  bench.unit.write32(0x3c, 0x22);
  bench.unit.write32(0x40, 0xfee00000 | 0);
  fault(bench, 1);
  expect([bench.interrupts.length, bench.unit.read32(0x38)]).toEqual([0, (1 << 31) | (1 << 30)]);
  bench.unit.write32(0x38, 0);
  expect(bench.interrupts).toEqual([{ address: 0xfee00000, data: 0x22 }]);
  fault(bench, 2);
  expect(bench.interrupts.length).toBe(1);
  bench.faults();
  fault(bench, 3);
  expect(bench.interrupts.length).toBe(2);
});

test('a pending interrupt is dropped once software has served what it was for', () => {
  const bench = new UnitBench().enable();
  fault(bench, 1);
  bench.faults();
  bench.unit.write32(0x38, 0);
  expect(bench.interrupts).toEqual([]);
});

test('FPD in any entry on the way silences, also from the caches', () => {
  const bench = new UnitBench().enable();
  bench.setContext(RID, { FPD: 1, PASIDE: 1 });
  bench.bind(5, 1);
  for (let i = 0; i < 2; i++) expect([bench.frameOf(5, 0x10), bench.faults()]).toEqual([undefined, []]);

  const other = new UnitBench().enable();
  other.bind(5, 1);
  // The directory's entry of PASIDs 0 to 63.
  other.put(3, 0, other.get(3, 0) | 2n);
  for (let i = 0; i < 2; i++) expect([other.frameOf(5, 0x10), other.faults()]).toEqual([undefined, []]);
  other.bind(70, 1);
  other.frameOf(70, 0x10);
  expect(other.faults().map(({ reason }) => reason)).toEqual([FAULT.FIRST_STAGE_NOT_PRESENT]);
});

test('FPD of one requester silences no other, whose entries are cached', () => {
  const bench = new UnitBench().enable();
  bench.setContext(RID, { FPD: 1, PASIDE: 1 });
  bench.bind(5, 1);
  for (const rid of [OTHER_RID, RID, OTHER_RID]) bench.frameOf(5, 0x10, RIGHT.READ | RIGHT.USER, rid);
  expect(bench.faults().map(({ rid }) => rid)).toEqual([OTHER_RID, OTHER_RID]);
});

test('FPD does not silence that a table cannot be read', () => {
  const bench = new UnitBench().enable();
  bench.setContext(RID, { FPD: 1, PASIDE: 1, PASIDDIRPTR: 0x2000 });
  bench.frameOf(5, 0x10);
  expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.PASID_DIRECTORY_ACCESS]);
});

test('FPD does not silence faults above the entry that has it', () => {
  const bench = new UnitBench().enable();
  bench.setPasid(5, { FPD: 1 });
  bench.frameOf(5, 0x10);
  expect(bench.faults()).toEqual([]);
  bench.put(1, 0, 0n);
  bench.command((1 << 31) | (1 << 30) | (1 << 26));
  bench.submit(encodeGlobalContextFlush());
  bench.frameOf(5, 0x10);
  expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.SM_ROOT_NOT_PRESENT]);
});

const encodeGlobalContextFlush = () => Int32Array.of(0x11);

test('with translation off nothing is recorded: plain requests pass, others do not', () => {
  const bench = new UnitBench();
  expect([bench.frameOf(NO_PASID, DATA), bench.frameOf(5, DATA), bench.faults()]).toEqual([
    DATA,
    undefined,
    [],
  ]);
});

test('root tables that lead nowhere: of a reserved mode, of one that aborts, and where the unit has none such', () => {
  for (const [mode, reason, admitted] of [
    [2, FAULT.ROOT_TABLE_ADDRESS_INVALID, 1n],
    [3, FAULT.ABORT_DMA_MODE, 1n],
    [3, FAULT.ROOT_TABLE_ADDRESS_INVALID, 0n],
  ] as const) {
    const bench = new UnitBench({ ecap: ECAP | (admitted << 52n) }).enable();
    bench.unit.write64(0x20, 0x1000 | (Number(mode) << 10), 0);
    bench.command((1 << 31) | (1 << 30));
    bench.submit(encodeGlobalContextFlush());
    bench.unit.write64(0x28, 0, (1 << 31) | (1 << 29));
    bench.frameOf(5, 0x10);
    expect(bench.faults().map((each) => each.reason)).toEqual([reason]);
  }
});

test('a PASID entry of a kind that does not exist', () => {
  const bench = new UnitBench().enable();
  bench.setPasid(5, { P: 1, PGTT: 5, DID: 1 });
  bench.setPasid(6, { P: 1, PGTT: PGTT.PASS_THROUGH, DID: 1 });
  expect([bench.frameOf(5, 1), bench.frameOf(6, DATA), bench.frameOf(6, DATA)]).toEqual([
    undefined,
    DATA,
    DATA,
  ]);
  expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.PASID_INVALID]);
  expect(encode(FAULT_RECORD, {}).length).toBe(4);
});
