import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Bug } from '../base/index.js';
import {
  ABSENT,
  BLOCK_BYTES,
  BLOCK_WORDS,
  FRAME_BYTES,
  FRAME_LIMIT,
  FRAME_WORDS,
  type FrameRange,
  Memory,
} from './memory.js';

/** Low memory, a hole, memory that ends a frame before a hole of one frame, and the last frames there can be. */
const RANGES: readonly FrameRange[] = [
  { first: 0, last: 3 },
  { first: 6, last: 7 },
  { first: 9, last: 9 },
  { first: FRAME_LIMIT - 2, last: FRAME_LIMIT - 1 },
];
/** Addresses around which accesses are made: borders of ranges, of frames, of blocks, and the top. */
const PLACES = [0, 1 / 8, 3 / 4, 1, 4, 6, 7.5, 8, 9, 10, FRAME_LIMIT - 2, FRAME_LIMIT - 1, FRAME_LIMIT].map(
  (frame) => frame * FRAME_BYTES,
);

/** The same memory as bytes by their addresses. */
class Model {
  bytes = new Map<number, number>();
  /** Those that something was written to: the others take no room. */
  blocks = new Set<number>();
  #marked = { bytes: new Map<number, number>(), blocks: new Set<number>() };

  has(address: number): boolean {
    const frame = Math.floor(address / FRAME_BYTES);
    return RANGES.some(({ first, last }) => frame >= first && frame <= last);
  }

  read(address: number, length: number): number[] | undefined {
    const addresses = Array.from({ length }, (_, i) => address + i);
    return addresses.every((at) => this.has(at)) ? addresses.map((at) => this.bytes.get(at) ?? 0) : undefined;
  }

  write(address: number, from: Uint8Array): boolean {
    if (this.read(address, from.length) === undefined) return false;
    for (const [i, byte] of from.entries()) {
      this.bytes.set(address + i, byte);
      this.blocks.add(Math.floor((address + i) / BLOCK_BYTES));
    }
    return true;
  }

  clear(frame: number): boolean {
    const bytes = this.read(frame * FRAME_BYTES, FRAME_BYTES);
    for (const i of bytes?.keys() ?? []) this.bytes.delete(frame * FRAME_BYTES + i);
    return bytes !== undefined;
  }

  mark(): void {
    this.#marked = { bytes: new Map(this.bytes), blocks: new Set(this.blocks) };
  }

  restore(): void {
    this.bytes = new Map(this.#marked.bytes);
    this.blocks = new Set(this.#marked.blocks);
  }
}

const address = fc
  .tuple(fc.constantFrom(...PLACES), fc.integer({ min: -9, max: 9 }))
  .map(([place, by]) => Math.max(0, place + by));
const access = fc.record({
  address,
  length: fc.oneof(fc.nat(16), fc.constantFrom(512, 600, 4096, 5000, 9000)),
});
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write'), byte: fc.nat(255), access }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('clear'), byte: fc.constant(0), access }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('read'), byte: fc.constant(0), access }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('mark'), byte: fc.constant(0), access }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore'), byte: fc.constant(0), access }) },
);

/** Bytes that begin with `byte` and go on counting. */
const counting = (byte: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => byte + i);

describe('memory is bytes by their addresses', () => {
  function expectSame(memory: Memory, model: Model): void {
    for (const block of model.blocks) {
      const into = new Uint8Array(BLOCK_BYTES);
      expect(memory.read(block * BLOCK_BYTES, into)).toBe(true);
      expect([...into]).toEqual(model.read(block * BLOCK_BYTES, BLOCK_BYTES));
    }
    expect(memory.writtenBlocks).toBe(model.blocks.size);
  }

  test('whatever is written and read, marked and restored', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        const memory = new Memory(RANGES);
        const model = new Model();
        memory.mark();
        for (const { kind, byte, access } of operations) {
          const bytes = counting(byte, access.length);
          if (kind === 'write')
            expect(memory.write(access.address, bytes)).toBe(model.write(access.address, bytes));
          else if (kind === 'clear') {
            const frame = Math.floor(access.address / FRAME_BYTES);
            expect(memory.clear(frame)).toBe(model.clear(frame));
          } else if (kind === 'mark') [memory, model].forEach((each) => void each.mark());
          else if (kind === 'restore') [memory, model].forEach((each) => void each.restore());
          else {
            const expected = model.read(access.address, access.length);
            const into = new Uint8Array(access.length);
            expect(memory.read(access.address, into)).toBe(expected !== undefined);
            if (expected !== undefined) expect([...into]).toEqual(expected);
          }
        }
        expectSame(memory, model);
      }),
      { numRuns: 300 },
    );
  });

  test('and as words of 32 bits, low byte first', () => {
    const memory = new Memory(RANGES);
    memory.write(4096 + 8, Uint8Array.of(0x78, 0x56, 0x34, 0x92));
    expect(memory.words[memory.at(1, 2)]).toBe(0x9234_5678 | 0);
    const at = memory.writable(9, 1);
    memory.words[at] = -2;
    const into = new Uint8Array(4);
    expect([memory.read(9 * 4096 + 4, into), ...into]).toEqual([true, 0xfe, 0xff, 0xff, 0xff]);
  });
});

