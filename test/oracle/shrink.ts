/** Makes a case that fails smaller: fewer operations first, then fewer words in its tables. */
import type { Case } from './case.js';

/** So many smaller cases are tried at most. */
const TRIALS = 300;

/**
 * The smallest case found that still fails.
 *
 * @param fails whether a case still shows the difference
 */
export async function shrink(each: Case, fails: (smaller: Case) => Promise<boolean>): Promise<Case> {
  const left = { trials: TRIALS };
  const fewer = await reduce(each.operations, left, (operations) => fails({ ...each, operations }));
  const smaller = { ...each, operations: fewer };
  const words = await reduce(each.words, left, (kept) => fails({ ...smaller, words: kept }));
  return { ...smaller, words };
}

/** Leaves out runs of half the list, a quarter of it, and so on down to one, as long as what is left still fails. */
async function reduce<T>(
  list: readonly T[],
  left: { trials: number },
  fails: (kept: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let kept = list;
  for (let run = Math.ceil(list.length / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2)) {
    for (let at = 0; at < kept.length && left.trials > 0; ) {
      left.trials--;
      const without = [...kept.slice(0, at), ...kept.slice(at + run)];
      if (await fails(without)) kept = without;
      else at += run;
    }
  }
  return kept;
}
