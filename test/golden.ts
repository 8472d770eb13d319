/**
 * Golden bytes: each field of a layout against the mask that other programs have for it, and whole structures
 * against values that were written down by hand or captured. Neither comes from the layouts, so that an error
 * in a table has nothing to agree with.
 */
import { describe, expect, test } from 'vitest';
import { decode, encode, type Layout, type LayoutInfo, wordsOf } from '../src/spec/index.js';

/** The golden values of one layout. 64-bit values stand low one first. */
export interface Golden {
  readonly layout: LayoutInfo;
  /** Each field's bits: the index of the 64-bit value that it lies in, and its mask there. */
  readonly masks: Readonly<Record<string, readonly [quad: number, mask: bigint]>>;
  /** Structures as they lie in memory, with all fields that are not zero. */
  readonly examples?: readonly {
    readonly quads: readonly bigint[];
    readonly fields: Readonly<Record<string, number | bigint>>;
  }[];
}

/** The layouts that a module exports, by their exported names. */
export function layoutsOf(module: Readonly<Record<string, unknown>>): Map<string, LayoutInfo> {
  const found = new Map<string, LayoutInfo>();
  for (const [name, value] of Object.entries(module)) if (isLayout(value)) found.set(name, value);
  return found;
}

/** Tests that each layout that `module` exports has its golden values, and agrees with them. */
export function testGolden(module: Readonly<Record<string, unknown>>, golden: readonly Golden[]): void {
  test('each layout has golden values', () => {
    const known = new Set(golden.map(({ layout }) => layout));
    expect([...layoutsOf(module)].filter(([, layout]) => !known.has(layout)).map(([name]) => name)).toEqual(
      [],
    );
  });

  describe.each(golden.map((each) => ({ ...each, name: each.layout.name })))('$name', (each) => {
    test('has these fields, at these bits', () => {
      const fields = each.layout.fields.map(({ name }) => name);
      expect(fields.toSorted()).toEqual(Object.keys(each.masks).toSorted());
      for (const field of each.layout.fields) {
        const [quad, mask] = each.masks[field.name] ?? [0, 0n];
        const ones = (1n << BigInt(field.width)) - 1n;
        const quads = Array.from({ length: Math.ceil(each.layout.bytes / 8) }, (_, i) =>
          i === quad ? mask : 0n,
        );
        expect(encoded(each.layout, { [field.name]: ones }), field.name).toEqual(quads);
        const decoded = decode(each.layout, wordsOf(...quads));
        const set = decoded.fields.filter(({ value }) => value !== 0n);
        expect(set.map(({ field: { name }, value }) => [name, value])).toEqual([[field.name, ones]]);
        expect(decoded.reserved).toEqual([]);
      }
    });

    test.each(each.examples ?? [])('$fields', ({ quads, fields }) => {
      expect(encoded(each.layout, fields)).toEqual(quads);
      const decoded = decode(each.layout, wordsOf(...quads));
      const set = decoded.fields.filter(({ value }) => value !== 0n);
      const expected = Object.entries(fields).map(([name, value]) => [name, BigInt(value)]);
      expect(Object.fromEntries(set.map(({ field, value }) => [field.name, value]))).toEqual(
        Object.fromEntries(expected),
      );
      expect(decoded.reserved).toEqual([]);
    });
  });
}

function isLayout(value: unknown): value is LayoutInfo {
  return typeof value === 'object' && value !== null && 'fields' in value && 'reserved' in value;
}

/** A structure as 64-bit values, by way of its bytes, so that their order is tested too. */
function encoded(of: LayoutInfo, fields: Readonly<Record<string, number | bigint>>): bigint[] {
  const words = encode(of as Layout<string>, fields);
  const bytes = new Uint8Array(Math.ceil(of.bytes / 8) * 8);
  bytes.set(new Uint8Array(words.buffer));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 8 }, (_, i) => view.getBigUint64(i * 8, true));
}
