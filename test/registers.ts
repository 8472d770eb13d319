/**
 * One test for all registers: whatever a table says of reset values, read-only, reserved and write-one-to-clear
 * bits, a `RegisterFile` over it does, for accesses of 4 and of 8 bytes.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hex } from '../src/base/index.js';
import { type Field, maskOf, type Register, RegisterFile, RegisterMap } from '../src/spec/index.js';

const bitsOf = (fields: readonly Field[]): bigint =>
  fields.reduce((bits, { low, width }) => bits | (((1n << BigInt(width)) - 1n) << BigInt(low)), 0n);

/** What software can do to a register, as masks of its whole value. */
export interface Access {
  /** Bits that a write stores. */
  readonly writable: bigint;
  /** Bits that a write of one clears. */
  readonly clearable: bigint;
}

/** What a register's declaration lets software do. */
export function accessOf({ layout, readOnly, writeOneToClear }: Register): Access {
  const clearable = bitsOf(writeOneToClear);
  return { writable: bitsOf(layout.fields) & ~bitsOf(readOnly) & ~clearable, clearable };
}

/** A register's value, whatever software would read. */
export function wholeOf(file: RegisterFile, { at, layout }: Register): bigint {
  return joined(file.words.subarray(at, at + layout.bytes / 4));
}

const joined = (words: Int32Array): bigint =>
  [...words].reduceRight((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);

/** What a register holds after a write of `next` to the bits of `mask`. */
function after(old: bigint, next: bigint, { access, mask }: { access: Access; mask: bigint }): bigint {
  const writable = access.writable & mask;
  return ((old & ~writable) | (next & writable)) & ~(next & access.clearable & mask);
}

/** Tests every register of a table of `bytes` bytes. */
export function testRegisters(registers: readonly Register[], bytes: number): void {
  const cases = registers.map((register) => ({
    register,
    name: `${register.name} at ${hex(register.offset)}`,
  }));
  const random = fc.array(fc.bigInt(0n, 2n ** 64n - 1n), { minLength: 6, maxLength: 6 });

  test.each(cases)('$name', ({ register }) => {
    const told: Register[] = [];
    const file = new RegisterFile(new RegisterMap(registers, bytes), (each) => told.push(each));
    expect(wholeOf(file, register)).toBe(register.reset);
    const others = registers.filter((each) => each !== register);
    const before = others.map((each) => wholeOf(file, each));
    const access = accessOf(register);
    let writes = 0;
    fc.assert(
      fc.property(random, fc.nat(3), fc.boolean(), (values, index, isWide) => {
        const part = index % (register.layout.bytes / 4);
        if (isWide && register.layout.bytes >= 8)
          writeWide(file, register, { values, part: part & ~1, access });
        else writeNarrow(file, register, { values, part, access });
        writes++;
      }),
      { numRuns: 30 },
    );
    expect(told).toEqual(Array.from({ length: writes }, () => register));
    expect(others.map((each) => wholeOf(file, each))).toEqual(before);
  });
}

interface Write {
  readonly values: readonly bigint[];
  /** The word of the register where it begins. */
  readonly part: number;
  readonly access: Access;
}

function writeNarrow(file: RegisterFile, register: Register, { values, part, access }: Write): void {
  const [value = 0n, ...state] = values;
  const old = fill(file, register, state);
  const offset = register.offset + part * 4;
  const next = BigInt.asUintN(32, value);
  file.write32(offset, Number(BigInt.asIntN(32, value)));
  const shift = BigInt(part * 32);
  const mask = 0xffffffffn << shift;
  const expected = after(old, next << shift, { access, mask });
  expect(wholeOf(file, register)).toBe(expected);
  const hidden = joined(maskOf(register.layout, ...register.writeOnly));
  const read = BigInt.asIntN(32, (expected & ~hidden) >> shift);
  expect(BigInt(file.read32(offset))).toBe(read);
}

function writeWide(file: RegisterFile, register: Register, { values, part, access }: Write): void {
  const [value = 0n, ...state] = values;
  const old = fill(file, register, state);
  const [lo, hi] = [BigInt.asIntN(32, value), BigInt.asIntN(32, value >> 32n)];
  file.write64(register.offset + part * 4, Number(lo), Number(hi));
  const shift = BigInt(part * 32);
  const mask = 0xffffffffffffffffn << shift;
  expect(wholeOf(file, register)).toBe(after(old, value << shift, { access, mask }));
}

/** Gives every field of the register some value, as the model would. */
function fill(file: RegisterFile, register: Register, values: readonly bigint[]): bigint {
  register.layout.fields.forEach((field, i) => {
    file.setBig(
      register,
      field,
      BigInt.asUintN(field.width, (values[i % values.length] ?? 0n) >> BigInt(i % 11)),
    );
  });
  return wholeOf(file, register);
}
