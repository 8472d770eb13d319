/**
 * What QEMU's human monitor prints of physical memory, read back: `info mtree -f`, the map of what lies where,
 * and `xp`, a dump of words. Written after what QEMU 2.9 to 11 print; that text is no interface that anybody
 * promised, so whatever looks different is refused, never guessed at.
 */
import { FRAME_BYTES, type FrameRange } from '../../hardware/index.js';

/** A part of the physical address space. Both ends inclusive, in bytes. */
export interface Region {
  readonly first: bigint;
  readonly last: bigint;
  /** `ram`, `rom`, `romd`, `i/o`, …, and with `nv-` before it if it is not volatile. */
  readonly type: string;
  readonly name: string;
}

const REGION =
  /^\s*(?:0x)?(?<first>[0-9a-f]{16})-(?:0x)?(?<last>[0-9a-f]{16}) \(prio -?\d+, (?<type>[^)]+)\): (?<name>\S+)/;

/**
 * The CPUs' physical address space, as `info mtree -f` prints it: without overlaps.
 *
 * @returns its regions, lowest first; undefined if the text has no such address space
 */
export function parseRegions(text: string): readonly Region[] | undefined {
  const views = text.split(/^FlatView #\d+/m);
  const view = views.find((each) => /^\s*AS "memory",/m.test(each));
  return view?.split('\n').flatMap((line) => {
    const found = REGION.exec(line)?.groups;
    if (found === undefined) return [];
    const { first, last, type = '', name = '' } = found;
    return [{ first: BigInt(`0x${first}`), last: BigInt(`0x${last}`), type, name }];
  });
}

/** Memory, and nothing whose reading does something: no device's registers, nor a real device's memory. */
const MEMORY = /^(?:nv-)?(?:ram|rom|romd)$/;

/** The frames that lie in memory from end to end. */
export function memoryFrames(regions: readonly Region[]): readonly FrameRange[] {
  const frame = BigInt(FRAME_BYTES);
  const runs: { first: bigint; last: bigint }[] = [];
  for (const { first, last, type } of regions) {
    if (!MEMORY.test(type)) continue;
    const before = runs.at(-1);
    if (before !== undefined && before.last + 1n === first) before.last = last;
    else runs.push({ first, last });
  }
  return runs.flatMap(({ first, last }) => {
    const begin = (first + frame - 1n) / frame;
    const end = (last + 1n) / frame;
    return begin < end ? [{ first: Number(begin), last: Number(end) - 1 }] : [];
  });
}

/**
 * The words that `xp /Nwx ADDRESS` prints.
 *
 * @param text its answer
 * @param address what it was asked for, in bytes; `count` of them
 * @returns the words, fewer than `count` where QEMU says that it cannot read on; undefined if the text is
 *   none that `xp` prints
 */
export function parseDump(text: string, address: bigint, count: number): Int32Array | undefined {
  const words = new Int32Array(count);
  let length = 0;
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed === '') continue;
    const colon = trimmed.indexOf(':');
    if (colon < 0 || BigInt(length * 4) + address !== hexOf(trimmed.slice(0, colon))) return undefined;
    const rest = trimmed.slice(colon + 1);
    if (/^ ?Cannot access memory/i.test(rest)) return words.subarray(0, length);
    for (const word of rest.trim().split(/ +/)) {
      if (!/^0x[0-9a-f]{8}$/.test(word) || length === count) return undefined;
      words[length++] = Number.parseInt(word, 16);
    }
  }
  return length === count ? words : undefined;
}

/** The monitor's line that dumps `count` words. */
export const dumpLine = (address: bigint, count: number): string =>
  `xp /${count}wx 0x${address.toString(16)}`;

/** Where a frame begins, in bytes. */
export const addressOf = (frame: number): bigint => BigInt(frame) * BigInt(FRAME_BYTES);

/** The number that hexadecimal digits say, with or without `0x` before them; undefined for other text. */
function hexOf(text: string): bigint | undefined {
  return /^(?:0x)?[0-9a-f]+$/.test(text) ? BigInt(text.startsWith('0x') ? text : `0x${text}`) : undefined;
}
