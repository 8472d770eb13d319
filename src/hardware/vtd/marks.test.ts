/** Accessed and dirty bits where software changes an entry between the unit's read of it and its mark. */
import { expect, test } from 'vitest';
import { DATA, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { PGTT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';

const { READ, WRITE, USER } = RIGHT;
const PAGE = 0x10;

/** PASID 5 with a page, of the first stage or the second; `change` runs at the `turn`-th mark. */
function racing(stage: 'first' | 'second', turn: number, change: (bench: UnitBench, root: number) => void) {
  let marks = 0;
  let root = 0;
  const bench: UnitBench = new UnitBench({
    beforeMark: () => {
      if (++marks === turn) change(bench, root);
    },
  }).enable();
  if (stage === 'first') root = bench.bind(5, 1);
  else {
    root = bench.newTable();
    bench.setPasid(5, { P: 1, PGTT: PGTT.SECOND_STAGE, DID: 1, AW: 2, SSPTPTR: root, SSADE: 1 });
  }
  bench.map(root, PAGE, DATA, stage === 'first' ? USER_PAGE : 3);
  return { bench, root, marks: () => marks };
}

test.each(['first', 'second'] as const)(
  'an entry of the %s stage that was cleared is not marked',
  (stage) => {
    const { bench, root } = racing(stage, 4, (each, table) => each.unmap(table, PAGE));
    expect(bench.frameOf(5, PAGE)).toBe(undefined);
    expect(bench.leaf(root, PAGE)).toBe(0n);
  },
);

test.each(['first', 'second'] as const)('one of the %s stage that leads elsewhere is read again', (stage) => {
  const bits = stage === 'first' ? USER_PAGE : 3;
  const { bench, root, marks } = racing(stage, 4, (each, table) => each.map(table, PAGE, DATA + 1, bits));
  expect(bench.frameOf(5, PAGE, WRITE | USER)).toBe(DATA + 1);
  expect(bench.leaf(root, PAGE)).toBe(BigInt((DATA + 1) * 4096 + bits + (stage === 'first' ? 0x60 : 0x300)));
  // Three tables, and the page twice.
  expect(marks()).toBe(5);
});

test('an entry that has its marks gives nobody a chance', () => {
  const { bench, marks } = racing('first', 0, () => {});
  bench.frameOf(5, PAGE, WRITE | USER);
  bench.flushPasid(1, 5);
  bench.frameOf(5, PAGE, READ | USER);
  expect(marks()).toBe(4);
});
