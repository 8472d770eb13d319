import { describe, expect, test } from 'vitest';
import { wordsOf } from '../../spec/index.js';
import { FirstStage, isCanonical } from './first-stage.js';
import { ALL_RIGHTS, ENTRY, pagingStep, RIGHT } from './step.js';

const { READ, WRITE, EXECUTE, USER } = RIGHT;
const GOOD = 0x7n; // P, RW, US

function stepOf(format: FirstStage, level: number, entry: bigint) {
  const out = pagingStep();
  const kind = format.step(level, Int32Array.of(-1, -1, ...wordsOf(entry)), 2, out);
  return { kind, ...out };
}

/** Bits from `high` to `low`. */
const range = (high: number, low: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i);

/** The reserved bits of each kind of entry, with 52 address bits: independent of the layouts, from SDM 5.5. */
const RESERVED: readonly { what: string; level: number; entry: bigint; reserved: readonly number[] }[] = [
  { what: 'leaf of level 1', level: 1, entry: GOOD, reserved: [] },
  { what: 'table of level 2', level: 2, entry: GOOD, reserved: [] },
  { what: '2 MiB leaf', level: 2, entry: GOOD | 0x80n, reserved: range(20, 13) },
  { what: 'table of level 3', level: 3, entry: GOOD, reserved: [] },
  { what: '1 GiB leaf', level: 3, entry: GOOD | 0x80n, reserved: range(29, 13) },
  { what: 'table of level 4', level: 4, entry: GOOD, reserved: [7] },
  { what: 'table of level 5', level: 5, entry: GOOD, reserved: [7] },
];

describe('reserved bits, each of 64 in turn', () => {
  // Bit 0 is P, which turns the entry off. PS makes a table of level 2 or 3 a leaf, with frame 0 a good one.
  test.each(RESERVED)('of a $what', ({ level, entry, reserved }) => {
    for (const width of range(52, 39)) {
      const format = new FirstStage({ addressWidth: width, gigabytePages: true });
      const malformed = range(63, 1).filter(
        (bit) => stepOf(format, level, entry | (1n << BigInt(bit))).kind === ENTRY.MALFORMED,
      );
      const beyond = range(51, width);
      expect(malformed).toEqual([...reserved, ...beyond].toSorted((a, b) => a - b));
    }
  });

  test('do not count in an entry that is not present', () => {
    const format = new FirstStage({ addressWidth: 39, gigabytePages: false });
    for (const level of [1, 2, 3, 4, 5]) {
      expect(stepOf(format, level, 0xffff_ffff_ffff_fffen).kind).toBe(ENTRY.ABSENT);
    }
  });

  test('a 1 GiB leaf is one where the unit has none', () => {
    const format = new FirstStage({ addressWidth: 52, gigabytePages: false });
    expect(stepOf(format, 3, 0x87n).kind).toBe(ENTRY.MALFORMED);
    expect(stepOf(format, 2, 0x87n).kind).toBe(ENTRY.LEAF);
  });
});

describe('what an entry leads to', () => {
  const format = new FirstStage({ addressWidth: 52, gigabytePages: true });

  test.each([
    { what: 'a 4 KiB page with PAT', level: 1, entry: 0x1_2345_6087n, kind: ENTRY.LEAF, frame: 0x12_3456 },
    { what: 'a 2 MiB page', level: 2, entry: 0x1_2340_0087n, kind: ENTRY.LEAF, frame: 0x12_3400 },
    { what: 'a 2 MiB page with PAT', level: 2, entry: 0x1_2340_1087n, kind: ENTRY.LEAF, frame: 0x12_3400 },
    { what: 'a 1 GiB page', level: 3, entry: 0x1_4000_0087n, kind: ENTRY.LEAF, frame: 0x14_0000 },
    { what: 'a 1 GiB page with PAT', level: 3, entry: 0x1_4000_1087n, kind: ENTRY.LEAF, frame: 0x14_0000 },
    { what: 'a table', level: 2, entry: 0x1_2345_6007n, kind: ENTRY.TABLE, frame: 0x12_3456 },
    { what: 'a table of level 5', level: 5, entry: 0x1_2345_6007n, kind: ENTRY.TABLE, frame: 0x12_3456 },
    {
      what: 'the last frame',
      level: 1,
      entry: 0x000f_ffff_ffff_f007n,
      kind: ENTRY.LEAF,
      frame: 2 ** 40 - 1,
    },
  ])('$what', ({ level, entry, kind, frame }) => {
    expect(stepOf(format, level, entry)).toEqual({ kind, frame, rights: ALL_RIGHTS });
  });

  test.each([
    { entry: 0x1n, rights: READ | EXECUTE },
    { entry: 0x3n, rights: READ | WRITE | EXECUTE },
    { entry: 0x5n, rights: READ | USER | EXECUTE },
    { entry: 0x8000_0000_0000_0007n, rights: READ | WRITE | USER },
    { entry: 0x8000_0000_0000_0001n, rights: READ },
  ])('grants $rights by $entry, in a leaf and in a table', ({ entry, rights }) => {
    expect(stepOf(format, 1, entry).rights).toBe(rights);
    expect(stepOf(format, 4, entry).rights).toBe(rights);
  });

  test('the bits that software may use change nothing', () => {
    const plain = stepOf(format, 1, 0x5007n);
    for (const bit of [3, 4, 5, 6, 7, 8, 9, 10, 11, ...range(62, 52)]) {
      expect(stepOf(format, 1, 0x5007n | (1n << BigInt(bit)))).toEqual(plain);
    }
  });
});

test.each([
  { levels: 4, address: 0x0000_7fff_ffff_f000n, isGood: true },
  { levels: 4, address: 0x0000_8000_0000_0000n, isGood: false },
  { levels: 4, address: 0xffff_7fff_ffff_f000n, isGood: false },
  { levels: 4, address: 0xffff_8000_0000_0000n, isGood: true },
  { levels: 5, address: 0x0000_8000_0000_0000n, isGood: true },
  { levels: 5, address: 0x00ff_ffff_ffff_f000n, isGood: true },
  { levels: 5, address: 0x0100_0000_0000_0000n, isGood: false },
  { levels: 5, address: 0xfeff_ffff_ffff_f000n, isGood: false },
  { levels: 5, address: 0xff00_0000_0000_0000n, isGood: true },
  { levels: 5, address: 0xffff_ffff_ffff_f000n, isGood: true },
])('$address is canonical with $levels levels: $isGood', ({ levels, address, isGood }) => {
  expect(isCanonical(Number(address >> 44n), levels)).toBe(isGood);
});
