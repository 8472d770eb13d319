/**
 * Hand-made machines, by frame numbers: one requester, 00:03.0, whose PASID 0 has a table entry of the test's
 * choice; roots, contexts, directory and PASID table stand in frames 1 to 4.
 */
import type { Memory } from '../../src/hardware/index.js';
import type { Unit } from '../../src/inspect/unit.js';
import { memoryOf } from './machine-memory.js';
import { unitOf } from './unit.js';

export const CAP = (47n << 16n) | (7n << 9n) | (3n << 34n) | (1n << 56n) | (1n << 60n);
export const ECAP = [2, 6, 7, 26, 30, 31, 40, 46, 47].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

/** Frames that tests may use: up to 0xff there is memory, and no more. */
export const LAST_FRAME = 0xff;
export const OUTSIDE = 0x100n;

/** One 64-bit word at `index` of a frame. */
export type Word = readonly [frame: number, index: number, word: bigint];

/** An entry that leads to a frame, with bits. */
export const to = (frame: number | bigint, bits: bigint): bigint => (BigInt(frame) << 12n) | bits;

/** The structures above the address space. A scalable machine's PASID 0, or a legacy context. */
export const SCALABLE: readonly Word[] = [
  [1, 0, to(2, 1n)],
  [2, 0x18 * 4, to(3, 1n)],
  [3, 0, to(4, 1n)],
];

/** PASID table entries: present, domain 5. */
export const firstStageEntry = (root: number, levels = 4): readonly Word[] => [
  [4, 0, 0x41n],
  [4, 1, 5n],
  [4, 2, to(root, levels === 5 ? 4n : 0n)],
];
export const secondStageEntry = (root: number, levels = 4): readonly Word[] => [
  [4, 0, to(root, 0x81n | (BigInt(levels - 2) << 2n))],
  [4, 1, 5n],
];
export const nestedEntry = (first: number, second: number): readonly Word[] => [
  [4, 0, to(second, 0xc9n)],
  [4, 1, 5n],
  [4, 2, to(first, 0n)],
];

/** A chain of tables, one a level, each leading to the next through `index`. */
export const chain = (frames: readonly number[], index = 0, bits = 7n): readonly Word[] =>
  frames.slice(0, -1).map((frame, i) => [frame, index, to(frames[i + 1] ?? 0, bits)]);

export interface HandMade {
  readonly unit: Unit;
  readonly memory: Memory;
}

/** A machine with these words. */
export function handMade(words: readonly Word[], isScalable = true): HandMade {
  const placed = words.map(
    ([frame, index, word]) => [BigInt(frame) * 4096n + BigInt(index) * 8n, word] as const,
  );
  return {
    unit: unitOf({ isScalable, cap: CAP, ecap: ECAP, hostAddressWidth: 46n, root: 0x1000n }),
    memory: memoryOf(placed, { first: 0, last: LAST_FRAME }),
  };
}
