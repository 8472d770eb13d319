/** Compares what the twins have in memory at the end: data, tables, and the marks that walks leave in them. */
import { isData } from './layout.js';
import type { QuirkName } from './quirks.js';

const ACCESSED = 0x20n;
const DIRTY = 0x40n;
const LARGE = 0x80n;
const MARKS = ACCESSED | DIRTY;
const WORD_BYTES = 8;
const FRAME_BYTES = 4096;

export type Frames = ReadonlyMap<number, Uint8Array>;

/** What of the case the comparison hangs on. */
export interface MemoryCircumstances {
  /** Whether accessed and dirty bits have to agree. */
  readonly isMarked: boolean;
  /** Addresses of 4 bytes that the twins may differ in: of writes that were found to differ, and judged. */
  readonly strays: ReadonlySet<number>;
}

/** A word that differs; with a quirk, explained. */
export interface MemoryDifference {
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
  readonly quirk?: QuirkName;
}

export function* compareMemory(
  { ours, theirs }: { ours: Frames; theirs: Frames },
  circumstances: MemoryCircumstances,
): Generator<MemoryDifference> {
  for (const [frame, mine] of ours) {
    const other = theirs.get(frame);
    if (other === undefined) throw new Error(`frame 0x${frame.toString(16)} was not compared`);
    if (Buffer.compare(mine, other) === 0) continue;
    const [a, b] = [wordsOf(mine), wordsOf(other)];
    for (let i = 0; i < FRAME_BYTES; i += WORD_BYTES) {
      const pair = { ours: a.getBigUint64(i, true), theirs: b.getBigUint64(i, true) };
      const address = frame * FRAME_BYTES + i;
      if (pair.ours === pair.theirs || isStray(address, pair, circumstances.strays)) continue;
      const quirk = markQuirk(frame, pair, circumstances.isMarked);
      if (quirk === 'open') continue;
      const [mineText, otherText] = [pair.ours, pair.theirs].map((word) => `0x${word.toString(16)}`);
      yield {
        ...{ what: `memory at 0x${address.toString(16)}`, ours: mineText ?? '', theirs: otherText ?? '' },
        ...(quirk === undefined ? {} : { quirk }),
      };
    }
  }
}

interface Pair {
  readonly ours: bigint;
  readonly theirs: bigint;
}

const wordsOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Whether all that differs in a word are halves that were found to differ. */
function isStray(address: number, { ours, theirs }: Pair, strays: ReadonlySet<number>): boolean {
  const differs = ours ^ theirs;
  const isLow = (differs & 0xffff_ffffn) === 0n || strays.has(address);
  return isLow && (differs >> 32n === 0n || strays.has(address + 4));
}

/**
 * What explains that a paging entry has other marks: QEMU's function that sets both A and D asks first whether
 * either is set; and it marks leaves before it looks where they lead.
 */
function markQuirk(frame: number, { ours, theirs }: Pair, isMarked: boolean): QuirkName | 'open' | undefined {
  const differs = ours ^ theirs;
  if (isData(frame) || (differs & ~MARKS) !== 0n) return undefined;
  if ((ours & MARKS) === MARKS && (theirs & MARKS) !== 0n) return 'one-mark-is-enough';
  if ((ours & differs) === 0n && leadsToInterrupts(ours)) return 'interrupt-marked';
  return isMarked ? undefined : 'open';
}

/** Whether the page of a leaf may have a part of the interrupt range in it. */
function leadsToInterrupts(word: bigint): boolean {
  const first = ((word & 0xf_ffff_ffff_ffffn) >> 13n) << 13n;
  const span = (word & LARGE) === 0n ? 0x2000n : 0x4000_0000n;
  return first <= 0xfeef_ffffn && first + span > 0xfee0_0000n;
}
