import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bug } from './bug.js';
import { KeptList, KeptMap, KeptObject, KeptSlots, KeptTable, KeptValue, UndoLog } from './undo.js';

class Door extends KeptObject {
  readonly isOpen: boolean = false;
  readonly guest: string | undefined;
}

describe('UndoLog', () => {
  it('puts back values, maps in their order, and lists', () => {
    const log = new UndoLog();
    const value = new KeptValue(log, 1);
    const map = new KeptMap<string, number>(log);
    const list = new KeptList<number>(log);
    for (const key of ['a', 'b', 'c']) map.set(key, key.charCodeAt(0));
    for (const item of [1, 2, 3]) list.push(item);
    log.mark();
    for (let round = 0; round < 2; round++) {
      value.value = 2;
      value.value = 3;
      map.delete('a');
      map.set('d', 0);
      map.set('a', 7);
      list.remove(2);
      list.shift();
      list.push(9);
      expect([value.value, map.keys(), list.items]).toEqual([3, ['b', 'c', 'd', 'a'], [3, 9]]);
      log.restore();
      expect([value.value, map.keys(), map.get('a'), list.items]).toEqual([
        1,
        ['a', 'b', 'c'],
        97,
        [1, 2, 3],
      ]);
    }
  });

  it('keeps a map of few as it keeps one of many', () => {
    const log = new UndoLog();
    const map = new KeptMap<number, string>(log);
    for (const count of [1, 2, 8, 9, 20]) {
      for (let key = map.size; key < count; key++) map.set(key, `${key}`);
      log.mark();
      expect(map.keys()).toEqual([...Array(count).keys()]);
      expect(map.find((value) => Number(value) === count - 1)).toBe(`${count - 1}`);
      map.delete(0);
      map.set(0, 'again');
      expect([map.find((value) => value === 'again'), map.find(() => false)]).toEqual(['again', undefined]);
      log.restore();
      expect(map.get(0)).toBe('0');
    }
  });

  it('puts back slots and tables, entry by entry; twice to the same mark', () => {
    const log = new UndoLog();
    const [slots, table] = [new KeptSlots<object>(log), new KeptTable<string, number | undefined>(log)];
    const [a, b] = [{}, {}];
    slots.set(3, a);
    table.set('a', undefined);
    log.mark();
    for (let round = 0; round < 2; round++) {
      slots.set(3, b);
      slots.set(3, undefined);
      slots.set(5, b);
      expect(slots.list()).toEqual([b]);
      table.delete('a');
      table.set('a', 2);
      table.set('b', 3);
      expect([table.size, table.delete('c'), table.get('b')]).toEqual([2, false, 3]);
      log.restore();
      expect([slots.at(3), slots.at(5), slots.list()]).toEqual([a, undefined, [a]]);
      expect([table.has('a'), table.get('a'), table.has('b'), table.size]).toEqual([
        true,
        undefined,
        false,
        1,
      ]);
    }
  });

  it('puts back the fields of an object that says when they change', () => {
    const log = new UndoLog();
    const door = new Door(log);
    door.change().guest = 'Ann';
    log.mark();
    for (let round = 0; round < 2; round++) {
      door.change().isOpen = true;
      door.change().guest = undefined;
      expect({ ...door }).toEqual({ isOpen: true, guest: undefined });
      log.restore();
      expect({ ...door }).toEqual({ isOpen: false, guest: 'Ann' });
    }
  });

  it('saves of a container that came after the mark nothing until the next one', () => {
    const log = new UndoLog();
    log.mark();
    const table = new KeptTable<number, string>(log);
    table.set(1, 'one');
    log.mark();
    table.set(1, 'two');
    table.set(2, 'two');
    log.restore();
    expect([table.get(1), table.has(2)]).toEqual(['one', false]);
  });

  it('goes back to the last mark, not to an earlier one', () => {
    const log = new UndoLog();
    const value = new KeptValue(log, 1);
    log.mark();
    value.value = 2;
    log.mark();
    value.value = 3;
    log.restore();
    expect(value.value).toBe(2);
  });

  it('cannot restore what was never marked', () => {
    expect(() => new UndoLog().restore()).toThrow(Bug);
  });
});

describe('KeptMap', () => {
  const aKey = fc.option(fc.nat(20), { nil: undefined });
  const steps = fc.array(fc.tuple(aKey, fc.option(fc.nat(), { nil: undefined })), { maxLength: 60 });

  it('is a map, however many its keys are, and goes back to the mark', () => {
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const log = new UndoLog();
        const kept = new KeptMap<number | undefined, number>(log);
        const map = new Map<number | undefined, number>();
        const change = (to: typeof before): void => {
          for (const [key, value] of to) {
            if (value === undefined) expect(kept.delete(key)).toBe(map.delete(key));
            else kept.set(key, value);
            if (value !== undefined) map.set(key, value);
            expect([kept.size, kept.get(key), kept.has(key)]).toEqual([map.size, map.get(key), map.has(key)]);
          }
          expect([kept.keys(), kept.values()]).toEqual([[...map.keys()], [...map.values()]]);
        };
        change(before);
        const marked = [...map];
        log.mark();
        change(after);
        log.restore();
        expect(kept.keys().map((key) => [key, kept.get(key)])).toEqual(marked);
      }),
    );
  });
});