test('an entry of 64 bytes lies together wherever it is aligned to them, written or not', () => {
  const memory = new Memory(RANGES);
  const line = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
  for (let word = 0; word < FRAME_WORDS; word += 32) memory.write(6 * FRAME_BYTES + word * 4, line);
  const expected = new Int32Array(line.buffer);
  for (let word = 0; word < FRAME_WORDS; word += 32) {
    const at = memory.at(6, word);
    expect(memory.words.slice(at, at + 16)).toEqual(expected);
    const unwritten = memory.at(7, word);
    expect(memory.words.slice(unwritten, unwritten + 16)).toEqual(new Int32Array(16));
  }
  expect(memory.writtenBlocks).toBe(8);
});

describe('what is not there', () => {
  test('is refused, and a refused write has changed nothing', () => {
    const memory = new Memory(RANGES);
    expect(memory.write(3 * 4096, new Uint8Array(4097).fill(7))).toBe(false);
    const into = new Uint8Array(4096).fill(1);
    expect(memory.read(3 * 4096, into)).toBe(true);
    expect(into.every((byte) => byte === 0)).toBe(true);
    expect(memory.writtenBlocks).toBe(0);
  });

  test.each([4, 5, 8, 10, FRAME_LIMIT - 3, FRAME_LIMIT, FRAME_LIMIT * 2])('frame %i', (frame) => {
    const memory = new Memory(RANGES);
    expect([memory.has(frame), memory.at(frame, 0), memory.writable(frame, 1023)]).toEqual([
      false,
      ABSENT,
      ABSENT,
    ]);
    expect(memory.writtenBlocks).toBe(0);
  });

  test('an address past 52 bits is absent, and one that is no address is a Bug', () => {
    const memory = new Memory(RANGES);
    expect(memory.read(2 ** 52, new Uint8Array(1))).toBe(false);
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => memory.read(bad, new Uint8Array(1))).toThrow(Bug);
    }
  });

  test.each([
    {
      what: 'overlap',
      ranges: [
        { first: 0, last: 4 },
        { first: 4, last: 5 },
      ],
    },
    {
      what: 'are not ascending',
      ranges: [
        { first: 6, last: 7 },
        { first: 0, last: 1 },
      ],
    },
    { what: 'end before they begin', ranges: [{ first: 6, last: 5 }] },
    { what: 'are past 52 bits', ranges: [{ first: 0, last: FRAME_LIMIT }] },
    { what: 'are no frames', ranges: [{ first: 0.5, last: 2 }] },
    { what: 'are negative', ranges: [{ first: -1, last: 2 }] },
  ])('ranges that $what are a Bug', ({ ranges }) => {
    expect(() => new Memory(ranges)).toThrow(Bug);
  });
});

describe('room', () => {
  const everywhere = (): Memory => new Memory([{ first: 0, last: FRAME_LIMIT - 1 }]);

  test('blocks that were never written take none, and read as zero from one place', () => {
    const memory = everywhere();
    const before = memory.words.length;
    for (let i = 0; i < 1000; i++) expect(memory.at(i * 2 ** 30, i)).toBe(i);
    expect([memory.words.length, memory.writtenBlocks]).toEqual([before, 0]);
  });

  test('a block for each that is written, however far apart', () => {
    const memory = everywhere();
    const frames = Array.from({ length: 41 }, (_, i) => 2 ** i - 1);
    for (const frame of frames) {
      for (const word of [0, 700]) {
        const at = memory.writable(frame, word);
        memory.words[at] = (frame + word) | 0;
      }
    }
    const blocks = 2 * new Set(frames).size;
    expect(memory.writtenBlocks).toBe(blocks);
    expect(memory.words.length).toBeLessThanOrEqual(2 * (blocks + 8) * BLOCK_WORDS);
    for (const frame of frames) {
      expect([0, 700].map((word) => memory.words[memory.at(frame, word)])).toEqual([
        frame | 0,
        (frame + 700) | 0,
      ]);
    }
  });

  test('is kept by a restore, and used again', () => {
    const memory = everywhere();
    memory.mark();
    for (let frame = 0; frame < 50; frame++) memory.writable(frame, 300);
    const grown = memory.words.length;
    for (let round = 0; round < 20; round++) {
      memory.restore();
      expect(memory.writtenBlocks).toBe(0);
      for (let frame = 0; frame < 50; frame++) memory.writable(round * 1000 + frame, 300);
    }
    expect(memory.words.length).toBe(grown);
  });
});

