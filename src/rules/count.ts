/**
 * COUNT: what was taken is given back. When all processes are gone, no PASID is handed out, and as many page frames
 * are in use as when the machine had booted.
 */
import type { End } from './facts.js';
import type { Rule, View } from './rule.js';
import { listText, ownerText } from './text.js';

function gone(process: string, { ledger }: View): string | undefined {
  const left: string[] = [];
  for (const [frame, owner] of ledger.frames.all()) {
    if (owner.kind === 'page' && owner.mm === process)
      left.push(`frame 0x${frame.toString(16)}, ${ownerText(owner)}`);
  }
  return left.length === 0 ? undefined : `${process} is gone, and memory of it is not: ${listText(left)}`;
}

function ended({ stuck, framesAtBoot, framesNow, pasidsInUse }: End, { ledger }: View): string | undefined {
  if (stuck.length > 0) return undefined;
  const holders = [...ledger.pasids.all()].map(([pasid, { mm }]) => `PASID ${pasid} of ${mm}`);
  if (pasidsInUse > 0) {
    return `all processes are gone, and ${pasidsInUse} PASIDs are not given back: ${listText(holders)}`;
  }
  if (framesNow === framesAtBoot) return undefined;
  return `all processes are gone, and ${framesNow} page frames are in use, not ${framesAtBoot} as after boot`;
}

export const count: Rule = { id: 'COUNT', claim: 'what was taken is given back', gone, ended };
