import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRefusal, UndoLog } from '../../base/index.js';
import { IovaSpace } from './iova.js';

const LAST = 255;
const RESERVED = { first: 200, last: 207 };

const space = (log = new UndoLog()) => new IovaSpace(log, { last: LAST, reserved: [RESERVED] });

/** Pages one by one: the highest run that fits is found by looking at each. */
class Model {
  readonly #taken = new Set<number>();
  readonly #runs = new Map<number, number>();

  constructor() {
    for (let page = RESERVED.first; page <= RESERVED.last; page++) this.#taken.add(page);
  }

  get runs(): number[] {
    return [...this.#runs.keys()];
  }

  alloc(count: number, last: number): number | undefined {
    let align = 1;
    while (align < count) align *= 2;
    for (let first = Math.min(last, LAST) - count + 1; first > 0; first--) {
      const pages = Array.from({ length: count }, (_, i) => first + i);
      if (first % align !== 0 || pages.some((page) => this.#taken.has(page))) continue;
      for (const page of pages) this.#taken.add(page);
      this.#runs.set(first, count);
      return first;
    }
    return undefined;
  }

  free(first: number): { first: number; last: number } {
    const count = this.#runs.get(first) ?? 0;
    for (let i = 0; i < count; i++) this.#taken.delete(first + i);
    this.#runs.delete(first);
    return { first, last: first + count - 1 };
  }
}

const commands = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 40 }), last: fc.nat(300) }) },
    { weight: 2, arbitrary: fc.record({ free: fc.nat(1000) }) },
  ),
  { maxLength: 60 },
);

describe('addresses for DMA', () => {
  it('are the highest that fit, as a model finds them page by page', () => {
    fc.assert(
      fc.property(commands, (all) => {
        const [real, model] = [space(), new Model()];
        for (const each of all) {
          if ('count' in each) {
            const got = real.alloc(each.count, each.last);
            expect(isRefusal(got) ? undefined : got).toBe(model.alloc(each.count, each.last));
          } else if (model.runs.length > 0) {
            const first = model.runs[each.free % model.runs.length] ?? 0;
            expect(real.runAt(first)).toEqual(model.free(first));
            real.free(first);
          }
        }
      }),
    );
  });

  it('come back with a restore', () => {
    const log = new UndoLog();
    const addresses = space(log);
    const first = addresses.alloc(16);
    log.mark();
    expect(addresses.alloc(16)).not.toBe(first);
    addresses.free(240);
    log.restore();
    expect([first, addresses.alloc(16)]).toEqual([240, 224]);
  });

  it('are not given back by who never had them', () => {
    expect(() => space().free(RESERVED.first)).toThrow(/was not given/);
    expect(() => space().free(3)).toThrow(/was not given/);
  });
});
