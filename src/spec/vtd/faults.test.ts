/** The fault reasons: their codes as the specification numbers its conditions. */
import { expect, test } from 'vitest';
import { decode, format, wordsOf } from '../codec.js';
import { FAULT, FAULT_REASONS, FAULT_RECORD, FAULT_TYPE } from './faults.js';

test('each code has a reason, and each reason a code', () => {
  expect(Object.keys(FAULT_REASONS).map(Number).toSorted()).toEqual(Object.values(FAULT).toSorted());
});

test('no two reasons share a name', () => {
  const names = Object.values(FAULT_REASONS).map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

// The codes of VirtualBox's VTDADDRFAULT, which quotes the conditions of VT-d 7.1.3 by their names.
test.each([
  ['LRT', [0x08, 0x01, 0x0a]],
  ['LCT', [0x09, 0x02, 0x0b, 0x03, 0x0d]],
  ['LSS', [0x07, 0x0c]],
  ['LGN', [0x04, 0x05, 0x06, 0x0e]],
  ['RTA', [0x30, 0x31, 0x32, 0x33]],
  ['SRT', [0x38, 0x39, 0x3a]],
  ['SCT', [0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]],
  ['SPD', [0x50, 0x51, 0x52]],
  ['SPT', [0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d]],
  ['SFS', [0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x90, 0x91]],
  ['SSS', [0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d]],
  ['SGN', [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87]],
])('%s.1 and on', (group, codes) => {
  expect(codes.map((code) => FAULT_REASONS[code]?.name)).toEqual(codes.map((_, i) => `${group}.${i + 1}`));
});

// What an FPD that was not read cannot silence; QEMU's vtd_qualified_faults has the same.
test('faults before an FPD bit is known are not qualified', () => {
  const unqualified = Object.entries(FAULT_REASONS).filter(([, reason]) => !reason.qualified);
  expect(unqualified.map(([code]) => Number(code))).toEqual([
    ...[0x01, 0x08, 0x09, 0x0a, 0x20, 0x21, 0x23, 0x25],
    ...[0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x40, 0x50, 0x58],
  ]);
});

test('a record says what and why', () => {
  const record = decode(FAULT_RECORD, wordsOf(0xffef9000n, 0xc123455980000018n));
  expect(format(record)).toBe(
    'FI=0xffef9000 SID=0x18 PP=1 FR=SPT.2 (PASID table entry not present) PASID=0x12345 T1=1 F=1',
  );
  const { T1, T2 } = FAULT_RECORD;
  const words = wordsOf(0n, 0x4000_0000_1000_0000n);
  expect(T1.get(words, 0) * 2 + T2.get(words, 0)).toBe(FAULT_TYPE.ATOMIC);
});
