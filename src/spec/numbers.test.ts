import { describe, expect, it } from 'vitest';
import { Bug } from '../base/index.js';
import { getNumber, setNumber } from './numbers.js';
import { VCRSP_REG, VCRSP_REG_3_2 } from './vtd/optional-register-layouts.js';

/** 48 bits, and 56. */
const FIELDS = [VCRSP_REG.RSLT, VCRSP_REG_3_2.RSLT];

describe.each(FIELDS)('a field of $width bits', (field) => {
  it.each([0, 1, 0xf_ffff, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1])('holds %d as a number', (value) => {
    const words = new Int32Array([-1, -1, -1]);
    setNumber(field, words, 1, value);
    expect(getNumber(field, words, 1)).toBe(value);
    expect(field.getBig(words, 1)).toBe(BigInt(value));
    setNumber(field, words, 1, 2 ** 48 - 1);
    expect(words[0]).toBe(-1);
  });

  it('refuses what does not fit', () => {
    expect(() => setNumber(field, new Int32Array(2), 0, 2 ** field.width)).toThrow(Bug);
  });
});
