import { describe, expect, test } from 'vitest';
import { REGIONS } from '../../../test/inspect/fake-qemu.js';
import { memoryFrames, parseDump, parseRegions, type Region } from './monitor-text.js';

describe('the map of the address space', () => {
  test('is that of the CPUs, not of their ports', () => {
    expect(parseRegions(REGIONS)).toEqual([
      { first: 0n, last: 0xbfffn, type: 'ram', name: 'pc.ram' },
      { first: 0xd000n, last: 0xff_ffffn, type: 'ram', name: 'pc.ram' },
      { first: 0xfea0_0000n, last: 0xfeaf_ffffn, type: 'i/o', name: 'edu-mmio' },
      { first: 0xfed9_0000n, last: 0xfed9_022fn, type: 'i/o', name: 'intel_iommu' },
    ]);
    expect(parseRegions('unknown command')).toBeUndefined();
  });

  test('is read with 0x before its addresses, and with an accelerator behind the names', () => {
    const text =
      'FlatView #0\n AS "memory", root: system\n' +
      '  0x0000000000000000-0x0000000000000fff (prio -1, nv-ram): nvdimm @0x0000000000001000 KVM\n';
    expect(parseRegions(text)).toEqual([{ first: 0n, last: 0xfffn, type: 'nv-ram', name: 'nvdimm' }]);
  });

  const region = (first: number, last: number, type: string): Region => ({
    ...{ first: BigInt(first), last: BigInt(last), type, name: '' },
  });

  test.each([
    {
      what: 'joins neighbours',
      regions: [region(0, 0x1fff, 'ram'), region(0x2000, 0x3fff, 'rom')],
      frames: [[0, 3]],
    },
    {
      what: 'joins the parts of a frame',
      regions: [region(0, 0x7ff, 'ram'), region(0x800, 0xfff, 'romd')],
      frames: [[0, 0]],
    },
    {
      what: 'leaves out frames that are there in part',
      regions: [region(0x800, 0x2fff, 'nv-ram'), region(0x4000, 0x47ff, 'ram')],
      frames: [[1, 2]],
    },
    {
      what: 'leaves out a real device and registers',
      regions: [region(0, 0xfff, 'ramd'), region(0x1000, 0x1fff, 'i/o')],
      frames: [],
    },
  ])('$what', ({ regions, frames }) => {
    expect(memoryFrames(regions)).toEqual(frames.map(([first, last]) => ({ first, last })));
  });
});

describe('a dump', () => {
  const two = '00001000: 0x00000001 0xffffffff 0x00000003 0x00000004\r\n00001010: 0x00000005\r\n';

  test('gives its words', () => {
    expect(parseDump(two, 0x1000n, 5)).toEqual(Int32Array.of(1, -1, 3, 4, 5));
    expect(parseDump(two.replaceAll(/^0000/gm, '0x'), 0x1000n, 5)).toBeDefined();
  });

  test('may end where there is no more memory', () => {
    const text = `${two.split('\r\n')[0]}\r\n00001010: Cannot access memory\r\n`;
    expect(parseDump(text, 0x1000n, 8)).toEqual(Int32Array.of(1, -1, 3, 4));
    expect(parseDump('00001000: Cannot access memory\r\n', 0x1000n, 8)).toEqual(new Int32Array(0));
  });

  test.each([
    { what: 'nothing', text: '', count: 5 },
    { what: 'an error', text: 'unexpected end of expression\r\n', count: 5 },
    { what: 'another address', text: two.replace('1010', '1014'), count: 5 },
    { what: 'too few words', text: two, count: 6 },
    { what: 'too many words', text: two, count: 4 },
    { what: 'words of another size', text: two.replace('0x00000005', '0x05'), count: 5 },
  ])('with $what in it is none', ({ text, count }) => {
    expect(parseDump(text, 0x1000n, count)).toBeUndefined();
  });
});
