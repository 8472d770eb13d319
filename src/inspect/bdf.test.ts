import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRefusal } from '../base/index.js';
import { bdf, parseBdf } from './bdf.js';

test.each([
  [0, '00:00.0'],
  [0x18, '00:03.0'],
  [0xfb, '00:1f.3'],
  [0xffff, 'ff:1f.7'],
])('%i is %s', (rid, text) => {
  expect(bdf(rid)).toBe(text);
  expect(parseBdf(text)).toBe(rid);
});

test('what is written is read back, with a segment, in capitals or short', () => {
  fc.assert(
    fc.property(fc.nat(0xffff), (rid) => {
      const text = bdf(rid);
      const short = text.replace(/^0|(?<=:)0/g, '');
      for (const form of [text, `0000:${text}`, text.toUpperCase(), short]) expect(parseBdf(form)).toBe(rid);
    }),
  );
});

test.each([
  '',
  '3',
  '00:03',
  '00:03.8',
  '00:20.0',
  '00:1g.0',
  '100:00.0',
  '0001:00:03.0',
  ' 00:03.0',
  '00:03.0x',
  '00:003.0',
])('%j is no requester', (text) => {
  const parsed = parseBdf(text);
  expect(isRefusal(parsed) && parsed.why).toContain(JSON.stringify(text));
});
