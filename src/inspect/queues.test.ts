import { describe, expect, test } from 'vitest';
import { CAP, ECAP, handMade, type Word } from '../../test/vtd/hand-made.js';
import { unitOf } from '../../test/vtd/unit.js';
import { readQueues } from './queues.js';

const PRS = 1n << 29n;

/** A unit with registers, and memory up to frame 0xff. */
function machine(words: readonly Word[], registers: Record<string, bigint>) {
  const machine = { isScalable: true, cap: CAP, ecap: ECAP | PRS, hostAddressWidth: 46n, root: 0x1000n };
  return { unit: unitOf(machine, registers), memory: handMade(words).memory };
}

const WIDE = (1n << 11n) | 0x10_000n;
const NARROW = 0x10_000n;
/** A PASID-cache invalidation and a wait, in a wide slot each. */
const PASID_CACHE = 0x1_2345_0007_0017n;
const WAIT = 0x2_0000_0025n;
/** A context-cache invalidation of all. */
const CONTEXT_CACHE = 0x11n;

const offsets = (words: readonly Word[], registers: Record<string, bigint>, latest = 100) => {
  const { unit, memory } = machine(words, registers);
  return readQueues(unit, memory, latest).invalidations?.map(
    ({ address, isPending }) => `${(address - 0x10_000).toString(16)}${isPending ? ' pending' : ''}`,
  );
};

describe('the invalidation queue', () => {
  const wide: Word[] = [0, 1, 2, 3].map((slot) => [0x10, slot * 4, slot % 2 === 0 ? PASID_CACHE : WAIT]);

  test('oldest first, and what lies between head and tail is pending', () => {
    expect(offsets(wide, { IQA: WIDE, IQH: 0x40n, IQT: 0x80n })).toEqual([
      '0',
      '20',
      '40 pending',
      '60 pending',
    ]);
    expect(offsets(wide, { IQA: WIDE, IQH: 0x80n, IQT: 0x80n })).toEqual(['0', '20', '40', '60']);
  });

  test('no more than the latest', () => {
    expect(offsets(wide, { IQA: WIDE, IQH: 0x80n, IQT: 0x80n }, 2)).toEqual(['40', '60']);
    expect(offsets(wide, { IQA: WIDE, IQH: 0x80n, IQT: 0x80n }, 0)).toEqual([]);
  });

  test('goes round: before the first slot comes the last', () => {
    const last: Word = [0x10, 127 * 4, PASID_CACHE];
    // The slot at the tail is the next to be written: what it holds is not shown.
    const shown = offsets([...wide, last], { IQA: WIDE, IQH: 0xfe0n, IQT: 0x40n }, 1000);
    expect(shown).toEqual(['60', 'fe0 pending', '0 pending', '20 pending']);
  });

  test('of several pages, one of which is outside of memory', () => {
    const iqa = (1n << 11n) | 0xff_000n | 1n;
    const words: Word[] = [[0xff, 511 - 3, WAIT]];
    const { unit, memory } = machine(words, { IQA: iqa, IQH: 0x1040n, IQT: 0x1040n });
    expect(readQueues(unit, memory, 300).invalidations?.map(({ address }) => address)).toEqual([0xff_fe0]);
  });

  test('narrow: slots of 16 bytes, which hold no descriptor of 32', () => {
    const words: Word[] = [
      [0x10, 0, CONTEXT_CACHE],
      [0x10, 2, PASID_CACHE],
    ];
    const { unit, memory } = machine(words, { IQA: NARROW, IQH: 0n, IQT: 0x20n });
    expect(readQueues(unit, memory, 10).invalidations?.map(({ name, text }) => [name, text])).toEqual([
      ['Context-cache invalidate', 'TYPE=1 G=global'],
      ['unknown descriptor', '0x1234500070017 0x0'],
    ]);
  });

  test('wide: a tail that points into a slot counts as that slot', () => {
    expect(offsets(wide, { IQA: WIDE, IQH: 0x40n, IQT: 0x90n })).toEqual([
      '0',
      '20',
      '40 pending',
      '60 pending',
    ]);
    const atEnd: Word[] = [
      [0x10, 127 * 4, WAIT],
      [0x11, 0, -1n],
    ];
    expect(offsets(atEnd, { IQA: WIDE, IQH: 0n, IQT: 0x10n })).toEqual(['fe0']);
  });

  test('pointers beyond the ring are taken round it', () => {
    expect(offsets(wide, { IQA: WIDE, IQH: 0x1040n, IQT: 0x7_f080n })).toEqual([
      '0',
      '20',
      '40 pending',
      '60 pending',
    ]);
  });

  test.each([
    { what: 'it is off', registers: { IQA: WIDE, IQH: 0n, IQT: 0x20n, GSTS: 0x8000_0000n } },
    { what: 'a register was not recorded', registers: { IQA: WIDE, IQT: 0x20n } },
  ])('is unknown if $what', ({ registers }) => {
    expect(offsets(wide, registers)).toBeUndefined();
  });
});

