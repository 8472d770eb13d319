/** Bytes between memory and a buffer, by every way that they are moved. */
import { expect, test } from 'vitest';
import { BLOCK_BYTES, FRAME_BYTES, Memory } from '../memory.js';
import { Mover } from './bytes.js';

/** Within a block, over borders of blocks, and all of a frame: the first byte, and how many. */
const RUNS: readonly (readonly [number, number])[] = [
  [512, 64],
  [508, 8],
  [3, 1021],
  [1000, 1100],
  [2048, 2048],
  [0, 4096],
];
const buffer = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 0xff);

test.each([
  ['words', 64, 8, 64],
  ['single bytes', 65, 3, 30],
  ['many words, from within a buffer', 1024, 512, 2048],
  ['a whole buffer', 0, 0, 512],
  ['a whole frame', 0, 0, FRAME_BYTES],
  ['many bytes that lie askew', 1, 0, 600],
])('%s', (_, offset, at, length) => {
  const memory = new Memory([{ first: 0, last: 3 }]);
  const mover = new Mover(memory);
  const from = buffer(at + length);
  mover.store(2, { offset, length }, from, at);
  const moved = new Uint8Array(length);
  expect(memory.read(2 * FRAME_BYTES + offset, moved)).toBe(true);
  expect(moved).toEqual(from.slice(at));
  const back = new Uint8Array(at + length);
  mover.load(2, { offset, length }, back, at);
  expect(back.slice(at)).toEqual(from.slice(at));
  expect(back.subarray(0, at).every((byte) => byte === 0)).toBe(true);
});

test.each([
  ['one after the other', [0, 1, 2, 3, 4, 5, 6, 7]],
  ['as they were written', [5, 2, 3, 7, 0, 4]],
  ['here and there', [6, 1]],
  ['nowhere', []],
])('a frame whose blocks lie %s', (_, blocks) => {
  const memory = new Memory([{ first: 0, last: 3 }]);
  const mover = new Mover(memory);
  for (const block of blocks) memory.write(FRAME_BYTES + block * BLOCK_BYTES + 17, buffer(400));
  for (const [offset, length] of RUNS) {
    const expected = new Uint8Array(length);
    memory.read(FRAME_BYTES + offset, expected);
    const found = new Uint8Array(length);
    mover.load(1, { offset, length }, found, 0);
    expect(found).toEqual(expected);
  }
  const written = new Uint8Array(FRAME_BYTES);
  memory.read(FRAME_BYTES, written);
  for (const [offset, length] of RUNS) {
    const from = buffer(length).reverse();
    mover.store(1, { offset, length }, from, 0);
    written.set(from, offset);
    const found = new Uint8Array(FRAME_BYTES);
    memory.read(FRAME_BYTES, found);
    expect(found).toEqual(written);
  }
});

test.each([2 ** 31 - FRAME_BYTES, 2 ** 31, 2 ** 31 + 64])('words, at byte %i of a large arena', (place) => {
  // Pages of it that nobody writes take no room.
  const words = new Int32Array(2 ** 29 + 2048);
  const at = (): number => place / 4;
  const mover = new Mover({ words, at, writable: at });
  const from = buffer(32);
  mover.store(0, { offset: 0, length: 32 }, from, 0);
  expect(new Uint8Array(words.buffer).slice(place, place + 32)).toEqual(from);
  const back = new Uint8Array(32);
  mover.load(0, { offset: 0, length: 32 }, back, 0);
  expect(back).toEqual(from);
});
