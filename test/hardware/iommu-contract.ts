/**
 * What every IOMMU must do, whatever its tables look like: a suite that each model passes through a bench of its
 * own. Addresses are page numbers; an address space is a number that the bench gives a meaning (a domain, a PASID).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Restorable } from '../../src/base/index.js';
import {
  COMPLETION,
  FRAME_BYTES,
  type Memory,
  type MemoryRequest,
  RIGHT,
  type RootComplex,
} from '../../src/hardware/index.js';

/** An IOMMU with at least two address spaces, and what a driver would do to it. */
export interface IommuBench {
  readonly rootComplex: RootComplex;
  readonly memory: Memory;
  /** The IOMMU's state. */
  readonly state: Restorable;
  /** Frames that tests may fill, as many as they like from here on, up to 16. */
  readonly dataFrame: number;
  /** A request of a page of an address space. */
  request(space: number, page: number, rights: number): MemoryRequest;
  map(space: number, page: number, frame: number, isWritable: boolean): void;
  unmap(space: number, page: number): void;
  /** Invalidates what is cached of a page, of an address space, or of all. */
  invalidatePage(space: number, page: number): void;
  invalidateSpace(space: number): void;
  invalidateAll(): void;
  /** Takes what has been recorded of requests that were refused: their pages. */
  faults(): number[];
}

const PAGES = [0x10, 0x11, 0x7f123];
const READ = RIGHT.READ | RIGHT.USER;
const WRITE = RIGHT.WRITE | RIGHT.USER;

/** Reads a whole page; undefined if it is refused. */
function read(bench: IommuBench, space: number, page: number): Uint8Array | undefined {
  const into = new Uint8Array(FRAME_BYTES);
  const request = { ...bench.request(space, page, READ), offset: 0, length: FRAME_BYTES };
  return bench.rootComplex.read(request, into, 0) === COMPLETION.SUCCESS ? into : undefined;
}

/** A page whose bytes tell its frame. */
function pattern(frame: number): Uint8Array {
  return Uint8Array.from({ length: FRAME_BYTES }, (_, i) => (frame * 7 + i * 13) & 0xff);
}

function fill(bench: IommuBench): void {
  for (let i = 0; i < 16; i++)
    bench.memory.write((bench.dataFrame + i) * FRAME_BYTES, pattern(bench.dataFrame + i));
}

/** Registers the suite. */
export function testIommuContract(name: string, newBench: () => IommuBench): void {
  describe(`${name} as an IOMMU`, () => {
    describe('moves bytes', () => movesBytes(newBench));
    describe('invalidates', () => invalidates(newBench));
    test('answers from the tables as they are, or as they were since the last invalidation', () =>
      staysInBounds(newBench));
    test('goes back to its mark, with its caches', () => restores(newBench));
  });
}

function movesBytes(newBench: () => IommuBench): void {
  test.each([
    [0, 4096],
    [1, 3],
    [4, 64],
    [4093, 3],
  ])('from byte %d of a page on, %d of them', (offset, length) => {
    const bench = newBench();
    fill(bench);
    const frame = bench.dataFrame;
    bench.map(1, 0x10, frame, true);
    const got = new Uint8Array(length + 2);
    expect(bench.rootComplex.read({ ...bench.request(1, 0x10, READ), offset, length }, got, 1)).toBe(0);
    expect([...got]).toEqual([0, ...pattern(frame).subarray(offset, offset + length), 0]);
    const put = Uint8Array.from({ length: length + 2 }, (_, i) => 255 - (i & 0x7f));
    expect(bench.rootComplex.write({ ...bench.request(1, 0x10, WRITE), offset, length }, put, 1)).toBe(0);
    const expected = pattern(frame);
    expected.set(put.subarray(1, 1 + length), offset);
    expect(read(bench, 1, 0x10)).toEqual(expected);
    expect(bench.faults()).toEqual([]);
  });

  test('and refuses what is not mapped, or not for writes, once each in its records', () => {
    const bench = newBench();
    fill(bench);
    bench.map(1, 0x10, bench.dataFrame, false);
    const before = pattern(bench.dataFrame);
    expect(read(bench, 1, 0x11)).toBe(undefined);
    expect(read(bench, 2, 0x10)).toBe(undefined);
    const write = { ...bench.request(1, 0x10, WRITE), offset: 0, length: 8 };
    expect(bench.rootComplex.write(write, new Uint8Array(8), 0)).toBe(COMPLETION.UNSUPPORTED_REQUEST);
    expect(read(bench, 1, 0x10)).toEqual(before);
    expect(bench.faults()).toEqual([0x11, 0x10, 0x10]);
  });

  test('and tells the audit of each, with the frame', () => {
    const bench = newBench();
    bench.map(1, 0x10, bench.dataFrame, true);
    const seen: [number, number][] = [];
    bench.rootComplex.audit = (request, frame) => seen.push([request.page, frame]);
    read(bench, 1, 0x10);
    read(bench, 1, 0x11);
    expect(seen).toEqual([[0x10, bench.dataFrame]]);
  });
}

