/**
 * UNIQUE: a PASID stands for one address space at a time, and is given to the next one only when nothing holds it
 * any more: no table, cache, queue, CPU or request on its way.
 */
import type { Rule, View } from './rule.js';
import { listText } from './text.js';

function given({ pasid, mm }: { pasid: number; mm: string }, { ledger, bench }: View): string | undefined {
  const tenure = ledger.pasids.tenure(pasid);
  if (tenure !== undefined && tenure.until === undefined) {
    return `PASID ${pasid} is given to ${mm}, and is ${tenure.mm}'s since step ${tenure.from}`;
  }
  const remains = bench.remains(pasid);
  if (remains.length === 0) return undefined;
  const last = tenure === undefined ? '' : ` (it was ${tenure.mm}'s until step ${tenure.until})`;
  return `PASID ${pasid} is given to ${mm} while something still holds it${last}: ${listText(remains)}`;
}

export const unique: Rule = {
  id: 'UNIQUE',
  claim: 'a PASID has one owner at a time, and nothing of the one before',
  given,
};
