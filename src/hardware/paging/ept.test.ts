import { describe, expect, test } from 'vitest';
import { wordsOf } from '../../spec/index.js';
import { Ept } from './ept.js';
import { ENTRY, pagingStep, RIGHT } from './step.js';

const { READ, WRITE, EXECUTE } = RIGHT;
/** R, W, X. */
const RWX = 0x7n;
/** Write-back. */
const WB = 0x30n;
const LARGE = 0x80n;

const whole = new Ept({ addressWidth: 46, gigabytePages: true, executeOnly: true });

function stepOf(level: number, entry: bigint, format = whole) {
  const out = pagingStep();
  const kind = format.step(level, Int32Array.of(-1, -1, ...wordsOf(entry)), 2, out);
  return { kind, ...out };
}

/** Bits from `high` to `low`. */
const range = (high: number, low: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i);

/** The bits that make a good entry a misconfiguration, one at a time; from SDM 29.3.2, not from the layout. */
const MISCONFIGURED: readonly { what: string; level: number; entry: bigint; bits: readonly number[] }[] = [
  { what: 'leaf of level 1', level: 1, entry: RWX, bits: [4, ...range(51, 46)] },
  { what: '2 MiB leaf', level: 2, entry: RWX | LARGE, bits: [4, ...range(20, 12), ...range(51, 46)] },
  { what: '1 GiB leaf', level: 3, entry: RWX | LARGE, bits: [4, ...range(29, 12), ...range(51, 46)] },
  { what: 'table of level 2', level: 2, entry: RWX, bits: [...range(6, 3), ...range(51, 46)] },
  { what: 'table of level 3', level: 3, entry: RWX, bits: [...range(6, 3), ...range(51, 46)] },
  { what: 'table of level 4', level: 4, entry: RWX, bits: [...range(7, 3), ...range(51, 46)] },
  { what: 'table of level 5', level: 5, entry: RWX, bits: [...range(7, 3), ...range(51, 46)] },
];

describe('misconfigurations, each of 61 bits in turn', () => {
  test.each(MISCONFIGURED)('of a $what', ({ level, entry, bits }) => {
    const malformed = range(63, 3).filter((bit) => {
      // PS turns a table into a leaf, which is another case; a leaf has it.
      if (bit === 7 && level < 4) return false;
      return stepOf(level, entry | (1n << BigInt(bit))).kind === ENTRY.MALFORMED;
    });
    expect(malformed).toEqual(bits);
  });

  test.each([
    { type: 0, isGood: true },
    { type: 1, isGood: true },
    { type: 2, isGood: false },
    { type: 3, isGood: false },
    { type: 4, isGood: true },
    { type: 5, isGood: true },
    { type: 6, isGood: true },
    { type: 7, isGood: false },
  ])('memory type $type', ({ type, isGood }) => {
    expect(stepOf(1, RWX | (BigInt(type) << 3n)).kind).toBe(isGood ? ENTRY.LEAF : ENTRY.MALFORMED);
  });

  test.each([
    { rights: 0n, kind: ENTRY.ABSENT },
    { rights: 1n, kind: ENTRY.LEAF },
    { rights: 2n, kind: ENTRY.MALFORMED },
    { rights: 3n, kind: ENTRY.LEAF },
    { rights: 4n, kind: ENTRY.LEAF },
    { rights: 5n, kind: ENTRY.LEAF },
    { rights: 6n, kind: ENTRY.MALFORMED },
    { rights: 7n, kind: ENTRY.LEAF },
  ])('rights $rights', ({ rights, kind }) => {
    expect(stepOf(1, rights | WB).kind).toBe(kind);
  });

  test('execution alone, and 1 GiB pages, where the CPU has none', () => {
    const plain = new Ept({ addressWidth: 46, gigabytePages: false, executeOnly: false });
    expect(stepOf(1, 0x4n, plain).kind).toBe(ENTRY.MALFORMED);
    expect(stepOf(3, RWX | LARGE, plain).kind).toBe(ENTRY.MALFORMED);
    expect(stepOf(2, RWX | LARGE, plain).kind).toBe(ENTRY.LEAF);
  });
});

test.each([
  { what: 'a page', level: 1, entry: RWX | WB | 0x1_2345_6000n, kind: ENTRY.LEAF, frame: 0x12_3456 },
  {
    what: 'a page with PS, which is ignored',
    level: 1,
    entry: 0x1_2345_6081n,
    kind: ENTRY.LEAF,
    frame: 0x12_3456,
  },
  {
    what: 'a 2 MiB page',
    level: 2,
    entry: RWX | WB | LARGE | 0x1_2340_0000n,
    kind: ENTRY.LEAF,
    frame: 0x12_3400,
  },
  {
    what: 'a 1 GiB page',
    level: 3,
    entry: RWX | WB | LARGE | 0x1_4000_0000n,
    kind: ENTRY.LEAF,
    frame: 0x14_0000,
  },
  { what: 'a table', level: 4, entry: RWX | 0x1_2345_6000n, kind: ENTRY.TABLE, frame: 0x12_3456 },
])('leads to $what', ({ level, entry, kind, frame }) => {
  expect(stepOf(level, entry)).toMatchObject({ kind, frame });
});

test('grants what it says, to user accesses too', () => {
  const rights = [0x1n, 0x3n, 0x5n, 0x7n].map((bits) => stepOf(1, bits).rights & ~RIGHT.USER);
  expect(rights).toEqual([READ, READ | WRITE, READ | EXECUTE, READ | WRITE | EXECUTE]);
});
