import { expect, test } from 'vitest';
import { nearest } from './nearest.js';

const NAMES = ['CAP', 'ECAP', 'RTADDR', 'GSTS', 'FRCD', 'PERFINTRUADDR'];

test.each([
  ['RTADR', 'RTADDR'],
  ['rtaddr', 'RTADDR'],
  ['GSTS_REG', 'GSTS'],
  ['FRCD0', 'FRCD'],
  ['CPA', undefined],
  ['CAPS', 'CAP'],
  ['VOLTAGE', undefined],
  ['', undefined],
  ['x'.repeat(1000), undefined],
])('%s is meant to be %s', (wanted, meant) => {
  expect(nearest(wanted, NAMES)).toBe(meant);
});