describe('the page request queue', () => {
  const request = (slot: number, pasid: bigint): Word[] => [
    [0x20, slot * 4, 1n | (1n << 8n) | (0x18n << 16n) | (pasid << 32n)],
    [0x20, slot * 4 + 1, 0x5000n | 6n],
  ];
  const words = [...request(127, 7n), ...request(0, 8n), ...request(1, 9n)];

  test('from head to tail, round the ring', () => {
    const { unit, memory } = machine(words, { PQA: 0x2_0000n, PQH: 0xfe0n, PQT: 0x20n });
    expect(readQueues(unit, memory, 0).pageRequests.map(({ address, text }) => [address, text])).toEqual([
      [0x20_fe0, 'TYPE=page request PP=1 RID=0x18 PASID=7 WR=1 LPIG=1 ADDR=0x5000'],
      [0x20_000, 'TYPE=page request PP=1 RID=0x18 PASID=8 WR=1 LPIG=1 ADDR=0x5000'],
    ]);
  });

  test('empty where head and tail are equal, and where the unit has none', () => {
    const { unit, memory } = machine(words, { PQA: 0x2_0000n, PQH: 0x20n, PQT: 0x20n });
    expect(readQueues(unit, memory, 0).pageRequests).toEqual([]);
    expect(readQueues(handMade(words).unit, memory, 0).pageRequests).toEqual([]);
  });
});

describe('faults', () => {
  /** A write by 00:03.0 with PASID 7 to 0x5000, for want of a present entry. */
  const record = 0x5000n | ((0x18n | (1n << 31n) | (0x71n << 32n) | (7n << 40n) | (1n << 63n)) << 64n);
  const withRecords = (faultRecords: readonly bigint[] | undefined, fsts: bigint) => {
    const { unit, memory } = machine([], { FSTS: fsts });
    return readQueues({ ...unit, registers: { ...unit.registers, faultRecords } }, memory, 0);
  };

  test('are those of the records that are in use', () => {
    const { faults, faultStatus } = withRecords([0n, record, record & ~(1n << 95n)], 0x102n);
    expect(
      faults?.map(({ index, bdf, pasid, address, code, name }) => [index, bdf, pasid, address, code, name]),
    ).toEqual([
      [1, '00:03.0', 7, 0x5000n, 0x71, 'SFS.2'],
      [2, '00:03.0', undefined, 0x5000n, 0x71, 'SFS.2'],
    ]);
    expect(faultStatus).toBe('PPF=1 FRI=1');
  });

  test('are unknown if some are pending and the records were not recorded', () => {
    expect(withRecords(undefined, 2n).faults).toBeUndefined();
    expect(withRecords(undefined, 0n).faults).toEqual([]);
  });

  test('a reason that is not known is told by its number', () => {
    const unknown = (record & ~(0xffn << 96n)) | (0xeen << 96n);
    expect(withRecords([unknown], 2n).faults?.[0]).toMatchObject({ code: 0xee, name: 'unknown' });
  });
});

test('a queue that lies outside of memory is a problem, told once', () => {
  const { unit, memory } = machine([], { IQA: 0xfff_ffff_f000n | (1n << 11n), IQH: 0n, IQT: 0x60n });
  expect(readQueues(unit, memory, 8).problems).toEqual([
    { where: 'IQA', what: 'points to a queue that reaches 0xffffffff000, outside of memory' },
  ]);
});
