/**
 * Branded types: numbers of one kind that the compiler does not let pass for another (a PASID for an IOVA, a
 * guest's address for the host's). They cost nothing at run time, and are made by range-checked constructors
 * only. A brand stops mixing in calls, keys and `===`, but not in `+` and `<`: {@link NumberBrand} has the
 * checked helpers for those.
 */
import { assert, Bug } from './bug.js';
import { type Refusal, refuse } from './refusal.js';

declare const brandName: unique symbol;

/** `T`, marked as `Name`. */
export type Brand<T, Name extends string> = T & { readonly [brandName]: Name };

/** The constructors and the arithmetic of one branded integer type with the values `first` to `last`. */
export interface NumberBrand<B extends number> {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  /** Whether `value` is an integer in range. */
  is(value: number): value is B;
  /** `value` as this type; for values that our own code vouches for. A `Bug` if it is out of range. */
  of(value: number): B;
  /** `value` as this type, or `EINVAL`; for values from outside. */
  parse(value: number): B | Refusal<'EINVAL'>;
  /** `value + by`. A `Bug` if that leaves the range. */
  plus(value: B, by: number): B;
  /** Negative, zero or positive as `a` is below, equal to or above `b`. */
  compare(a: B, b: B): number;
}

/**
 * Declares a branded integer type: `const Pasid = numberBrand<Pasid>('PASID', 0, 0xfffff)`.
 *
 * @param name what messages call it
 * @param first smallest value, inclusive
 * @param last largest value, inclusive; at most 2^53 - 1
 */
export function numberBrand<B extends number>(name: string, first: number, last: number): NumberBrand<B> {
  assert(Number.isSafeInteger(first) && Number.isSafeInteger(last) && first <= last, `range of ${name}`);
  const is = (value: number): value is B => Number.isInteger(value) && value >= first && value <= last;
  const whyNot = (value: number): string => `${value} is no ${name} (${first} to ${last})`;
  const of = (value: number): B => {
    if (!is(value)) throw new Bug(whyNot(value));
    return value;
  };
  return {
    name,
    first,
    last,
    is,
    of,
    parse: (value) => (is(value) ? value : refuse('EINVAL', whyNot(value))),
    plus: (value, by) => of(value + by),
    compare: (a, b) => a - b,
  };
}
