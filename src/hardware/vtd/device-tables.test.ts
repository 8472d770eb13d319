import { describe, expect, test } from 'vitest';
import { wordsOf } from '../../spec/index.js';
import { DeviceTables } from './device-tables.js';
import { unitFormat } from './format.js';

const range = (high: number, low: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i);

/** Every capability that a table's field hangs on. */
const CAP = 6n | (45n << 16n) | (7n << 9n) | (3n << 34n) | (1n << 56n) | (1n << 60n);
const ALL_ECAP = [2, 6, 7, 25, 26, 29, 30, 31, 34, 40, 43, 45, 46, 47, 48, 49, 53];
const ecapOf = (bits: readonly number[]): bigint => bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

function tablesOf(isScalable: boolean, ecap = ecapOf(ALL_ECAP), cap = CAP): DeviceTables {
  const format = unitFormat({ cap: wordsOf(cap), ecap: wordsOf(ecap), hostAddressWidth: 46 });
  return new DeviceTables(format, isScalable);
}

type Step = (tables: DeviceTables, words: Int32Array) => number;
const root: Step = (tables, words) => tables.rootStep(words, 0, 0x18);
const upperRoot: Step = (tables, words) => tables.rootStep(words, 0, 0x98);
const context: Step = (tables, words) => tables.contextStep(words, 0);
const directory: Step = (tables, words) => tables.directoryStep(words, 0);
const pasid: Step = (tables, words) => tables.pasidStep(words, 0);

/** An entry with bit `bit` set beside its own. */
function withBit(quads: readonly bigint[], bit: number): Int32Array {
  return wordsOf(...quads.map((quad, i) => (bit >> 6 === i ? quad | (1n << BigInt(bit & 63)) : quad)));
}

