/**
 * CLEAN: state of (device, PASID) is gone when the address space's last open queue of that device is released, and
 * all state of a PASID before it is given back; no cache or table leads to a page frame that is free.
 */
import { hex } from '../base/index.js';
import type { Freed } from './facts.js';
import type { OpenQueue } from './ledger/opens.js';
import type { Rule, View } from './rule.js';
import { listText, ownerText } from './text.js';

function released({ mm, device, queue }: OpenQueue, { ledger, bench }: View): string | undefined {
  const pasid = ledger.pasids.of(mm);
  if (pasid === undefined || ledger.opens.isBound(mm, device)) return undefined;
  const remains = bench.remainsOf(device, pasid);
  if (remains.length === 0) return undefined;
  return `${mm} has let go of ${queue}, its last queue of ${device}, and PASID ${pasid} is still there: ${listText(remains)}`;
}

function takenBack(pasid: number, { ledger, bench }: View): string | undefined {
  const remains = bench.remains(pasid);
  if (remains.length === 0) return undefined;
  const mm = ledger.pasids.tenure(pasid)?.mm ?? 'nobody';
  return `PASID ${pasid} of ${mm} is given back, and is still there: ${listText(remains)}`;
}

/** A frame is given back when nothing leads to it any more. */
function freed({ frame, owner, isInGuest = false }: Freed, { bench }: View): string | undefined {
  const holders = bench.holdersOf(frame, isInGuest);
  if (holders.length === 0) return undefined;
  return `frame ${hex(frame)}, ${ownerText(owner)}, is given back, and a way to it is still there: ${listText(holders)}`;
}

export const clean: Rule = {
  id: 'CLEAN',
  claim: 'what a PASID left behind is gone with its last user',
  released,
  takenBack,
  freed,
};
