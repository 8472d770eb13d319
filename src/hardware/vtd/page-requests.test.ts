/** The page request queue: entries, answers of its own, overflow, interrupts. */
import { describe, expect, test } from 'vitest';
import { ECAP, RID, UnitBench } from '../../../test/vtd/unit-bench.js';
import { decode, FAULT, format, PAGE_REQUEST_DESCRIPTOR, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import { PAGE_RESPONSE, type PageRequest } from '../pci/ports.js';

const QUEUE_FRAME = 9;
const PRS = 0xdc;
const PQH = 0xc0;
const PQT = 0xc8;
const PPR = 1;
const PRO = 2;

const ask = (fields: Partial<PageRequest> = {}): PageRequest => ({
  ...{ rid: RID, pasid: 5, page: 0x7f_1234, rights: RIGHT.READ | RIGHT.USER, group: 3, isLast: true },
  ...fields,
});

const entryAt = ({ memory }: UnitBench, index: number): string =>
  format(decode(PAGE_REQUEST_DESCRIPTOR, memory.words, memory.at(QUEUE_FRAME, index * 8)));

function bound(ecap?: bigint): UnitBench {
  const bench = new UnitBench(ecap === undefined ? {} : { ecap }).enable();
  bench.bind(5, 1);
  return bench;
}

const responses = (bench: UnitBench) => bench.functions[0]?.responses ?? [];

describe('a request', () => {
  test('goes to the tail', () => {
    const bench = bound();
    bench.rootComplex.requestPage(ask());
    bench.rootComplex.requestPage(ask({ rights: RIGHT.WRITE, group: 511, isLast: false }));
    expect([entryAt(bench, 0), entryAt(bench, 1)]).toEqual([
      'TYPE=page request PP=1 RID=0x18 PASID=5 RD=1 LPIG=1 PRGI=3 ADDR=0x7f1234000',
      'TYPE=page request PP=1 RID=0x18 PASID=5 PMR=1 WR=1 PRGI=0x1ff ADDR=0x7f1234000',
    ]);
    expect([bench.unit.read32(PQT), bench.unit.read32(PRS), responses(bench)]).toEqual([0x40, PPR, []]);
  });

  test('raises an interrupt where none was pending', () => {
    const bench = bound();
    bench.unit.write32(0xe0, 0);
    bench.unit.write32(0xe8, 0xfee00000 | 0);
    for (let i = 0; i < 2; i++) bench.rootComplex.requestPage(ask());
    expect(bench.interrupts.length).toBe(1);
    bench.unit.write32(PRS, PPR);
    bench.rootComplex.requestPage(ask());
    expect(bench.interrupts.length).toBe(2);
  });

  test.each([
    ['whose PASID is gone', { pasid: 6 }, FAULT.PASID_NOT_PRESENT],
    ['whose PASID is beyond the directory', { pasid: 0xfffff }, FAULT.PASID_BEYOND_DIRECTORY],
  ])('%s is answered "invalid request", with a fault', (_, fields, reason) => {
    const bench = bound();
    bench.rootComplex.requestPage(ask(fields));
    const { pasid } = ask(fields);
    expect(bench.faults()).toEqual([{ rid: RID, reason, page: 0x7f_1234, pasid }]);
    expect(responses(bench)).toEqual([{ rid: RID, pasid, group: 3, code: PAGE_RESPONSE.INVALID_REQUEST }]);
    expect(bench.unit.read32(PQT)).toBe(0);
  });

  test('of a function that may not ask, likewise', () => {
    const bench = bound();
    bench.setContext(RID, { PASIDE: 1 });
    bench.rootComplex.requestPage(ask());
    expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.PRE_CLEAR]);
    expect(responses(bench).map(({ code }) => code)).toEqual([PAGE_RESPONSE.INVALID_REQUEST]);
  });

  test('that is refused has no answer if it is not the last of its group', () => {
    const bench = bound();
    bench.rootComplex.requestPage(ask({ pasid: 6, isLast: false }));
    expect(responses(bench)).toEqual([]);
  });

  test('in legacy mode, or with translation off, is refused', () => {
    const bench = bound();
    bench.unit.write64(0x20, 0x1000, 0);
    bench.command((1 << 31) | (1 << 30));
    bench.rootComplex.requestPage(ask());
    expect(bench.faults().map(({ reason }) => reason)).toEqual([FAULT.PAGE_REQUEST_IN_LEGACY_MODE]);
    bench.command(0);
    bench.rootComplex.requestPage(ask());
    expect(responses(bench).length).toBe(2);
    expect(bench.faults()).toEqual([]);
  });

  test('of a pass-through or supervisor-less space is taken: its rights are judged by what it leads to', () => {
    const bench = bound();
    bench.setPasid(7, { P: 1, PGTT: PGTT.PASS_THROUGH, DID: 3 });
    bench.rootComplex.requestPage(ask({ pasid: 7, rights: RIGHT.READ }));
    bench.rootComplex.requestPage(ask({ rights: RIGHT.READ }));
    expect(bench.unit.read32(PQT)).toBe(0x40);
  });
});

describe('a full queue', () => {
  const filled = (): UnitBench => {
    const bench = bound();
    for (let i = 0; i < 127; i++) bench.rootComplex.requestPage(ask({ isLast: false }));
    return bench;
  };

  test('loses requests, and answers "success" for the last of a group, until software has cleared it', () => {
    const bench = filled();
    expect(bench.unit.read32(PRS)).toBe(PPR);
    bench.rootComplex.requestPage(ask({ isLast: false }));
    expect([bench.unit.read32(PRS), responses(bench)]).toEqual([PPR | PRO, []]);
    bench.unit.write32(PQH, 0x20 * 64);
    bench.rootComplex.requestPage(ask());
    expect(responses(bench).map(({ code }) => code)).toEqual([PAGE_RESPONSE.SUCCESS]);
    bench.unit.write32(PRS, PRO);
    bench.rootComplex.requestPage(ask());
    expect([bench.unit.read32(PQT), responses(bench).length]).toEqual([0, 1]);
  });
});

describe('a stop marker', () => {
  const marker = ask({ rights: 0, page: 0 });

  test('goes to the queue where the unit takes them', () => {
    const bench = bound();
    bench.rootComplex.requestPage(marker);
    expect(entryAt(bench, 0)).toBe('TYPE=page request PP=1 RID=0x18 PASID=5 PMR=1 LPIG=1 PRGI=3');
  });

  test('is dropped where it does not, and never answered', () => {
    const bench = bound(ECAP & ~(1n << 58n));
    bench.rootComplex.requestPage(marker);
    bench.rootComplex.requestPage({ ...marker, pasid: 6 });
    expect([bench.unit.read32(PQT), responses(bench)]).toEqual([0, []]);
  });
});
