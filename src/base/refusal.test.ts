import { describe, expect, expectTypeOf, it } from 'vitest';
import { isRefusal, Refusal, refuse } from './refusal.js';

const allocate = (wanted: number): number | Refusal<'ENOSPC' | 'EINVAL'> => {
  if (wanted < 0) return refuse('EINVAL', `${wanted} ids were asked for`);
  if (wanted > 4) return refuse('ENOSPC', `${wanted} ids were asked for, 4 are free`);
  return wanted;
};

describe('a refusal', () => {
  it('says which error and why', () => {
    const refused = refuse('EBUSY', 'IOASID 7 is being freed');
    expect(refused.errno).toBe('EBUSY');
    expect(refused.why).toBe('IOASID 7 is being freed');
    expect(String(refused)).toBe('EBUSY: IOASID 7 is being freed');
  });

  it('is told from a success, which is the bare value', () => {
    expect(allocate(3)).toBe(3);
    expect(isRefusal(allocate(3))).toBe(false);
    expect(isRefusal(allocate(5))).toBe(true);
    expect(isRefusal(allocate(-1))).toBe(true);
  });

  it.each([undefined, null, 0, 'EBUSY', { errno: 'EBUSY', why: 'looks like one' }])('is not %o', (value) => {
    expect(isRefusal(value)).toBe(false);
  });

  it('is no exception', () => {
    expect(refuse('EBUSY', 'x')).not.toBeInstanceOf(Error);
  });
});

describe('types', () => {
  it('keep the closed set of errors of each function', () => {
    const answer = allocate(5);
    if (isRefusal(answer)) {
      expectTypeOf(answer).toEqualTypeOf<Refusal<'ENOSPC' | 'EINVAL'>>();
      expectTypeOf(answer.errno).toEqualTypeOf<'ENOSPC' | 'EINVAL'>();
    } else {
      expectTypeOf(answer).toEqualTypeOf<number>();
    }
    expectTypeOf(refuse('EPERM', '')).toEqualTypeOf<Refusal<'EPERM'>>();
  });

  it('know no other errors than those of the table', () => {
    // @ts-expect-error not an error of the kernel
    expect(refuse('EOOPS', '')).toBeInstanceOf(Refusal);
  });
});
