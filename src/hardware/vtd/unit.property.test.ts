/**
 * A unit with small caches against the walk without any: where each change of a table is followed by the
 * invalidation that it needs, both agree on every request; where none is, the unit's answer is one that the
 * walk gave at some time before.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DATA, OTHER_RID, RID, UnitBench, USER_PAGE } from '../../../test/vtd/unit-bench.js';
import { Random, RandomChooser } from '../../base/index.js';
import { FRAME_BYTES, type Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import { DeviceTables } from './device-tables.js';
import { Walk } from './walk.js';

const PASIDS = [0, 5, 6, 70];
/** Two pages of one table, one of another, one of another half; and the 2 MiB page that holds the first two. */
const PAGES = [0x400, 0x401, 0x7_ffff_ffff, 0x8_0000];
const LARGE = 0x400;
const DOMAINS = [1, 2];
const RIDS = [RID, OTHER_RID];
const RIGHTS = [RIGHT.READ, RIGHT.WRITE].map((right) => right | RIGHT.USER);

const among = <T>(values: readonly T[]) => fc.constantFrom(...values);
const frames = fc.integer({ min: DATA, max: DATA + 15 });

/** A change of the tables, or a request. */
const action = fc.oneof(
  fc.record({ do: fc.constant('map' as const), pasid: among(PASIDS), page: among(PAGES), frame: frames }),
  fc.record({ do: fc.constant('protect' as const), pasid: among(PASIDS), page: among(PAGES), frame: frames }),
  fc.record({ do: fc.constant('unmap' as const), pasid: among(PASIDS), page: among(PAGES) }),
  fc.record({ do: fc.constant('mapLarge' as const), pasid: among(PASIDS) }),
  fc.record({ do: fc.constant('move' as const), pasid: among(PASIDS), page: among(PAGES), frame: frames }),
  fc.record({ do: fc.constant('bind' as const), pasid: among(PASIDS), domain: among(DOMAINS) }),
  fc.record({ do: fc.constant('unbind' as const), pasid: among(PASIDS) }),
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ do: fc.constant('access' as const), pasid: among(PASIDS), page: among(PAGES) },
      ...{ rid: among(RIDS), rights: among(RIGHTS) },
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

const run = fc.record({
  actions: fc.array(action, { minLength: 1, maxLength: 60, size: 'max' }),
  entries: fc.integer({ min: 2, max: 6 }),
  forgets: fc.boolean(),
  seed: fc.nat(),
});

/** What a PASID is bound to. */
interface Binding {
  readonly root: number;
  readonly domain: number;
}

class Machine {
  readonly bench: UnitBench;
  readonly random: Random;
  readonly bindings = new Map<number, Binding>();
  readonly #walk: Walk;
  /** Whether tables are flushed after each change. */
  readonly #flushes: boolean;

  constructor(
    { entries, forgets, seed }: { entries: number; forgets: boolean; seed: number },
    flushes: boolean,
  ) {
    this.random = new Random(seed);
    this.bench = new UnitBench({
      chooser: new RandomChooser(this.random),
      caches: { context: 2, pasid: entries, iotlb: entries, forgets },
    }).enable();
    this.#flushes = flushes;
    this.#walk = new Walk(this.bench.memory, 1, new DeviceTables(this.bench.unit.format, true));
  }

  /** What the walk alone answers: a frame, or the fault. */
  expected(access: Extract<Action, { do: 'access' }>): string {
    this.#walk.begin({ ...access });
    return this.#walk.run() ? `frame ${this.#walk.target}` : `fault ${this.#walk.fault}`;
  }

  /** What the unit answers. */
  actual({ pasid, page, rights, rid }: Extract<Action, { do: 'access' }>): string {
    const frame = this.bench.frameOf(pasid, page, rights, rid);
    return frame === undefined ? `fault ${this.bench.faults()[0]?.reason}` : `frame ${frame}`;
  }

  /** Changes the tables; nothing happens where the PASID is not bound. */
  change(step: Exclude<Action, { do: 'access' }>): void {
    const bound = this.bindings.get(step.pasid);
    if (step.do === 'bind') {
      this.#drop(step.pasid, bound);
      this.bindings.set(step.pasid, { root: this.bench.bind(step.pasid, step.domain), domain: step.domain });
    } else if (bound !== undefined) {
      if (step.do === 'unbind') this.#drop(step.pasid, bound);
      else this.#changePage(step, bound);
    }
  }

