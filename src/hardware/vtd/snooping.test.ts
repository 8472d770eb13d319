/** Units that do not snoop: what a driver has not written back is not seen, unless the cache did it by itself. */
import { describe, expect, test } from 'vitest';
import { DATA, ECAP, UnitBench } from '../../../test/vtd/unit-bench.js';
import { firstChooser } from '../../base/index.js';

const C = 1n;
const SMPWC = 1n << 48n;
const PAGE = 0x10;
const ALL = 0x1000 * 4096;

/** A unit with PASID 5, all written back but its page. */
function bound(ecap: bigint, fields: Readonly<Record<string, number>>, chooser = firstChooser) {
  const bench = new UnitBench({ ecap, writesBack: chooser });
  bench.enable();
  const root = bench.bind(5, 1, fields);
  bench.map(root, PAGE + 1, DATA + 1);
  bench.writtenBack?.flush(0, ALL);
  bench.map(root, PAGE, DATA);
  return { bench, root };
}

describe('paging structures', () => {
  test.each([
    ['snooped', ECAP, 1, DATA],
    ['that their PASID does not have snooped', ECAP, 0, undefined],
    ['of a unit that cannot', ECAP & ~SMPWC, 0, undefined],
  ])('%s', (_, ecap, PWSNP, frame) => {
    const { bench, root } = bound(ecap, { PWSNP });
    expect(bench.frameOf(5, PAGE)).toBe(frame);
    expect(bench.frameOf(5, PAGE + 1)).toBe(DATA + 1);
    bench.writtenBack?.flush(bench.tableOf(root, PAGE, 1) * 4096 + PAGE * 8, 8);
    expect(bench.frameOf(5, PAGE)).toBe(DATA);
  });

  test('what the cache has written back by itself is seen', () => {
    const { bench } = bound(ECAP, { PWSNP: 0 }, { choose: () => 1 });
    expect(bench.frameOf(5, PAGE)).toBe(DATA);
  });

  test('an entry that was cleared goes on to be used', () => {
    const { bench, root } = bound(ECAP, { PWSNP: 0 });
    bench.unmap(root, PAGE + 1);
    expect(bench.frameOf(5, PAGE + 1)).toBe(DATA + 1);
  });
});

describe('tables of devices and PASIDs', () => {
  test.each([
    ['snooped', ECAP, DATA],
    ['not snooped', ECAP & ~C, undefined],
  ])('%s', (_, ecap, frame) => {
    const { bench } = bound(ecap, { PWSNP: 1 });
    bench.map(bench.bind(6, 1), PAGE, DATA);
    expect(bench.frameOf(6, PAGE)).toBe(frame);
    bench.writtenBack?.flush(0, ALL);
    expect(bench.frameOf(6, PAGE)).toBe(DATA);
  });
});