function invalidates(newBench: () => IommuBench): void {
  test.each([
    ['a page', (bench: IommuBench) => bench.invalidatePage(1, 0x10), [[1, 0x10]]],
    [
      'an address space',
      (bench: IommuBench) => bench.invalidateSpace(1),
      [
        [1, 0x10],
        [1, 0x11],
      ],
    ],
    [
      'all',
      (bench: IommuBench) => bench.invalidateAll(),
      [
        [1, 0x10],
        [1, 0x11],
        [2, 0x10],
      ],
    ],
  ] as const)('%s: nothing that it names is left', (_, invalidate, gone) => {
    const bench = newBench();
    const all = [
      [1, 0x10],
      [1, 0x11],
      [2, 0x10],
    ] as const;
    for (const [space, page] of all) bench.map(space, page, bench.dataFrame, true);
    for (const [space, page] of all) read(bench, space, page);
    for (const [space, page] of all) bench.unmap(space, page);
    invalidate(bench);
    for (const [space, page] of gone) expect(read(bench, space, page)).toBe(undefined);
  });
}

const step = fc.record({
  do: fc.constantFrom('map', 'unmap', 'read', 'read', 'page', 'space', 'all'),
  space: fc.constantFrom(1, 2),
  page: fc.constantFrom(...PAGES),
  frame: fc.nat({ max: 15 }),
});

/** Each read gives the frame that is mapped, or one that was mapped after the last invalidation that covers it. */
function staysInBounds(newBench: () => IommuBench): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const bench = newBench();
      fill(bench);
      const key = (space: number, page: number): string => `${space} ${page}`;
      const now = new Map<string, number>();
      const allowed = new Map<string, Set<number>>();
      const forget = (isNamed: (space: number, page: number) => boolean): void => {
        for (const space of [1, 2]) {
          for (const page of PAGES) {
            if (isNamed(space, page))
              allowed.set(key(space, page), new Set([now.get(key(space, page)) ?? -1]));
          }
        }
      };
      forget(() => true);
      for (const { do: what, space, page, frame } of steps) {
        const at = key(space, page);
        if (what === 'map') {
          bench.map(space, page, bench.dataFrame + frame, true);
          now.set(at, frame);
        } else if (what === 'unmap') {
          if (now.has(at)) bench.unmap(space, page);
          now.delete(at);
        } else if (what === 'page') {
          bench.invalidatePage(space, page);
          forget((s, p) => s === space && p === page);
        } else if (what === 'space') {
          bench.invalidateSpace(space);
          forget((s) => s === space);
        } else if (what === 'all') {
          bench.invalidateAll();
          forget(() => true);
        } else {
          const got = read(bench, space, page);
          const frames = [...(allowed.get(at) ?? [])];
          const matches = frames.some((each) =>
            each === -1 ? got === undefined : got?.[0] === pattern(bench.dataFrame + each)[0],
          );
          expect({ matches, what, space, page, frames }).toEqual({
            matches: true,
            what,
            space,
            page,
            frames,
          });
        }
        allowed.get(at)?.add(now.get(at) ?? -1);
      }
    }),
    { numRuns: 60 },
  );
}

function restores(newBench: () => IommuBench): void {
  const bench = newBench();
  fill(bench);
  bench.map(1, 0x10, bench.dataFrame, true);
  read(bench, 1, 0x10);
  bench.memory.mark();
  bench.state.mark();
  const once = (): unknown[] => {
    bench.unmap(1, 0x10);
    const stale = read(bench, 1, 0x10);
    bench.invalidateAll();
    return [stale, read(bench, 1, 0x10), bench.faults()];
  };
  const first = once();
  bench.state.restore();
  bench.memory.restore();
  expect(read(bench, 1, 0x10)).toEqual(pattern(bench.dataFrame));
  bench.state.restore();
  bench.memory.restore();
  expect(once()).toEqual(first);
}
