/** Bytes between memory and a buffer, by every way that they are moved. */
import { expect, test } from 'vitest';
import { FRAME_BYTES, Memory } from '../memory.js';
import { Mover } from './bytes.js';

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
  const place = memory.writable(2) * 4 + offset;
  mover.store(place, from, at, length);
  const moved = new Uint8Array(length);
  expect(memory.read(2 * FRAME_BYTES + offset, moved)).toBe(true);
  expect(moved).toEqual(from.slice(at));
  const back = new Uint8Array(at + length);
  mover.load(place, back, at, length);
  expect(back.slice(at)).toEqual(from.slice(at));
  expect(back.subarray(0, at).every((byte) => byte === 0)).toBe(true);
});

test.each([2 ** 31 - FRAME_BYTES, 2 ** 31, 2 ** 31 + 64])('words, at byte %i of a large arena', (place) => {
  // Pages of it that nobody writes take no room.
  const words = new Int32Array(2 ** 29 + 2048);
  const mover = new Mover({ words });
  const from = buffer(32);
  mover.store(place, from, 0, 32);
  expect(new Uint8Array(words.buffer).slice(place, place + 32)).toEqual(from);
  const back = new Uint8Array(32);
  mover.load(place, back, 0, 32);
  expect(back).toEqual(from);
});