describe('dirty blocks', () => {
  test('are those written since the mark, whether the memory had to grow for them or not', () => {
    const memory = new Memory([{ first: 0, last: 999 }]);
    memory.write(0, Uint8Array.of(1));
    memory.mark();
    expect(memory.dirtyBlocks).toBe(0);
    for (let frame = 0; frame < 100; frame++) memory.write(frame * 4096, Uint8Array.of(2));
    expect(memory.dirtyBlocks).toBe(100);
    for (let frame = 0; frame < 100; frame++) memory.write(frame * 4096 + 9, Uint8Array.of(3));
    expect(memory.dirtyBlocks).toBe(100);
    memory.restore();
    expect([memory.dirtyBlocks, memory.writtenBlocks]).toEqual([0, 1]);
    memory.write(7 * 4096, Uint8Array.of(2));
    expect(memory.dirtyBlocks).toBe(1);
    memory.mark();
    expect([memory.dirtyBlocks, memory.writtenBlocks]).toEqual([0, 2]);
  });

  test('are those of a frame that were written, and no others', () => {
    const memory = new Memory([{ first: 0, last: 9 }]);
    const before = Uint8Array.from({ length: FRAME_BYTES }, (_, i) => i | 1);
    memory.write(2 * FRAME_BYTES, before);
    memory.mark();
    memory.write(2 * FRAME_BYTES + BLOCK_BYTES - 1, Uint8Array.of(0, 0));
    expect(memory.dirtyBlocks).toBe(2);
    memory.words[memory.writable(2, FRAME_WORDS - 1)] = 5;
    expect(memory.dirtyBlocks).toBe(3);
    memory.restore();
    const into = new Uint8Array(FRAME_BYTES);
    memory.read(2 * FRAME_BYTES, into);
    expect([memory.dirtyBlocks, memory.writtenBlocks]).toEqual([0, 8]);
    expect(into).toEqual(before);
  });

  test('a frame that was made after the mark is gone after a restore, and zero when it comes back', () => {
    const memory = new Memory([{ first: 0, last: 999 }]);
    memory.mark();
    memory.write(5 * 4096, new Uint8Array(4096).fill(9));
    memory.restore();
    expect(memory.at(5, 0)).toBe(0);
    memory.write(8 * 4096, Uint8Array.of(1));
    const into = new Uint8Array(4096);
    memory.read(8 * 4096, into);
    expect([...into]).toEqual([1, ...new Array<number>(4095).fill(0)]);
  });

  test('restore without a mark is a Bug', () => {
    expect(() => new Memory(RANGES).restore()).toThrow(Bug);
  });
});

test('a frame that is cleared where nothing was takes no room, and is zero where something was', () => {
  const memory = new Memory(RANGES);
  expect(memory.clear(1)).toBe(true);
  expect(memory.writtenBlocks).toBe(0);
  memory.write(FRAME_BYTES + 5, Uint8Array.of(7));
  memory.clear(1);
  const found = Uint8Array.of(1);
  memory.read(FRAME_BYTES + 5, found);
  expect([memory.writtenBlocks, found[0]]).toEqual([1, 0]);
  expect(memory.clear(4)).toBe(false);
});

test('a machine of more memory than an array can have grows as far as it is written', () => {
  const blocks = 264_000;
  const memory = new Memory([{ first: 0, last: 2 ** 21 }]);
  for (let block = 0; block < blocks; block++) {
    const at = memory.writable(block >> 3, (block & 7) * BLOCK_WORDS);
    memory.words[at] = block;
  }
  for (const block of [1, 7, 8, blocks - 1]) {
    expect(memory.words[memory.at(block >> 3, (block & 7) * BLOCK_WORDS)]).toBe(block);
  }
  expect(memory.words.byteLength).toBeLessThanOrEqual(2 ** 32);
});
