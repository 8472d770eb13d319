import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { type Brand, type NumberBrand, numberBrand } from './brand.js';
import { Bug } from './bug.js';
import { isRefusal, type Refusal, refuse } from './refusal.js';

type Pasid = Brand<number, 'Pasid'>;
const Pasid: NumberBrand<Pasid> = numberBrand('PASID', 1, 0xf_ffff);
type Offset = Brand<number, 'Offset'>;
const Offset: NumberBrand<Offset> = numberBrand('offset', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

const OUTSIDE = [0, -1, 0x10_0000, 2 ** 32 + 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, -Infinity];

describe('a branded number', () => {
  it('knows its name and its range', () => {
    expect(Pasid.name).toBe('PASID');
    expect([Pasid.first, Pasid.last]).toEqual([1, 0xf_ffff]);
  });

  it.each([1, 2, 0xf_fffe, 0xf_ffff])('%d is one', (value) => {
    expect(Pasid.is(value)).toBe(true);
    expect(Pasid.of(value)).toBe(value);
    expect(Pasid.parse(value)).toBe(value);
  });

  it.each(OUTSIDE)('%d is none', (value) => {
    const why = `${value} is no PASID (1 to 1048575)`;
    expect(Pasid.is(value)).toBe(false);
    expect(Pasid.parse(value)).toEqual(refuse('EINVAL', why));
    expect(() => Pasid.of(value)).toThrow(new Bug(why));
  });

  it('may have a range of one value', () => {
    const One = numberBrand('one', 7, 7);
    expect([6, 7, 8].map(One.is)).toEqual([false, true, false]);
  });

  it.each([
    [2, 1],
    [0.5, 4],
    [0, 2 ** 53],
    [Number.NaN, 1],
    [-(2 ** 53), 1],
  ])('cannot be declared from %d to %d', (first, last) => {
    expect(() => numberBrand('bad', first, last)).toThrow(new Bug('range of bad'));
  });
});

describe('plus', () => {
  it('adds and subtracts within the range', () => {
    expect(Pasid.plus(Pasid.of(5), 3)).toBe(8);
    expect(Pasid.plus(Pasid.of(5), -4)).toBe(1);
    expect(Pasid.plus(Pasid.of(0xf_fffe), 1)).toBe(0xf_ffff);
  });

  it.each([
    [0xf_ffff, 1],
    [1, -1],
    [5, 0.5],
    [5, Number.NaN],
  ])('%d + %d is a Bug', (value, by) => {
    expect(() => Pasid.plus(Pasid.of(value), by)).toThrow(Bug);
  });

  it('does not round at the end of the exact integers', () => {
    expect(() => Offset.plus(Offset.of(Offset.last), 1)).toThrow(Bug);
    expect(Offset.plus(Offset.of(Offset.last), -1)).toBe(2 ** 53 - 2);
  });
});

describe('compare', () => {
  it('orders as the numbers do', () => {
    const aPasid = fc.integer({ min: Pasid.first, max: Pasid.last }).map(Pasid.of);
    fc.assert(
      fc.property(aPasid, aPasid, (a, b) => {
        expect(Math.sign(Pasid.compare(a, b))).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
    expect([3, 1, 2].map(Pasid.of).toSorted(Pasid.compare)).toEqual([1, 2, 3]);
  });
});

describe('types', () => {
  const bind = (pasid: Pasid): Pasid => pasid;
  const offset = Offset.of(5);
  const plain: number = 5;

  it('do not mix', () => {
    // @ts-expect-error an offset is no PASID
    bind(offset);
    // @ts-expect-error nor is a plain number
    bind(plain);
    // @ts-expect-error nor is the sum of a PASID and a number
    bind(Pasid.of(5) + 1);
    // @ts-expect-error two brands are never equal
    expect(Pasid.of(5) === offset).toBe(true);
    // @ts-expect-error the map's keys are PASIDs
    new Map<Pasid, string>().get(offset);
    // @ts-expect-error
    Pasid.compare(Pasid.of(5), offset);
  });

  it('are given by is, of, parse and plus', () => {
    expectTypeOf(Pasid.of).returns.toEqualTypeOf<Pasid>();
    expectTypeOf(Pasid.plus).returns.toEqualTypeOf<Pasid>();
    expectTypeOf(Pasid.parse).returns.toEqualTypeOf<Pasid | Refusal<'EINVAL'>>();
    const parsed = Pasid.parse(plain);
    if (!isRefusal(parsed)) expectTypeOf(parsed).toEqualTypeOf<Pasid>();
    if (Pasid.is(plain)) expectTypeOf(bind).toBeCallableWith(plain);
    expectTypeOf<Pasid>().toExtend<number>();
  });
});
