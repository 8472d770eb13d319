import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { ERRNOS, type Errno, firstErrno } from './errno.js';

// As Linux's include/uapi/asm-generic/errno-base.h and errno.h number them, in the order of the numbers.
const LINUX: readonly (readonly [number, Errno])[] = [
  [1, 'EPERM'],
  [2, 'ENOENT'],
  [3, 'ESRCH'],
  [4, 'EINTR'],
  [5, 'EIO'],
  [6, 'ENXIO'],
  [7, 'E2BIG'],
  [11, 'EAGAIN'],
  [12, 'ENOMEM'],
  [13, 'EACCES'],
  [14, 'EFAULT'],
  [16, 'EBUSY'],
  [17, 'EEXIST'],
  [19, 'ENODEV'],
  [22, 'EINVAL'],
  [25, 'ENOTTY'],
  [28, 'ENOSPC'],
  [34, 'ERANGE'],
  [35, 'EDEADLK'],
  [75, 'EOVERFLOW'],
  [95, 'EOPNOTSUPP'],
  [110, 'ETIMEDOUT'],
  [122, 'EDQUOT'],
];

const NAMES = LINUX.map(([, name]) => name);
const anErrno = fc.constantFrom(...NAMES);

describe('ERRNOS', () => {
  it.each(LINUX)('%i is %s', (number, name) => {
    expect(ERRNOS[name].number).toBe(number);
  });

  it('has no others', () => {
    expect(Object.keys(ERRNOS).toSorted()).toEqual(NAMES.toSorted());
  });

  it('says of each what it means, and of no two the same', () => {
    const meanings = Object.values(ERRNOS).map(({ means }) => means);
    expect(meanings.filter((text) => text.trim() === '')).toEqual([]);
    expect(new Set(meanings).size).toBe(NAMES.length);
  });
});

describe('firstErrno', () => {
  // [told, left unsaid]: one pair for each step of the order that the table's comment tells.
  it.each<[Errno, Errno, string]>([
    ['EDEADLK', 'EINVAL', "the caller's context before its arguments"],
    ['ENOTTY', 'EFAULT', 'which command before where its arguments lie'],
    ['EFAULT', 'EINVAL', 'whether an argument can be read before what it says'],
    ['EINVAL', 'ENODEV', 'the arguments before the device'],
    ['EINVAL', 'ENOENT', 'the arguments before the object'],
    ['ENOENT', 'EACCES', 'whether it is there before whose it is'],
    ['EPERM', 'EACCES', 'what may never be done before what others may do'],
    ['EACCES', 'EBUSY', 'whose it is before the state it is in'],
    ['EEXIST', 'EBUSY', 'that it is there before that it is in use'],
    ['EBUSY', 'EAGAIN', 'in use before not now'],
    ['EBUSY', 'ENOSPC', 'the state before what runs out'],
    ['EDQUOT', 'ENOSPC', "the set's limit before the system's"],
    ['ENOSPC', 'ENOMEM', 'ids before memory'],
    ['ENOMEM', 'EIO', 'what this side lacks before what the device did'],
  ])('%s goes before %s: %s', (told, unsaid) => {
    expect(firstErrno(told, unsaid)).toBe(told);
    expect(firstErrno(unsaid, told)).toBe(told);
  });

  it('is a total order: one of the two, whichever way round, and transitive', () => {
    fc.assert(
      fc.property(anErrno, anErrno, anErrno, (a, b, c) => {
        expect([a, b]).toContain(firstErrno(a, b));
        expect(firstErrno(a, b)).toBe(firstErrno(b, a));
        expect(firstErrno(firstErrno(a, b), c)).toBe(firstErrno(a, firstErrno(b, c)));
      }),
    );
  });

  it('keeps the types of the two', () => {
    expectTypeOf(firstErrno('EBUSY', 'EPERM')).toEqualTypeOf<'EBUSY' | 'EPERM'>();
  });
});
