/**
 * What hardware may see of an entry while software changes it: it is looked at after every single store, and on a
 * unit that does not snoop, in what was written back (rule TORN; bugs D1, D2, D3).
 */
import { describe, expect, it } from 'vitest';
import { FakePlatform, fakeContext } from '../../../../test/kernel/fake-platform.js';
import { isRefusal } from '../../../base/index.js';
import {
  encode,
  PASID_DIRECTORY_ENTRY,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
  SCALABLE_ROOT_ENTRY,
} from '../../../spec/index.js';
import { PAGE_BYTES } from '../../ids.js';
import type { Endpoint } from '../driver.js';
import type { Capabilities } from './capabilities.js';
import { UnitTables } from './tables.js';

const DEVICE: Endpoint = {
  ...{
    rid: 0x6a88,
    name: '6a:11.0',
    pasidBits: 20,
    ats: true,
    pri: true,
    invalidationDepth: 0,
    throttledBy: 0,
  },
};
const CAPS = { snoopsWalks: true } as Capabilities;
const PASID = 0x1_2345;

const entry = (did: number, root: number): Int32Array =>
  encode(PASID_TABLE_ENTRY, { P: 1, PGTT: PGTT.FIRST_STAGE, DID: did, FSPTPTR: root });

/** The words of one entry, or undefined if the way to it is not there. */
function entryOf(read: (address: number, words: number) => Int32Array, root: number): Int32Array | undefined {
  const rootEntry = read(root * PAGE_BYTES + 0x6a * 16, 4);
  if (SCALABLE_ROOT_ENTRY.UP.get(rootEntry, 0) === 0) return undefined;
  const contexts = SCALABLE_ROOT_ENTRY.UCTP.get(rootEntry, 0) * PAGE_BYTES;
  const context = read(contexts + 0x08 * 32, 8);
  if (SCALABLE_CONTEXT_ENTRY.P.get(context, 0) === 0) return undefined;
  const directory = SCALABLE_CONTEXT_ENTRY.PASIDDIRPTR.get(context, 0) * PAGE_BYTES;
  const pde = read(directory + (PASID >> 6) * 8, 2);
  if (PASID_DIRECTORY_ENTRY.P.get(pde, 0) === 0) return undefined;
  return read(PASID_DIRECTORY_ENTRY.SMPTBLPTR.get(pde, 0) * PAGE_BYTES + (PASID & 63) * 64, 16);
}

/** A machine whose hardware snoops, or sees what was written back; `seen` grows with each thing that it may see. */
function machine(snoopsTables: boolean) {
  const platform = new FakePlatform();
  const context = fakeContext(platform);
  const written = new Map<number, number>();
  const seen: (Int32Array | undefined)[] = [];
  const { memory } = platform;
  let root = 0;
  const word = (address: number): number =>
    snoopsTables ? memory.load32(address) : (written.get(address) ?? -1);
  const look = (): void => {
    if (root === 0) return;
    seen.push(
      entryOf((address, words) => Int32Array.from({ length: words }, (_, i) => word(address + i * 4)), root),
    );
  };
  platform.memory = {
    ...memory,
    store64(address, lo, hi) {
      memory.store64(address, lo, hi);
      if (snoopsTables) look();
    },
    flush(address, bytes) {
      for (let at = address; at < address + bytes; at += 4) written.set(at, memory.load32(at));
      look();
    },
  };
  const tables = UnitTables.create(context, { ...CAPS, snoopsTables }, 'dmar0');
  if (isRefusal(tables)) throw new Error(tables.why);
  root = tables.root;
  expect(tables.addDevice(DEVICE)).toBeUndefined();
  return { tables, seen };
}

const isPresent = (entry: Int32Array | undefined): boolean =>
  entry !== undefined && PASID_TABLE_ENTRY.P.get(entry, 0) === 1;

describe('PASID entries', () => {
  it('are seen whole or not at all, on a unit that sees what was written back', () => {
    const { tables, seen } = machine(false);
    expect(tables.set(DEVICE, PASID, entry(7, 0x1234))).toBeUndefined();
    const whole = seen.at(-1);
    expect(isPresent(whole)).toBe(true);
    expect(PASID_TABLE_ENTRY.FSPTPTR.get(whole ?? new Int32Array(16), 0)).toBe(0x1234);
    tables.clearPresent(DEVICE, PASID, true);
    const cleared = seen.at(-1);
    expect(PASID_TABLE_ENTRY.FPD.get(cleared ?? new Int32Array(16), 0)).toBe(1);
    expect(cleared?.slice(1)).toEqual(whole?.slice(1));
    tables.empty(DEVICE, PASID, false);
    expect(seen.at(-1)).toEqual(new Int32Array(16));
    for (const entry of seen) if (isPresent(entry)) expect(entry).toEqual(whole);
  });

  it('are seen whole or not at all after each store', () => {
    const { tables, seen } = machine(true);
    for (let round = 0; round < 2; round++) {
      const before = seen.length;
      tables.set(DEVICE, PASID, entry(7 + round, 0x1234 + round));
      const whole = seen.at(-1);
      tables.clearPresent(DEVICE, PASID, false);
      tables.empty(DEVICE, PASID, false);
      const present = seen.slice(before).filter(isPresent);
      expect(present).toEqual([whole]);
      expect(seen.at(-1)).toEqual(new Int32Array(16));
    }
  });

  it.each([
    ['snoops', true],
    ['sees what was written back', false],
  ])(
    'are replaced from one store to the next, on a unit that %s, also back and again',
    (_what, snoopsTables) => {
      const { tables, seen } = machine(snoopsTables);
      expect(tables.set(DEVICE, PASID, entry(7, 0x1234))).toBeUndefined();
      expect(tables.set(DEVICE, PASID + 1, entry(9, 0x1111))).toBeUndefined();
      const before = seen.length;
      let spare = tables.allocSpare(DEVICE);
      for (let round = 0; round < 4; round++) {
        if (isRefusal(spare)) throw new Error(spare.why);
        const words = entry(8 + round, 0x5678 + round);
        const old = seen.at(-1);
        spare = tables.replace(DEVICE, PASID, { words, spare });
        expect(seen.at(-1)).toEqual(words);
        for (const each of seen.slice(before)) expect([old, words, each].filter(isPresent)).toHaveLength(3);
      }
      const distinct = new Set(seen.slice(before).map((words) => words?.join()));
      // The first one and the four that came after it.
      expect(distinct.size).toBe(5);
      tables.clearPresent(DEVICE, PASID + 1, false);
      expect(isPresent(seen.at(-1))).toBe(true);
    },
  );
});
