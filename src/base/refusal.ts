import type { Errno } from './errno.js';

/**
 * "No", as a value. A function that may refuse returns `T | Refusal<'ENOSPC' | 'EBUSY'>` with its own closed
 * set of error numbers: success is the bare value, so that only a refusal allocates. A call that was refused
 * has changed nothing.
 */
export class Refusal<E extends Errno = Errno> {
  readonly errno: E;
  /** What was asked and why not, for a person: names the objects and the limit that was hit. */
  readonly why: string;

  constructor(errno: E, why: string) {
    this.errno = errno;
    this.why = why;
  }

  toString(): string {
    return `${this.errno}: ${this.why}`;
  }
}

/** Makes a {@link Refusal}. */
export function refuse<const E extends Errno>(errno: E, why: string): Refusal<E> {
  return new Refusal(errno, why);
}

/** Tells a refusal from the value that would have been the success. */
export function isRefusal<T>(value: T): value is Extract<T, Refusal<Errno>> {
  return value instanceof Refusal;
}