  #changePage(step: Exclude<Action, { do: 'access' | 'bind' | 'unbind' }>, { root, domain }: Binding): void {
    const { bench } = this;
    if (step.do === 'mapLarge') {
      bench.map(root, LARGE, 0xe00, USER_PAGE | 0x80, 2);
      if (this.#flushes) bench.flushPage(domain, step.pasid, LARGE, 9);
      return;
    }
    if (step.do === 'move') {
      // Another table of level 1, that maps this page alone.
      const table = bench.newTable();
      bench.put(table, step.page % 512, BigInt(step.frame * 4096 + USER_PAGE));
      bench.map(root, step.page, table, USER_PAGE, 2);
      if (this.#flushes) bench.flushPage(domain, step.pasid, step.page, 9);
      return;
    }
    const isInLarge = step.page >= LARGE && step.page < LARGE + 512;
    if (
      isInLarge &&
      (bench.leaf(root, LARGE, 3) & 1n) !== 0n &&
      (bench.leaf(root, LARGE, 2) & 0x81n) === 0x81n
    ) {
      bench.unmap(root, LARGE, 2);
      if (this.#flushes) bench.flushPage(domain, step.pasid, LARGE, 9);
    }
    if (step.do === 'unmap') bench.unmap(root, step.page);
    else bench.map(root, step.page, step.frame, step.do === 'map' ? USER_PAGE : USER_PAGE & ~2);
    if (this.#flushes) bench.flushPage(domain, step.pasid, step.page);
  }

  #drop(pasid: number, bound: Binding | undefined): void {
    if (bound === undefined) return;
    this.bench.unbind(pasid);
    this.bindings.delete(pasid);
    if (this.#flushes) this.bench.flushPasid(bound.domain, pasid);
  }
}

/** All tables, as a number that differs where a byte does. */
function bytesOf(memory: Memory): number {
  let sum = 0;
  const bytes = new Uint8Array(0x100 * FRAME_BYTES);
  memory.read(0, bytes);
  for (const word of new Int32Array(bytes.buffer)) sum = (Math.imul(sum, 31) + word) | 0;
  return sum;
}

test('with each change flushed, a unit answers as the walk does', () => {
  fc.assert(
    fc.property(run, ({ actions, ...options }) => {
      const machine = new Machine(options, true);
      for (const step of actions) {
        if (step.do !== 'access') machine.change(step);
        else expect(machine.actual(step)).toBe(machine.expected(step));
      }
    }),
    { numRuns: 150 },
  );
});

test('without flushes, a unit answers as the walk does, or did', () => {
  const key = ({ pasid, page, rights, rid }: Extract<Action, { do: 'access' }>): string =>
    `${rid} ${pasid} ${page} ${rights}`;
  fc.assert(
    fc.property(run, ({ actions, ...options }) => {
      const machine = new Machine(options, false);
      const accesses = actions.filter((step) => step.do === 'access');
      const history = new Map<string, Set<string>>(accesses.map((access) => [key(access), new Set()]));
      const remember = (): void => {
        for (const access of accesses) history.get(key(access))?.add(machine.expected(access));
      };
      remember();
      for (const step of actions) {
        if (step.do === 'access') expect([...(history.get(key(step)) ?? [])]).toContain(machine.actual(step));
        else machine.change(step);
        remember();
      }
    }),
    { numRuns: 150 },
  );
});

test('a restored unit goes on as it did', () => {
  fc.assert(
    fc.property(run, fc.nat({ max: 59 }), ({ actions, ...options }, at) => {
      const machine = new Machine({ ...options, forgets: false }, true);
      const { memory, unit } = machine.bench;
      const before = actions.slice(0, at);
      for (const step of before) if (step.do !== 'access') machine.change(step);
      for (const step of before) if (step.do === 'access') machine.actual(step);
      memory.mark();
      unit.mark();
      const accesses = actions.filter((step) => step.do === 'access');
      const seed = machine.random.next() & 0xffff;
      const once = (): unknown[] => {
        machine.random.seed(seed);
        const cached: unknown[] = [];
        const answers = accesses.map((access) => machine.actual(access));
        unit.translator.caches.iotlb.visit((entry) => cached.push({ ...entry }));
        unit.translator.caches.pasids.visit((...tags) => cached.push(tags));
        return [answers, cached, unit.read32(0x34), unit.read32(0x80), bytesOf(memory)];
      };
      const first = once();
      unit.restore();
      memory.restore();
      expect(once()).toEqual(first);
    }),
    { numRuns: 100 },
  );
});
