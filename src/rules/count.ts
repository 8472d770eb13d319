/**
 * COUNT: what was taken is given back. When all processes are gone, no PASID is handed out, nobody is registered to be
 * told of the PASIDs of a set that is gone, and no page frame is in use that was not when the machine had booted.
 */
import { hex } from '../base/index.js';
import type { FrameOwner } from '../kernel/index.js';
import type { End, VmGone } from './facts.js';
import type { Rule, View } from './rule.js';
import { listText, ownerText } from './text.js';

/** What a frame was taken for and stays: a device keeps its PASID tables, and those for its DMA, as in Linux. */
const STAYS = ['PASID table of ', 'page table of dma '];
/** So does a virtual machine the tables that its CPUs translate by. */
const STAYS_WITH_VM = ['PASID translation of ', 'page table of EPT of '];

function gone(process: string, view: View): string | undefined {
  if (view.ledger.framesOf(process).pagesOf(process) === 0) return undefined;
  const frames = view.ledger.framesOf(process);
  const isOfIt = (_: number, owner: FrameOwner) => owner.kind === 'page' && owner.mm === process;
  const left = framesOf((show) => frames.each(show), isOfIt);
  return `${process} is gone, and memory of it is not: ${listText(left)}`;
}

function ended(
  { stuck, bootFrames, guestBootFrames, pasidsInUse, strayNotifiers }: End,
  view: View,
): string | undefined {
  if (stuck.length > 0) return undefined;
  if (pasidsInUse > 0) {
    const holders = [...view.ledger.pasids.all()].map(([pasid, { mm }]) => `PASID ${pasid} of ${mm}`);
    return `all processes are gone, and PASIDs are not given back (${pasidsInUse}): ${listText(holders)}`;
  }
  if (strayNotifiers.length > 0) {
    return `all processes are gone, and who is to be told of a set of PASIDs that is gone is registered still: ${listText(strayNotifiers)}`;
  }
  const { frames } = view.ledger;
  const left = framesOf(
    (show) => frames.eachChanged(show),
    (frame, owner) => !bootFrames.has(frame) && !stays(owner, view),
  );
  for (const guest of view.ledger.guests()) {
    const boot = guestBootFrames.get(guest.name);
    // The frames of a guest that is gone are the host's; those of one that was reset are nobody's.
    if (boot === undefined || !isThere(guest.vmm, view)) continue;
    if (view.ledger.dying.get(guest.vmm) !== undefined) continue;
    const inside = framesOf(
      (show) => guest.frames.eachChanged(show),
      (frame, owner) => !boot.has(frame) && !stays(owner, view),
    );
    left.push(...inside);
  }
  return left.length === 0
    ? undefined
    : `all processes are gone, and page frames of them are in use: ${listText(left)}`;
}

function stays(owner: FrameOwner, view: View): boolean {
  if (isOfMoved(owner, view)) return true;
  if (owner.kind !== 'kernel') return false;
  if (STAYS.some((use) => owner.use.startsWith(use))) return true;
  const kept = STAYS_WITH_VM.find((use) => owner.use.startsWith(use));
  return kept !== undefined && isThere(owner.use.slice(kept.length), view);
}

/** Whether it is of a VMM that has taken a guest over since the boot: it has what the one before it had. */
function isOfMoved(owner: FrameOwner, view: View): boolean {
  for (const { name, vmm } of view.ledger.guests()) {
    if (vmm === name || !isThere(vmm, view)) continue;
    if (owner.kind === 'page' ? owner.mm === vmm : owner.use.split(/[\s:]+/).includes(vmm)) return true;
  }
  return false;
}

/** Whether a virtual machine has memory of the host's. */
const isThere = (vm: string, { ledger }: View): boolean => ledger.frames.pagesOf(vm) > 0;

/** When a virtual machine is gone, the host has what it had before: memory, PASIDs, quota. */
function vmGone({ vm, left }: VmGone, { ledger }: View): string | undefined {
  const pages = ledger.frames.pagesOf(vm);
  const memory = pages === 0 ? [] : [`${pages} page frames of its memory`];
  const all = [...memory, ...left];
  return all.length === 0
    ? undefined
    : `${vm} is gone, and the host has not everything back: ${listText(all)}`;
}

/** When a virtual machine was reset, its PASIDs are given back: nobody is left who would. */
function vmReset({ vm, left }: VmGone): string | undefined {
  return left.length === 0 ? undefined : `${vm} was reset, and has not given back: ${listText(left)}`;
}

function framesOf(
  eachFrame: (show: (frame: number, owner: FrameOwner) => void) => void,
  filter: (frame: number, owner: FrameOwner) => boolean,
): string[] {
  const found: string[] = [];
  eachFrame((frame, owner) => {
    if (filter(frame, owner)) found.push(`frame ${hex(frame)}, ${ownerText(owner)}`);
  });
  return found;
}

export const count: Rule = {
  ...{ id: 'COUNT', claim: 'what was taken is given back' },
  ...{ gone, vmGone, vmReset, ended },
};
