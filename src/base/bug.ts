/**
 * A broken invariant of our own code. It is never an answer to bad input (that is a {@link Refusal}) nor
 * what modelled hardware finds wrong (that is a fault record): whoever sees one has found an error in
 * ioasis, and the run ends there.
 */
export class Bug extends Error {
  override readonly name = 'Bug';
}

/**
 * Throws a {@link Bug} that says `what`, unless `condition` holds. `what` is put together before the test: where
 * it is more than a constant and the path is hot, write `if (…) throw new Bug(…)` instead.
 */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Bug(what);
}

/** The end of a `switch` that names every case: the compiler proves that it is not reached. */
export function unreachable(value: never): never {
  const text = JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? `${part}n` : part));
  throw new Bug(`no case for ${text}`);
}
