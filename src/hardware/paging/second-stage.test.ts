import { describe, expect, test } from 'vitest';
import { wordsOf } from '../../spec/index.js';
import { SecondStage, type SecondStageOptions } from './second-stage.js';
import { ENTRY, pagingStep, RIGHT } from './step.js';

const { READ, WRITE, EXECUTE, USER } = RIGHT;
const EVERYTHING: SecondStageOptions = {
  addressWidth: 52,
  largePages: true,
  gigabytePages: true,
  snoopControl: true,
  execute: true,
};

function stepOf(options: Partial<SecondStageOptions>, level: number, entry: bigint) {
  const out = pagingStep();
  const format = new SecondStage({ ...EVERYTHING, ...options });
  const kind = format.step(level, Int32Array.of(-1, -1, ...wordsOf(entry)), 2, out);
  return { kind, ...out };
}

const range = (high: number, low: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i);

/** The reserved bits of each kind of entry, with 52 address bits, by VT-d 4.1, 9.8; TM (62) since 3.2. */
const RESERVED: readonly { what: string; level: number; entry: bigint; reserved: readonly number[] }[] = [
  { what: 'leaf of level 1', level: 1, entry: 3n, reserved: [62] },
  { what: 'table of level 2', level: 2, entry: 3n, reserved: [11, 62] },
  { what: '2 MiB leaf', level: 2, entry: 0x83n, reserved: [...range(20, 12), 62] },
  { what: 'table of level 3', level: 3, entry: 3n, reserved: [11, 62] },
  { what: '1 GiB leaf', level: 3, entry: 0x83n, reserved: [...range(29, 12), 62] },
  { what: 'table of level 4', level: 4, entry: 3n, reserved: [7, 11, 62] },
  { what: 'table of level 5', level: 5, entry: 3n, reserved: [7, 11, 62] },
];

describe('reserved bits, each of 64 in turn', () => {
  // Bits 0 to 2 are the rights: none of them set is an absent entry, and none of them is ever reserved.
  const malformedBits = (options: Partial<SecondStageOptions>, level: number, entry: bigint): number[] =>
    range(63, 0).filter(
      (bit) => stepOf(options, level, entry | (1n << BigInt(bit))).kind === ENTRY.MALFORMED,
    );

  test.each(RESERVED)('of a $what', ({ level, entry, reserved }) => {
    for (const addressWidth of range(52, 39)) {
      const all = [...reserved, ...range(51, addressWidth)].toSorted((a, b) => a - b);
      expect(malformedBits({ addressWidth }, level, entry)).toEqual(all);
      const withSnoop = [...new Set([...all, 11])].toSorted((a, b) => a - b);
      expect(malformedBits({ addressWidth, snoopControl: false }, level, entry)).toEqual(withSnoop);
    }
  });

  test('do not count in an entry that grants nothing', () => {
    for (const level of [1, 2, 3, 4, 5]) {
      expect(stepOf({ addressWidth: 39 }, level, 0xffff_ffff_ffff_fff8n).kind).toBe(ENTRY.ABSENT);
    }
  });

  test.each([
    { options: { largePages: false }, level: 2, kind: ENTRY.MALFORMED },
    { options: { largePages: false }, level: 3, kind: ENTRY.LEAF },
    { options: { gigabytePages: false }, level: 2, kind: ENTRY.LEAF },
    { options: { gigabytePages: false }, level: 3, kind: ENTRY.MALFORMED },
    { options: { largePages: false, gigabytePages: false }, level: 1, kind: ENTRY.LEAF },
  ])('PS at level $level with $options', ({ options, level, kind }) => {
    expect(stepOf(options, level, 0x83n).kind).toBe(kind);
  });
});

describe('what an entry leads to', () => {
  test.each([
    { what: 'a 4 KiB page', level: 1, entry: 0x1_2345_6003n, kind: ENTRY.LEAF, frame: 0x12_3456 },
    { what: 'a 2 MiB page', level: 2, entry: 0x1_2340_0083n, kind: ENTRY.LEAF, frame: 0x12_3400 },
    { what: 'a 1 GiB page', level: 3, entry: 0x1_4000_0083n, kind: ENTRY.LEAF, frame: 0x14_0000 },
    { what: 'a table', level: 3, entry: 0x1_2345_6003n, kind: ENTRY.TABLE, frame: 0x12_3456 },
    { what: 'the last frame', level: 1, entry: 0x000f_ffff_ffff_f003n, kind: ENTRY.LEAF, frame: 2 ** 40 - 1 },
  ])('$what', ({ level, entry, kind, frame }) => {
    expect(stepOf({}, level, entry)).toEqual({ kind, frame, rights: READ | WRITE | USER });
  });

  test.each([
    { entry: 1n, rights: READ, execute: true },
    { entry: 2n, rights: WRITE, execute: true },
    { entry: 4n, rights: EXECUTE, execute: true },
    { entry: 7n, rights: READ | WRITE | EXECUTE, execute: true },
    { entry: 5n, rights: READ, execute: false },
    { entry: 6n, rights: WRITE, execute: false },
  ])('grants $rights by $entry where execution is $execute', ({ entry, rights, execute }) => {
    expect(stepOf({ execute }, 1, entry)).toEqual({ kind: ENTRY.LEAF, frame: 0, rights: rights | USER });
  });

  test('X alone is an absent entry where execution is not enabled, whatever its other bits', () => {
    expect(stepOf({ execute: false }, 1, 0x4000_0000_0000_0004n).kind).toBe(ENTRY.ABSENT);
  });

  test('the bits that software may use, memory types, A and D change nothing', () => {
    const plain = stepOf({}, 1, 0x5003n);
    for (const bit of [3, 4, 5, 6, 7, 8, 9, 10, 11, ...range(61, 52), 63]) {
      expect(stepOf({}, 1, 0x5003n | (1n << BigInt(bit)))).toEqual(plain);
    }
  });
});
