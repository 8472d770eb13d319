/** Translation requests and translated ones. */
import { describe, expect, test } from 'vitest';
import { DATA, ECAP, RID, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { FAULT, FIRST_STAGE_ENTRY, PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import { COMPLETION } from '../pci/ports.js';
import { emptyCompletion } from '../pci/root-complex.js';
import { NO_PASID } from './request.js';

const { READ, WRITE, EXECUTE, USER } = RIGHT;

function translate(bench: UnitBench, pasid: number, page: number, rights: number) {
  const out = emptyCompletion();
  bench.rootComplex.translate(bench.request({ pasid, page, rights }), out);
  return out;
}

describe('a translation request', () => {
  test.each([
    ['of a writable page', USER_PAGE, READ | WRITE | USER, READ | WRITE | USER],
    ['that does not ask to write', USER_PAGE, READ | USER, READ | USER],
    ['of a page that is read-only', USER_PAGE & ~2, READ | WRITE | USER, READ | USER],
    ['to execute, where the space does not', USER_PAGE, READ | EXECUTE | USER, READ | USER],
    ['to write and execute a read-only page', USER_PAGE & ~2, READ | WRITE | EXECUTE | USER, READ | USER],
  ])('%s is granted what there is', (_, bits, asked, granted) => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x10, DATA, bits);
    const out = translate(bench, 5, 0x10, asked);
    expect(out).toEqual({
      status: COMPLETION.SUCCESS,
      frame: DATA,
      pages: 1,
      rights: granted,
      isGlobal: false,
    });
    expect(bench.faults()).toEqual([]);
    const isDirty = (bench.leaf(root, 0x10) >> BigInt(FIRST_STAGE_ENTRY.D.low)) & 1n;
    expect(isDirty).toBe((granted & WRITE) === 0 ? 0n : 1n);
  });

  test('of a large page says how large', () => {
    const bench = new UnitBench().enable();
    bench.map(bench.bind(5, 1), 0x400, 0xa00, USER_PAGE | 0x80, 2);
    expect(translate(bench, 5, 0x412, READ | USER)).toMatchObject({ frame: 0xa12, pages: 512 });
  });

  test.each([
    ['not present', 5, 0x11],
    ['not canonical', 5, 2 ** 40],
    ['for the supervisor alone', 5, 0x12],
  ])('of a page that is %s succeeds with nothing, and is not recorded', (_, pasid, page) => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x12, DATA, 3);
    expect(translate(bench, pasid, page, READ | USER)).toMatchObject({
      status: COMPLETION.SUCCESS,
      rights: 0,
    });
    expect(bench.faults()).toEqual([]);
  });

  test.each([
    ['of no PASID', 6, FAULT.PASID_NOT_PRESENT, COMPLETION.UNSUPPORTED_REQUEST],
    ['through a damaged table', 5, FAULT.FIRST_STAGE_RESERVED, COMPLETION.COMPLETER_ABORT],
  ])('%s fails, and is recorded', (_, pasid, reason, status) => {
    const bench = new UnitBench().enable();
    const root = bench.bind(5, 1);
    bench.map(root, 0x200, DATA + 2, USER_PAGE | 0x80, 2);
    expect(translate(bench, pasid, 0x210, READ | USER)).toMatchObject({ status, rights: 0 });
    expect(bench.faults()).toMatchObject([{ reason, pasid }]);
  });

  test('is refused where the context entry, the unit or its switch says so', () => {
    const bench = new UnitBench().enable({ DTE: 0, PASIDE: 1, PRE: 1 });
    bench.map(bench.bind(5, 1), 0x10, DATA);
    expect(translate(bench, 5, 0x10, READ | USER).status).toBe(COMPLETION.UNSUPPORTED_REQUEST);
    expect(bench.faults()).toMatchObject([{ reason: FAULT.DTE_CLEAR }]);
    const off = new UnitBench();
    expect(translate(off, 5, 0x10, READ | USER).status).toBe(COMPLETION.UNSUPPORTED_REQUEST);
    const without = new UnitBench({ ecap: ECAP & ~4n }).enable({ DTE: 0, PASIDE: 1, PRE: 1 });
    expect(translate(without, 5, 0x10, READ | USER).status).toBe(COMPLETION.UNSUPPORTED_REQUEST);
    expect([off.faults(), without.faults()]).toEqual([[], []]);
  });
});

describe('a translated request', () => {
  const frameOf = (bench: UnitBench, page: number): number | undefined => {
    const out = emptyCompletion();
    const request = bench.request({ page, isTranslated: true });
    return bench.unit.remap(request, out) ? out.frame : undefined;
  };

  test('goes where it says, whatever the tables say by now', () => {
    const bench = new UnitBench().enable();
    expect(frameOf(bench, DATA + 3)).toBe(DATA + 3);
  });

  test('is refused where device TLBs are not allowed', () => {
    const bench = new UnitBench().enable({ DTE: 0, PASIDE: 1, PRE: 1 });
    expect(frameOf(bench, DATA)).toBe(undefined);
    expect(bench.faults()).toEqual([{ rid: RID, reason: FAULT.DTE_CLEAR, page: DATA, pasid: NO_PASID }]);
    expect(frameOf(new UnitBench(), DATA)).toBe(undefined);
  });
});

test('requests without a PASID use RID_PASID', () => {
  const bench = new UnitBench().enable();
  bench.setContext(RID, { DTE: 1, PASIDE: 1, PRE: 1, RID_PASID: 7 });
  bench.setPasid(7, { P: 1, PGTT: PGTT.PASS_THROUGH, DID: 2 });
  expect(translate(bench, NO_PASID, DATA, READ | WRITE | USER)).toMatchObject({
    frame: DATA,
    rights: READ | WRITE | USER,
  });
  expect([bench.frameOf(NO_PASID, DATA), bench.frameOf(NO_PASID, 0xfee00)]).toEqual([DATA, undefined]);
});
