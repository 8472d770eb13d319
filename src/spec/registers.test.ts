/** A table of registers and its file: what a declaration may say, and what the file does beside the bits. */
import { describe, expect, test } from 'vitest';
import { Bug } from '../base/index.js';
import { layout } from './layout.js';
import { type Register, RegisterFile, RegisterMap, register, writableBits } from './registers.js';

const NARROW = layout('narrow', 4, 'a test', { A: [7, 0], B: [8], C: [16] });
const WIDE = layout('wide', 8, 'a test', { LOW: [15, 0], HIGH: [63, 32] });
const BIG = layout('big', 16, 'a test', { ONE: [63, 0], F: [127] });

describe('a declaration is checked', () => {
  test.each([
    ['a 4-byte register off its boundary', { offset: 2, layout: NARROW }, /is not aligned/],
    ['an 8-byte register off its boundary', { offset: 4, layout: WIDE }, /is not aligned/],
    [
      'a reset value that does not fit',
      { offset: 0, layout: NARROW, reset: 1n << 32n },
      /does not fit narrow/,
    ],
    [
      'a reset value with reserved bits',
      { offset: 0, layout: NARROW, reset: 0x200n },
      /reset sets reserved bits/,
    ],
    [
      'a field of another layout',
      { offset: 0, layout: NARROW, readOnly: [WIDE.LOW] },
      /LOW is no field of narrow/,
    ],
  ])('%s', (_, options, message) => {
    expect(() => register('R', options)).toThrow(Bug);
    expect(() => register('R', options)).toThrow(message);
  });

  test('a 16-byte register may stand at a multiple of 8', () => {
    expect(register('R', { offset: 8, layout: BIG }).at).toBe(2);
  });

  test('two registers in one place, or one outside', () => {
    const at = (offset: number) => register(`R${offset}`, { offset, layout: WIDE });
    expect(() => new RegisterMap([at(0), register('S', { offset: 4, layout: NARROW })], 16)).toThrow(
      /S overlaps R0/,
    );
    expect(() => new RegisterMap([at(16)], 16)).toThrow(/R16 lies outside of 16 bytes/);
  });

  test('writableBits has neither read-only nor reserved nor write-one-to-clear bits', () => {
    const of = register('R', {
      offset: 0,
      layout: NARROW,
      readOnly: [NARROW.B],
      writeOneToClear: [NARROW.C],
    });
    expect([...writableBits(of)]).toEqual([0xff]);
    expect([...writableBits(register('R', { offset: 0, layout: WIDE, readOnly: 'all' }))]).toEqual([0, 0]);
  });
});

const TABLE = {
  FIRST: register('FIRST', { offset: 0, layout: NARROW, reset: 0x5n }),
  SECOND: register('SECOND', { offset: 4, layout: NARROW, writeOneToClear: [NARROW.C] }),
  WIDE: register('WIDE', { offset: 8, layout: WIDE }),
  COMMAND: register('COMMAND', { offset: 16, layout: NARROW, writeOnly: 'all' }),
  BIG: register('BIG', { offset: 32, layout: BIG }),
};

function build(): { file: RegisterFile; told: string[] } {
  const told: string[] = [];
  const file = new RegisterFile(new RegisterMap(Object.values(TABLE), 64), ({ name }: Register) =>
    told.push(name),
  );
  return { file, told };
}

describe('accesses', () => {
  test('8 bytes over two registers are a write to each, over one a single write', () => {
    const { file, told } = build();
    file.write64(0, 0x12, 0x34);
    file.write64(8, 0x56, -1);
    file.write64(40, 0, -0x8000_0000);
    expect(told).toEqual(['FIRST', 'SECOND', 'WIDE', 'BIG']);
    expect([0, 4, 8, 12, 40, 44].map((offset) => file.read32(offset))).toEqual([
      0x12, 0x34, 0x56, -1, 0, -0x8000_0000,
    ]);
  });

  test('8 bytes over a register and nothing are a write to the register', () => {
    const { file, told } = build();
    file.write64(16, 0x1, 0x2);
    expect(told).toEqual(['COMMAND']);
    expect(file.read32(20)).toBe(0);
  });

  test.each([20, 60, 64, 4096, -4, 1, 2.5])('there is nothing at %d', (offset) => {
    const { file, told } = build();
    file.write32(offset, -1);
    file.write64(offset, -1, -1);
    expect(file.read32(offset)).toBe(0);
    expect(told).toEqual([]);
    expect([...file.words].filter((word) => word !== 0)).toEqual([0x5]);
  });

  test('8 bytes at a multiple of 4 are ignored', () => {
    const { file, told } = build();
    file.write64(4, -1, -1);
    expect(told).toEqual([]);
  });

  test('what software cannot read, the model can', () => {
    const { file } = build();
    file.write32(16, 0x112);
    expect(file.read32(16)).toBe(0);
    expect([file.get(TABLE.COMMAND, NARROW.A), file.get(TABLE.COMMAND, NARROW.B)]).toEqual([0x12, 1]);
  });

  test('the model stores to fields and nobody is told', () => {
    const { file, told } = build();
    file.set(TABLE.SECOND, NARROW.C, 1);
    file.setBig(TABLE.BIG, BIG.ONE, 2n ** 64n - 1n);
    expect([file.read32(4), file.getBig(TABLE.BIG, BIG.ONE)]).toEqual([0x10000, 2n ** 64n - 1n]);
    expect(told).toEqual([]);
  });
});

test('legalize sees what was and what would be, and has the last word', () => {
  const seen: number[][] = [];
  const legal = register('LEGAL', {
    offset: 0,
    layout: WIDE,
    reset: 0x7n,
    legalize: (next, old) => {
      seen.push([...old, ...next]);
      if ((next[0] ?? 0) > 9) next[0] = old[0] ?? 0;
    },
  });
  const file = new RegisterFile(new RegisterMap([legal], 8), () => undefined);
  file.write32(0, 9);
  file.write32(0, 10);
  file.write64(0, 3, 4);
  expect(seen).toEqual([
    [7, 0, 9, 0],
    [9, 0, 10, 0],
    [9, 0, 3, 4],
  ]);
  expect([file.read32(0), file.read32(4)]).toEqual([3, 4]);
});

test('a file goes back to its mark, whoever has written', () => {
  const { file } = build();
  file.write32(0, 1);
  file.mark();
  const marked = [...file.words];
  file.write64(8, -1, -1);
  file.set(TABLE.SECOND, NARROW.A, 7);
  file.setBig(TABLE.BIG, BIG.ONE, 1n);
  file.reset();
  expect([...file.words]).not.toEqual(marked);
  file.restore();
  expect([...file.words]).toEqual(marked);
});
