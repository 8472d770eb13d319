/** Telling descriptors apart: by their type, in queues with slots of 16 and of 32 bytes. */
import { expect, test } from 'vitest';
import { format, wordsOf } from '../codec.js';
import {
  decodeInvalidation,
  INVALIDATION,
  INVALIDATION_DESCRIPTORS,
  invalidationType,
} from './invalidation.js';

const textOf = (quads: readonly bigint[], wide: boolean, at = 0): string | undefined => {
  const decoded = decodeInvalidation(wordsOf(...quads), at, wide);
  return decoded === undefined ? undefined : `${decoded.layout.name}: ${format(decoded)}`;
};

test.each([
  // Raw descriptors of a Linux 7.2 guest's trace and queue.
  [[0x60026n, 0n, 0n, 0n], 'PASID-based IOTLB invalidate: TYPE=6 G=pasid DID=6'],
  [[0x1500000014n, 0n, 0n, 0n], 'Interrupt entry cache invalidate: TYPE=4 G=index IIDX=0x15'],
  [[0x4n, 0n, 0n, 0n], 'Interrupt entry cache invalidate: TYPE=4'],
  [[0x200000025n, 0x4e4600cn, 0n, 0n], 'Invalidation wait: TYPE=5 SW=1 STATUS_DATA=2 STATUS_ADDR=0x4e4600c'],
])('%s in a wide queue', (quads, text) => {
  expect(textOf(quads, true)).toBe(text);
  expect(textOf([0n, ...quads], true, 2)).toBe(text);
});

test('each type has its layout', () => {
  for (const type of Object.values(INVALIDATION)) {
    const words = wordsOf(BigInt(type), 0n, 0n, 0n);
    expect(invalidationType(words, 0)).toBe(type);
    expect(decodeInvalidation(words, 0, true)?.layout).toBe(INVALIDATION_DESCRIPTORS[type]);
  }
  expect(Object.values(INVALIDATION)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('the types from 6 on fit no narrow queue', () => {
  const known = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((type) => textOf([BigInt(type), 0n], false) !== undefined);
  expect(known).toEqual([1, 2, 3, 4, 5]);
});

test.each([0n, 0xan, 0xfn])('there is no type %s', (type) => {
  expect(textOf([type, 0n, 0n, 0n], true)).toBeUndefined();
});

test('bits 11:9 are part of the type', () => {
  expect(invalidationType(wordsOf(0xe05n), 0)).toBe(0x75);
  expect(textOf([0x205n, 0n, 0n, 0n], true)).toBeUndefined();
});

test('what a short descriptor leaves of a wide slot is reserved', () => {
  const quads = [0x4n, 0n, 1n, 1n << 63n];
  expect(decodeInvalidation(wordsOf(...quads), 0, true)?.reserved).toEqual([128, 255]);
  expect(decodeInvalidation(wordsOf(...quads), 0, false)?.reserved).toEqual([]);
  expect(decodeInvalidation(wordsOf(0x24n, 0n, 0n, 0n), 0, true)?.reserved).toEqual([5]);
});

test('page-group responses and PASID-based descriptors check their own second half', () => {
  expect(decodeInvalidation(wordsOf(0x9n, 0n, 1n, 0n), 0, true)?.reserved).toEqual([128]);
});
