/** Memory as it was written back: old lines, new lines, and which of them a cache gives up by itself. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { firstChooser } from '../base/index.js';
import { Bus } from './bus.js';
import { ABSENT, Memory } from './memory.js';
import { WrittenBack } from './written-back.js';

function setUp(lines = 64) {
  const memory = new Memory([{ first: 0, last: 15 }]);
  const view = new WrittenBack({ name: 'CPU caches', memory, chooser: firstChooser, lines });
  const bus = new Bus(memory, { mapped: [] }, view);
  const seen = (address: number): number | undefined => {
    const at = view.at(Math.floor(address / 4096), (address % 4096) / 4);
    return view.words[at];
  };
  return { memory, view, bus, seen };
}

test('a store is seen by CPUs at once, by others once it is written back', () => {
  const { bus, view, seen } = setUp();
  bus.write32(0x1040, 7);
  expect([bus.read32(0x1040), seen(0x1040)]).toEqual([7, 0]);
  bus.flush(0x107f, 1);
  expect([seen(0x1040), view.dirty]).toEqual([7, 0]);
});

test('stores of all sizes, over lines and frames', () => {
  const { bus, view, seen } = setUp();
  bus.write64(0x1078, 1, 2);
  bus.write512(
    0x1080,
    Int32Array.from({ length: 16 }, (_, i) => i),
  );
  expect([view.dirty, seen(0x107c), seen(0x1084)]).toEqual([2, 0, 0]);
  bus.flush(0x1040, 0x80);
  expect([view.dirty, seen(0x107c), seen(0x1084)]).toEqual([0, 2, 1]);
});

test('where there is no room, a line is written back', () => {
  const { bus, view, seen } = setUp(2);
  for (const address of [0x1000, 0x2000, 0x3000]) bus.write32(address, 5);
  expect([view.dirty, seen(0x1000), seen(0x2000), seen(0x3000)]).toEqual([2, 5, 0, 0]);
});

test('what is not there is not', () => {
  const { view } = setUp();
  view.storing(0x10_0000, 4);
  expect([view.at(0x100, 0), view.dirty]).toEqual([ABSENT, 0]);
});

test('each line is as it was when it was written back last, and can be put back', () => {
  const address = fc.integer({ min: 0, max: 255 }).map((word) => 0x1fe0 + word * 4);
  const step = fc.record({ address, value: fc.integer({ min: 1 }), flushes: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 30 }), (steps, more) => {
      const { memory, view, bus, seen } = setUp();
      const line = (at: number): number => Math.floor(at / 64);
      const stored = new Map<number, number>();
      const visible = new Map<number, number>();
      const run = (all: typeof steps): void => {
        for (const each of all) {
          bus.write32(each.address, each.value);
          stored.set(each.address, each.value);
          if (!each.flushes) continue;
          bus.flush(each.address, 4);
          for (const [at, value] of stored) if (line(at) === line(each.address)) visible.set(at, value);
        }
      };
      const look = () => steps.concat(more).map(({ address: at }) => [at, seen(at)]);
      const expected = () => steps.concat(more).map(({ address: at }) => [at, visible.get(at) ?? 0]);
      run(steps);
      const then = look();
      expect(then).toEqual(expected());
      memory.mark();
      view.mark();
      run(more);
      expect(look()).toEqual(expected());
      memory.restore();
      view.restore();
      expect(look()).toEqual(then);
    }),
  );
});
