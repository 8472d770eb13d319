import { expect, test } from 'vitest';
import { InputError } from '../errors.js';
import { parseRegisters, readRegisters } from './registers-file.js';

/** A file with the registers that are needed, line by line, and more lines from line 6 on. */
const fileWith = (...lines: readonly string[]): string =>
  ['{', '"CAP": "0x206",', '"ECAP": "0x0",', '"GSTS": "0x0",', '"RTADDR": "0x1000"', ...lines, '}'].join(
    '\n',
  );

test('reads values in hexadecimal, and small ones as plain numbers', () => {
  const text = fileWith(', "IQT": 64, "VER": 0', ', "FSTS": "0XFf", "PQA": "0x8000000000000000"');
  const { values, faultRecords } = parseRegisters('r.json', `\ufeff${text}`);
  expect(Object.fromEntries(values)).toEqual({
    ...{ CAP: 0x206n, ECAP: 0n, GSTS: 0n, RTADDR: 0x1000n },
    ...{ IQT: 64n, VER: 0n, FSTS: 255n, PQA: 1n << 63n },
  });
  expect(faultRecords).toBeUndefined();
});

test('reads fault records of 128 bits', () => {
  const record = `0x8${'0'.repeat(30)}1`;
  const text = fileWith(`, "FRCD": ["${record}", 0]`).replace('0x206', '0x10000000206');
  expect(parseRegisters('r.json', text).faultRecords).toEqual([BigInt(record), 0n]);
});

test('knows registers by the names that every revision gives to them', () => {
  const names = ['IVA', 'IOTLB', 'MTRR_FIX64K_00000', 'MTRR_PHYSMASK9', 'ECCAP3', 'VCMD', 'VCRSP', 'PERFCAP'];
  const text = fileWith(...names.map((name) => `, "${name}": "0x0"`));
  expect([...parseRegisters('r.json', text).values.keys()]).toEqual(expect.arrayContaining(names));
});

test.each([
  { lines: [', "IQT": "12"'], why: 'r.json:6: IQT: "12" is no value such as "0x1f"' },
  { lines: ['', ', "IQT": -1'], why: 'r.json:7: IQT: -1 is no value such as "0x1f"' },
  { lines: [', "IQT": 1e3'], why: 'r.json:6: IQT: 1e3 is no value such as "0x1f"' },
  {
    lines: [', "IQT":', '9007199254740993'],
    why: 'r.json:7: IQT: 9007199254740993 is no value such as "0x1f"',
  },
  { lines: [', "IQT": null'], why: 'r.json:6: IQT: null is no value such as "0x1f"' },
  { lines: [', "IQT": ["0x0"]'], why: 'r.json:6: IQT: an array is no value such as "0x1f"' },
  { lines: [', "FSTS": "0x100000000"'], why: 'r.json:6: FSTS: 0x100000000 is wider than its 32 bits' },
  {
    lines: [', "IQA": "0x10000000000000000"'],
    why: 'r.json:6: IQA: 0x10000000000000000 is wider than its 64 bits',
  },
  { lines: [', "RTADDR": "0x0"'], why: 'r.json:6: RTADDR stands here twice' },
  { lines: [', "IQTT": "0x0"'], why: 'r.json:6: IQTT is no register of VT-d; is IQT meant?' },
  { lines: [', "TEMPERATURE": "0x0"'], why: 'r.json:6: TEMPERATURE is no register of VT-d' },
  { lines: [', "FRCD": "0x0"'], why: 'r.json:6: FRCD: this is no list of fault records' },
  { lines: [', "FRCD": ["0x0",', '"0x0"]'], why: 'r.json:6: FRCD: 2 records, and by CAP.NFR there are 1' },
  { lines: [', "FRCD": [', '"x"]'], why: 'r.json:7: FRCD[0]: "x" is no value such as "0x1f"' },
  {
    lines: [`, "FRCD": ["0x1${'0'.repeat(32)}"]`],
    why: /^r.json:6: FRCD\[0\]: 0x10+ is wider than its 128 bits$/,
  },
])('refuses $why', ({ lines, why }) => {
  expect(() => parseRegisters('r.json', fileWith(...lines))).toThrow(why);
});

test.each([
  { text: ' \n', why: 'r.json: the file is empty' },
  { text: '[]', why: 'r.json:1: this is no JSON object of registers' },
  { text: '{"CAP": "0x0",\n"GSTS": "0x0"}', why: 'r.json: needed, and missing: ECAP, RTADDR' },
  { text: '{"CAP": "0x0",\n"GSTS": 0x0}', why: 'r.json:2: this is no JSON: "GSTS": 0x0}' },
])('refuses a file: $why', ({ text, why }) => {
  expect(() => parseRegisters('r.json', text)).toThrow(why);
});

test('a file that cannot be read is bad input', async () => {
  await expect(readRegisters('/no/such.json')).rejects.toEqual(
    new InputError('/no/such.json', 'there is no such file'),
  );
  await expect(readRegisters('/')).rejects.toEqual(new InputError('/', 'this is a directory'));
});
