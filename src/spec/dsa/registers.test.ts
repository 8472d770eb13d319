/** Intel DSA's registers: where Linux has them (`registers.h`), and what software may write (specification, 9.2). */
import { describe, expect, test } from 'vitest';
import { accessOf, testRegisters } from '../../../test/registers.js';
import { DSA_BAR0_BYTES, DSA_TABLE, dsaRegisters } from './registers.js';

const table = dsaRegisters({
  ...{ version: 0x200n, gencap: 0x80150013n, wqcap: 0x7f000001080080n, grpcap: 4n, engcap: 4n },
  ...{ opcap: 0x27dn, cmdcap: 0x1ffen, wqs: 2, groups: 1, vectors: 2 },
});

describe('each of them', () => {
  testRegisters(table.all, DSA_BAR0_BYTES);
});

/** Name, offset, what a write stores, what a one clears. */
const REGISTERS: readonly (readonly [name: string, offset: number, writable: bigint, clearable?: bigint])[] =
  [
    ['VERSION', 0x00, 0n],
    ['GENCAP', 0x10, 0n],
    ['WQCAP', 0x20, 0n],
    ['GRPCAP', 0x30, 0n],
    ['ENGCAP', 0x38, 0n],
    ['OPCAP', 0x40, 0n],
    ['OFFSETS', 0x60, 0n],
    ['GENCFG', 0x80, 0x30ffn],
    ['GENCTRL', 0x88, 0x7n],
    ['GENSTS', 0x90, 0n],
    ['INTCAUSE', 0x98, 0n, 0x8000003fn],
    ['CMD', 0xa0, 0x81ffffffn],
    ['CMDSTS', 0xa8, 0n],
    ['CMDCAP', 0xb0, 0n],
    ['SWERROR', 0xc0, 0n, 0x3n],
    ['EVLCFG', 0xe0, 0xfffffffff_fffffffffffff003n],
    ['EVLSTATUS', 0xf0, 0xffffn, 0x4000000000000000n],
    ['MSIXPERM1', 0x808, 0xfffff00cn],
  ];

test.each(REGISTERS)('%s', (name, offset, writable, clearable = 0n) => {
  const found = table.all.find((each) => each.name === name);
  expect(found?.offset).toBe(offset);
  expect(found === undefined ? undefined : accessOf(found)).toEqual({ writable, clearable });
});

test('a WQ begins with every operation of the device, and nothing else', () => {
  expect(table.WQCFG.map(({ offset, reset }) => [offset, reset])).toEqual([
    [DSA_TABLE.WQCFG, 0x27dn << 256n],
    [DSA_TABLE.WQCFG + 64, 0x27dn << 256n],
  ]);
});

test('MSI-X entries begin masked', () => {
  expect(table.MSIX.map(({ reset }) => reset)).toEqual([1n << 96n, 1n << 96n]);
});