/** Of each entry, one that is good, and its reserved bits on a unit with all capabilities and 46 address bits. */
const ENTRIES = [
  {
    what: 'root entry',
    scalable: false,
    step: root,
    good: [1n, 0n],
    fault: 0x0a,
    reserved: [range(11, 1), range(127, 46)],
  },
  {
    what: 'scalable root entry',
    scalable: true,
    step: root,
    good: [1n, 0n],
    fault: 0x3a,
    reserved: [range(11, 1), range(63, 46), range(75, 65), range(127, 110)],
  },
  {
    what: 'scalable root entry, upper half',
    scalable: true,
    step: upperRoot,
    good: [0n, 1n],
    fault: 0x3a,
    reserved: [range(11, 1), range(63, 46), range(75, 65), range(127, 110)],
  },
  {
    what: 'context entry',
    scalable: false,
    step: context,
    good: [1n, 2n],
    fault: 0x0b,
    reserved: [range(11, 4), range(63, 46), [71], range(127, 88)],
  },
  {
    what: 'scalable context entry',
    scalable: true,
    step: context,
    good: [1n, 0n, 0n, 0n],
    fault: 0x42,
    reserved: [range(8, 5), range(63, 46), range(255, 85)],
  },
  {
    what: 'PASID directory entry',
    scalable: true,
    step: directory,
    good: [1n],
    fault: 0x52,
    reserved: [range(11, 2), range(63, 46)],
  },
  {
    what: 'PASID table entry, first-stage',
    scalable: true,
    step: pasid,
    good: [0x41n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
    fault: 0x5a,
    reserved: [
      [5, 10, 11],
      range(63, 46),
      range(86, 80),
      [94, 95],
      range(139, 136),
      range(191, 174),
      range(511, 192),
    ],
  },
  {
    what: 'PASID table entry, nested: its first-stage root is no host address',
    scalable: true,
    step: pasid,
    good: [0xc9n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
    fault: 0x5a,
    reserved: [[5, 10, 11], range(63, 46), range(86, 80), [94, 95], range(139, 136), range(511, 192)],
  },
] as const;

describe('reserved bits, each in turn', () => {
  test.each(ENTRIES)('of a $what', ({ scalable, step, good, fault, reserved }) => {
    const tables = tablesOf(scalable);
    expect(step(tables, wordsOf(...good))).toBe(0);
    const bits = range(good.length * 64 - 1, 0).filter((bit) => step(tables, withBit(good, bit)) === fault);
    expect(bits).toEqual(reserved.flat());
  });

  test.each([
    { what: 'DTE without DT', step: context, capability: 2, bits: [2], fault: 0x42 },
    { what: 'PASIDE without PASID', step: context, capability: 40, bits: [3], fault: 0x42 },
    { what: 'PRE without PRS', step: context, capability: 29, bits: [4], fault: 0x42 },
    { what: 'RID_PASID without RPS', step: context, capability: 49, bits: range(83, 64), fault: 0x42 },
    { what: 'RID_PRIV without RPRIVS', step: context, capability: 53, bits: [84], fault: 0x42 },
    { what: 'SSADE without SSADS', step: pasid, capability: 45, bits: [9], fault: 0x5a },
    { what: 'PWSNP without SMPWCS', step: pasid, capability: 48, bits: [87], fault: 0x5a },
    { what: 'PGSNP without SC', step: pasid, capability: 7, bits: [88], fault: 0x5a },
    {
      what: 'memory types without MTS',
      step: pasid,
      capability: 25,
      bits: [...range(93, 89), ...range(127, 96)],
      fault: 0x5a,
    },
    { what: 'SRE without SRS', step: pasid, capability: 31, bits: [128], fault: 0x5a },
    { what: 'ERE without ERS', step: pasid, capability: 30, bits: [129], fault: 0x5a },
    { what: 'EAFE without EAFS', step: pasid, capability: 34, bits: [135], fault: 0x5a },
  ])('$what', ({ step, capability, bits, fault }) => {
    const good = step === context ? [1n, 0n, 0n, 0n] : [0x41n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
    const without = tablesOf(true, ecapOf(ALL_ECAP.filter((bit) => bit !== capability)));
    const added = range(good.length * 64 - 1, 0).filter(
      (bit) =>
        step(without, withBit(good, bit)) === fault && step(tablesOf(true), withBit(good, bit)) !== fault,
    );
    expect(added).toEqual(bits);
  });
});

describe('what is programmed', () => {
  const zeros = [0n, 0n, 0n, 0n, 0n];

  test.each([
    { tt: 0n, outcome: 'second-stage' },
    { tt: 1n, outcome: 'second-stage' },
    { tt: 1n, lacks: 2, outcome: 0x03 },
    { tt: 2n, outcome: 'pass-through' },
    { tt: 2n, lacks: 6, outcome: 0x03 },
    { tt: 3n, outcome: 0x03 },
  ])('TT $tt of a legacy context, without capability $lacks: $outcome', ({ tt, lacks, outcome }) => {
    const tables = tablesOf(false, ecapOf(ALL_ECAP.filter((bit) => bit !== lacks)));
    const fault = context(tables, wordsOf((tt << 2n) | 1n, 2n));
    expect(fault === 0 ? tables.space.translation : fault).toBe(outcome);
    if (fault === 0) expect(tables.context.deviceTlb).toBe(tt === 1n);
  });

  test.each([0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n])('AW %i: by what SAGAW offers', (aw) => {
    for (const sagaw of range(7, 0)) {
      const cap = 6n | (45n << 16n) | (BigInt(sagaw) << 9n);
      const levels = aw >= 1n && aw <= 3n && (sagaw >> Number(aw - 1n)) & 1 ? Number(aw) + 2 : undefined;
      const legacy = tablesOf(false, ecapOf(ALL_ECAP), cap);
      expect(context(legacy, wordsOf(1n, aw))).toBe(levels === undefined ? 0x03 : 0);
      const tables = tablesOf(true, ecapOf(ALL_ECAP), cap);
      for (const pgtt of [2n, 3n]) {
        const entry = wordsOf((pgtt << 6n) | (aw << 2n) | 1n, 0n, 0n, ...zeros);
        expect(pasid(tables, entry)).toBe(levels === undefined ? 0x5b : 0);
        if (levels !== undefined) expect(tables.space.secondLevels).toBe(levels);
      }
      // AW is not looked at where there is no second stage: Linux sets it all the same.
      expect(pasid(tables, wordsOf((1n << 6n) | (aw << 2n) | 1n, 0n, 0n, ...zeros))).toBe(0);
    }
  });

  test.each([
    { pgtt: 0n, capability: 0, translation: undefined },
    { pgtt: 1n, capability: 47, translation: 'first-stage' },
    { pgtt: 2n, capability: 46, translation: 'second-stage' },
    { pgtt: 3n, capability: 26, translation: 'nested' },
    { pgtt: 4n, capability: 6, translation: 'pass-through' },
    { pgtt: 5n, capability: 0, translation: undefined },
    { pgtt: 6n, capability: 0, translation: undefined },
    { pgtt: 7n, capability: 0, translation: undefined },
  ])('PGTT $pgtt: $translation, with capability $capability', ({ pgtt, capability, translation }) => {
    const entry = wordsOf((pgtt << 6n) | (2n << 2n) | 1n, 0n, 0n, ...zeros);
    const tables = tablesOf(true);
    expect(pasid(tables, entry)).toBe(translation === undefined ? 0x5b : 0);
    if (translation !== undefined) expect(tables.space.translation).toBe(translation);
    const without = tablesOf(true, ecapOf(ALL_ECAP.filter((bit) => bit !== capability)));
    expect(pasid(without, entry)).toBe(0x5b);
  });

  test.each([
    { fspm: 0n, has5: true, levels: 4 },
    { fspm: 1n, has5: true, levels: 5 },
    { fspm: 0n, has5: false, levels: 4 },
    { fspm: 1n, has5: false, levels: undefined },
    { fspm: 2n, has5: true, levels: undefined },
    { fspm: 3n, has5: true, levels: undefined },
  ])('FSPM $fspm, 5 levels offered: $has5', ({ fspm, has5, levels }) => {
    const tables = tablesOf(true, ecapOf(ALL_ECAP), has5 ? CAP : CAP & ~(1n << 60n));
    expect(pasid(tables, wordsOf(0x41n, 0n, fspm << 2n, ...zeros))).toBe(levels === undefined ? 0x5b : 0);
    if (levels !== undefined) expect(tables.space.firstLevels).toBe(levels);
    // FSPM is not looked at where there is no first stage.
    expect(pasid(tables, wordsOf(0x101n, 0n, fspm << 2n, ...zeros))).toBe(0);
  });

  test('a nested entry, taken apart', () => {
    const tables = tablesOf(true);
    const w2 = 0x8000n | 1n | (1n << 4n);
    expect(pasid(tables, wordsOf(0x2_0000_0000n | 0x2c9n, 7n, w2, ...zeros))).toBe(0);
    expect(tables.space).toEqual({
      translation: 'nested',
      domain: 7,
      firstRoot: 8,
      firstLevels: 4,
      secondRoot: 0x20_0000,
      secondLevels: 4,
      supervisorRequests: true,
      writeProtect: true,
      executeRequests: false,
      secondAccessedDirty: true,
      extendedAccessed: false,
      snoopsWalks: false,
      silenced: false,
    });
  });

  test.each([
    [0, 0xf],
    [2, 0xff],
    [6, 0xffff],
  ])('domains that CAP.ND does not reach (%i)', (nd, last) => {
    const cap = (CAP & ~7n) | BigInt(nd);
    const legacy = tablesOf(false, ecapOf(ALL_ECAP), cap);
    const scalable = tablesOf(true, ecapOf(ALL_ECAP), cap);
    for (const did of [0, last, last + 1]) {
      const fits = did <= last;
      const high = 2n | (BigInt(did) << 8n);
      if (did <= 0xffff) {
        expect(context(legacy, wordsOf(1n, high))).toBe(fits ? 0 : 0x0b);
        expect(pasid(scalable, wordsOf(0x41n, BigInt(did), 0n, ...zeros))).toBe(fits ? 0 : 0x5a);
      }
    }
  });

  test('a scalable context entry, taken apart', () => {
    const tables = tablesOf(true);
    expect(context(tables, wordsOf(0x607_f000n | 0x41dn, 0x1f_1234n, 0n, 0n))).toBe(0);
    expect(tables.context).toEqual({
      deviceTlb: true,
      pasidEnabled: true,
      pageRequests: true,
      pasidLimit: 2 ** 15,
      directory: 0x607f,
      ridPasid: 0xf_1234,
      ridPrivilege: true,
      silenced: false,
    });
  });

  test('what an address space does not have is not left over from the one before', () => {
    const tables = tablesOf(true);
    pasid(tables, wordsOf(0x20_00c9n, 0n, 0x30_0000n, ...zeros));
    pasid(tables, wordsOf(0x20_0041n, 0n, 0x30_0000n, ...zeros));
    expect([tables.space.secondRoot, tables.space.secondLevels]).toEqual([0, 0]);
    pasid(tables, wordsOf(0x20_0089n, 0n, 0x30_0000n, ...zeros));
    expect([tables.space.firstRoot, tables.space.firstLevels]).toEqual([0, 0]);
    pasid(tables, wordsOf(0x20_0101n, 0n, 0x30_0000n, ...zeros));
    expect([tables.space.firstRoot, tables.space.secondRoot]).toEqual([0, 0]);
  });
});

describe('fault processing disable', () => {
  const good = [0x41n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
  const fpd = (word: bigint, isSet: boolean): bigint => (isSet ? word | 2n : word);

  test.each(range(7, 0))('accumulates from context to directory to PASID entry: %i', (sets) => {
    const [inContext, inDirectory, inPasid] = [(sets & 1) !== 0, (sets & 2) !== 0, (sets & 4) !== 0];
    const tables = tablesOf(true);
    tables.silenced = true;
    root(tables, wordsOf(1n, 0n));
    expect(tables.silenced).toBe(false);
    context(tables, wordsOf(fpd(1n, inContext), 0n, 0n, 0n));
    expect(tables.silenced).toBe(inContext);
    directory(tables, wordsOf(fpd(1n, inDirectory)));
    expect(tables.silenced).toBe(inContext || inDirectory);
    pasid(tables, wordsOf(fpd(good[0] ?? 0n, inPasid), ...good.slice(1)));
    expect(tables.silenced).toBe(inContext || inDirectory || inPasid);
  });

  test('counts in an entry that is not present too', () => {
    const legacy = tablesOf(false);
    expect([context(legacy, wordsOf(2n, 0n)), legacy.silenced]).toEqual([0x02, true]);
    const tables = tablesOf(true);
    expect([context(tables, wordsOf(2n, 0n, 0n, 0n)), tables.silenced]).toEqual([0x41, true]);
  });
});

test.each([
  { step: root, scalable: false, fault: 0x01 },
  { step: root, scalable: true, fault: 0x39 },
  { step: context, scalable: false, fault: 0x02 },
  { step: context, scalable: true, fault: 0x41 },
  { step: directory, scalable: true, fault: 0x51 },
  { step: pasid, scalable: true, fault: 0x59 },
])('an entry that is not present is $fault, whatever else it holds', ({ step, scalable, fault }) => {
  const words = new Int32Array(16).fill(-1);
  words[0] = -2;
  expect(step(tablesOf(scalable), words)).toBe(fault);
});

test('each half of a scalable root entry leads to its own context table', () => {
  const tables = tablesOf(true);
  const words = wordsOf(0x5001n, 0x6001n);
  for (const [devfn, frame] of [
    [0, 5],
    [0x7f, 5],
    [0x80, 6],
    [0xff, 6],
  ] as const) {
    expect([tables.rootStep(words, 0, devfn), tables.next]).toEqual([0, frame]);
  }
  expect(tables.rootStep(wordsOf(0x5001n, 0x6000n), 0, 0x80)).toBe(0x39);
  expect(tables.rootStep(wordsOf(0x5000n, 0x6001n), 0, 0)).toBe(0x39);
});
