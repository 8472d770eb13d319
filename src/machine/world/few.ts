/**
 * A few things by name, as a list that never changes: there may be a hundred thousand programs with one or two things
 * each, and a map of one thing takes three times as much. A forked child has its parent's as they are.
 */
export type Few<T> = readonly { readonly name: string; readonly is: T }[];

/** What all share who have none. */
export const NONE: Few<never> = [];

/** The thing of a name. */
export function named<T>(few: Few<T>, name: string): T | undefined {
  for (const each of few) if (each.name === name) return each.is;
  return undefined;
}

/** With one more, or with another thing of that name. */
export function withNamed<T>(few: Few<T>, name: string, is: T): Few<T> {
  const others = few.filter((each) => each.name !== name);
  // A list of just so many: one that is spread takes room for 17.
  return others.length === 0 ? [{ name, is }] : others.concat([{ name, is }]);
}
