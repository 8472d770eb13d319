import fc from 'fast-check';
import { expect, test } from 'vitest';
import { byteText, contentBytes, firstDifference } from './content.js';

test('text is repeated, and cut off where the room ends', () => {
  expect([...contentBytes('ab', 5)]).toEqual([97, 98, 97, 98, 97]);
  expect([...contentBytes(0x65, 3)]).toEqual([0x65, 0x65, 0x65]);
});

test('a byte is named with the character that it may stand for', () => {
  expect([byteText(0x41), byteText(0)]).toEqual(['0x41 (A)', '0x00']);
});

test('the first difference is that of a comparison byte by byte', () => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 40 });
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(39), { maxLength: 3 }), (found, changed) => {
      const expected = Uint8Array.from(found, (byte, i) => (changed.includes(i) ? byte ^ 0x80 : byte));
      expect(firstDifference(Uint8Array.from(found), expected)).toBe(
        found.findIndex((byte, i) => byte !== expected[i]),
      );
    }),
  );
});
