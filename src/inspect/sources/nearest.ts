/** Which known name somebody may have meant. */

/**
 * The name that is fewest edits away from `wanted`, whatever the case; undefined if more than a third of its
 * letters would have to change.
 */
export function nearest(wanted: string, names: Iterable<string>): string | undefined {
  const upper = wanted.toUpperCase();
  let best: string | undefined;
  let least = Math.floor(upper.length / 3) + 1;
  for (const name of names) {
    const edits = upper === `${name}_REG` ? 0 : distance(upper, name.toUpperCase());
    if (edits < least) [best, least] = [name, edits];
  }
  return best;
}

/** How many letters to insert, drop or replace to make `b` of `a`. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
