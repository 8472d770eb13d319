/**
 * What an address space maps, as far as some request can get: the enumeration of its one stage, or that of its
 * first stage led on through the second. Requests that lead into the interrupt range are blocked (VT-d 3.14), so
 * that range is cut out of what is mapped, and reported.
 *
 * Left out is what hangs on the request: one without a PASID does not get to the tables with an address in the
 * interrupt range, and a privileged write does not ask for W where WPE is clear.
 */
import { hex } from '../base/index.js';
import {
  type AddressSpace,
  hasFirstStage,
  hasSecondStage,
  INTERRUPT_FRAMES,
  pagesPerEntry,
  RIGHT,
  rightsOfEntry,
  secondStageOf,
  type UnitFormat,
} from '../hardware/index.js';
import { type EnumerationContext, enumerate, type Stage } from './enumeration.js';
import type { MappedRange } from './survey-types.js';

/** What an enumeration needs to know, and the unit's format. */
export interface MappingContext extends EnumerationContext {
  readonly format: UnitFormat;
}

/** One of these must be there: to execute is to read, with a further right. */
const ACCESS = RIGHT.READ | RIGHT.WRITE;

/** The ranges that an address space maps, ascending by page; none for one that passes addresses through. */
export function mappedRanges(space: AddressSpace, context: MappingContext): MappedRange[] {
  const second = hasSecondStage(space.translation)
    ? enumerate(secondStage(space, context), context)
    : undefined;
  if (!hasFirstStage(space.translation)) return withoutInterruptRange(second ?? [], context);
  const first = enumerate(firstStage(space, context, second), context);
  const ranges = second === undefined ? first : throughSecond({ space, context, first, second });
  return withoutInterruptRange(ranges, context);
}

/** Whether some request can make use of these rights: one without privilege, or with it where SRE allows it. */
function isUsable(space: AddressSpace, rights: number): boolean {
  const isReached = (rights & RIGHT.USER) !== 0 || space.supervisorRequests;
  return isReached && (rights & ACCESS) !== 0;
}

function secondStage(space: AddressSpace, { format }: MappingContext): Stage {
  const implementation = secondStageOf(format, space);
  return {
    name: 'second-stage',
    root: space.secondRoot,
    levels: space.secondLevels,
    pageLimit: Math.min(pagesPerEntry(space.secondLevels + 1), format.guestPageLimit),
    isSigned: false,
    rights: rightsOfEntry(space),
    isUsable: (rights) => (rights & ACCESS) !== 0,
    step: (level, words, at, out) => implementation.step(level, words, at, out),
    locate: (frame) => frame,
  };
}

function firstStage(
  space: AddressSpace,
  { format }: MappingContext,
  second: readonly MappedRange[] | undefined,
): Stage {
  return {
    name: 'first-stage',
    root: space.firstRoot,
    levels: space.firstLevels,
    pageLimit: 2 ** 52,
    isSigned: true,
    rights: rightsOfEntry(space),
    isUsable: (rights) => isUsable(space, rights),
    step: (level, words, at, out) => format.firstStage.step(level, words, at, out),
    locate: (frame) => {
      if (second === undefined) return frame;
      const range = rangeOf(second, frame);
      return range === undefined || (range.rights & RIGHT.READ) === 0
        ? undefined
        : range.frame + (frame - range.page);
    },
  };
}

/** The range that holds `page`, if any. */
export function rangeOf(ranges: readonly MappedRange[], page: number): MappedRange | undefined {
  const range = ranges[firstEndingAfter(ranges, page)];
  return range !== undefined && range.page <= page ? range : undefined;
}

/** The index of the first range that ends after `page`. */
function firstEndingAfter(ranges: readonly MappedRange[], page: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle];
    if (range !== undefined && range.page + range.pages <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A first stage's ranges, each piece led on by the second stage; pieces that it does not map are left out. */
function throughSecond(stages: {
  readonly space: AddressSpace;
  readonly context: MappingContext;
  readonly first: readonly MappedRange[];
  readonly second: readonly MappedRange[];
}): MappedRange[] {
  const { space, context, first, second } = stages;
  const out: MappedRange[] = [];
  for (const range of first) {
    const end = range.frame + range.pages;
    for (let i = firstEndingAfter(second, range.frame); i < second.length; i++) {
      const host = second[i];
      if (host === undefined || host.page >= end) break;
      const rights = range.rights & host.rights;
      if (!isUsable(space, rights)) continue;
      if (!context.log.take('ranges', () => `the nested translation of ${context.owner}`)) return out;
      const from = Math.max(range.frame, host.page);
      append(out, {
        page: range.page + (from - range.frame),
        frame: host.frame + (from - host.page),
        pages: Math.min(end, host.page + host.pages) - from,
        rights,
      });
    }
  }
  return out;
}

/** Appends a range, merged with the last one where it goes on from there. */
function append(ranges: MappedRange[], next: MappedRange): void {
  const last = ranges.at(-1);
  const isNext =
    last !== undefined &&
    last.page + last.pages === next.page &&
    last.frame + last.pages === next.frame &&
    last.rights === next.rights;
  if (isNext) ranges[ranges.length - 1] = { ...last, pages: last.pages + next.pages };
  else ranges.push(next);
}

/** What is left of ranges without the pages that lead into the interrupt range. */
function withoutInterruptRange(
  ranges: readonly MappedRange[],
  { log, owner }: MappingContext,
): MappedRange[] {
  return ranges.flatMap((range) => {
    const { first, last } = INTERRUPT_FRAMES;
    const before = Math.min(Math.max(first - range.frame, 0), range.pages);
    const after = Math.min(Math.max(range.frame + range.pages - last - 1, 0), range.pages);
    if (before + after >= range.pages) return [range];
    const page = range.page + before;
    log.report(
      `${owner}, address ${hex(BigInt(page) << 12n)}`,
      `leads to the interrupt range, at ${hex((range.frame + before) * 4096)}: such requests are blocked`,
    );
    const end = range.pages - after;
    return [
      { ...range, pages: before },
      { ...range, page: range.page + end, frame: range.frame + end, pages: after },
    ].filter(({ pages }) => pages > 0);
  });
}
