/**
 * The kernel's error numbers that ioasis answers with: one table for the whole project.
 *
 * Numbers are those of Linux (include/uapi/asm-generic/errno-base.h and errno.h). The order of the table is
 * the order of precedence: where several apply to one call, the one that stands first is told. It goes from
 * what can be seen without looking at any object (the caller's context, the shape of the arguments) over
 * which object is meant and whose it is, to the state it is in, and last to what runs out.
 */
export const ERRNOS = {
  EDEADLK: { number: 35, means: 'the call would wait for a lock that its caller holds' },
  ENOTTY: { number: 25, means: 'no such command' },
  E2BIG: { number: 7, means: 'an argument has a part that is not known here' },
  EFAULT: { number: 14, means: 'an address that the caller gave cannot be read or written' },
  EINVAL: { number: 22, means: 'an argument is understood, and wrong' },
  ERANGE: { number: 34, means: 'a value lies outside what its field can hold' },
  EOVERFLOW: { number: 75, means: 'a sum does not fit' },
  EOPNOTSUPP: { number: 95, means: 'understood, and not offered here' },
  ENODEV: { number: 19, means: 'no such device, or it cannot do this' },
  ENXIO: { number: 6, means: 'no such address on the device' },
  ENOENT: { number: 2, means: 'there is no object of that name' },
  ESRCH: { number: 3, means: 'there is no such process' },
  EPERM: { number: 1, means: 'the caller may not do this at all' },
  EACCES: { number: 13, means: 'the object belongs to somebody else' },
  EEXIST: { number: 17, means: 'it is there already' },
  EBUSY: { number: 16, means: 'in use, or on its way out' },
  EAGAIN: { number: 11, means: 'not now: it may succeed later' },
  EINTR: { number: 4, means: 'interrupted before it was done' },
  EDQUOT: { number: 122, means: "the user's or the set's own limit is reached" },
  ENOSPC: { number: 28, means: 'the system has none left' },
  ENOMEM: { number: 12, means: 'no memory' },
  ETIMEDOUT: { number: 110, means: 'the other side did not answer in its time' },
  EIO: { number: 5, means: 'the device failed' },
} as const satisfies Record<string, { number: number; means: string }>;

/** The name of an error number, as Linux spells it. */
export type Errno = keyof typeof ERRNOS;

const BY_PRECEDENCE = Object.keys(ERRNOS);

/**
 * Of two error numbers that both apply, the one to tell: to free an id that is another set's (`EACCES`) and is
 * being freed already (`EBUSY`) is `EACCES`.
 */
export function firstErrno<A extends Errno, B extends Errno>(a: A, b: B): A | B {
  return BY_PRECEDENCE.indexOf(a) <= BY_PRECEDENCE.indexOf(b) ? a : b;
}
