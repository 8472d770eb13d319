/**
 * Decides what differs in a replay: QEMU's own codes of a fault's record, and a first-stage leaf with one mark where
 * two are due, by the quirks that say so; nothing else.
 */
import { faultRecord } from './legal.js';
import type { QuirkName } from './quirks.js';
import type { Recorded } from './recorded-host.js';
import type { Difference } from './replay.js';

/** Where an upper half of a fault record is read. */
export const UPPER = 'fault record, upper half';
/** How a comparison of memory begins. */
export const MEMORY = 'memory at';
const F = 1n << 63n;
/** FR: bits 103:96 of a record. */
/** A and D of a first-stage entry. */
const MARKS = 0x60n;
const REASON = 0xffn << 32n;

export interface Judged {
  /** What no quirk explains. */
  readonly differences: readonly Difference[];
  /** How often each quirk was needed. */
  readonly quirks: ReadonlyMap<QuirkName, number>;
}

export function judgeReplay(recording: readonly Recorded[], found: readonly Difference[]): Judged {
  const differences: Difference[] = [];
  const quirks = new Map<QuirkName, number>();
  const count = (name: QuirkName): void => void quirks.set(name, (quirks.get(name) ?? 0) + 1);
  /** The record that differs now, as both have it, and why. */
  let known: { readonly ours: bigint; readonly theirs: bigint } | undefined;
  for (const each of found) {
    const pair = recordsOf(each);
    if (isMarkedOnce(each)) {
      count('one-mark-is-enough');
      continue;
    }
    if (pair === undefined) {
      differences.push(each);
      continue;
    }
    if (pair.ours === known?.ours && pair.theirs === known.theirs) continue;
    const names = quirksOf(recording[each.index], pair);
    if (names === undefined) differences.push(each);
    else {
      known = pair;
      names.forEach(count);
    }
  }
  return { differences, quirks };
}

/** Whether it is a first-stage entry with A and D, of which QEMU has one alone. */
function isMarkedOnce({ what, ours, theirs }: Difference): boolean {
  if (!what.startsWith(MEMORY)) return false;
  const [a, b] = [BigInt(ours), BigInt(theirs)];
  const isPresent = (a & b & 1n) === 1n;
  return isPresent && ((a ^ b) & ~MARKS) === 0n && (a & MARKS) === MARKS && (b & MARKS) !== 0n;
}

/** The two records, but for F, if it is they that differ, and in their codes alone. */
function recordsOf({ what, ours, theirs }: Difference): { ours: bigint; theirs: bigint } | undefined {
  if (!what.startsWith(UPPER)) return undefined;
  const [a, b] = [BigInt(ours), BigInt(theirs)];
  return ((a ^ b) & ~REASON) === 0n ? { ours: a & ~F, theirs: b & ~F } : undefined;
}

/** By which quirks QEMU may say that of a DMA, as the tables were then; undefined if it may not. */
function quirksOf(
  each: Recorded | undefined,
  { theirs }: { theirs: bigint },
): readonly QuirkName[] | undefined {
  if (each?.did !== 'dma') return undefined;
  const record = faultRecord(each.request, Number((theirs & REASON) >> 32n));
  return each.expected.find(({ outcome }) => outcome.record === record)?.quirks;
}
