import { describe, expect, test } from 'vitest';
import { literalTranslation } from '../../../test/vtd/literal-translation.js';
import { memoryOf, outcomeOf, requestOf, walkOf } from '../../../test/vtd/machine-memory.js';
import { Draw, randomMachine, randomRequest } from '../../../test/vtd/random-machine.js';
import { Bug } from '../../base/index.js';
import { RIGHT } from '../paging/step.js';
import { NO_PASID, type Request } from './request.js';
import type { Walk } from './walk.js';

const MACHINES = 1000;
const REQUESTS = 20;

/** What a walk went through: its translation, and the levels of its stages. */
function shapeOf({ tables: { space } }: Walk): string {
  return `${space.translation} ${space.firstLevels} ${space.secondLevels}`;
}

describe('a walk agrees with the literal translation', () => {
  const faults = new Map<number, number>();
  const granted = new Map<string, number>();
  const spans = new Set<bigint>();

  function compare(seed: number): void {
    const machine = randomMachine(seed);
    const memory = memoryOf(machine.words, { first: 0, last: machine.lastFrame });
    const walk = walkOf(machine, memory);
    const draw = new Draw(seed + MACHINES);
    for (let i = 0; i < REQUESTS; i++) {
      const request = randomRequest(draw);
      const expected = literalTranslation(machine, request);
      walk.begin(requestOf(request));
      walk.run();
      expect({ seed, request, ...outcomeOf(walk, request) }).toEqual({ seed, request, ...expected });
      if ('fault' in expected) faults.set(expected.fault, (faults.get(expected.fault) ?? 0) + 1);
      else granted.set(shapeOf(walk), (granted.get(shapeOf(walk)) ?? 0) + 1);
      if ('span' in expected) spans.add(expected.span);
    }
  }

  test(`of ${REQUESTS} requests in each of ${MACHINES} machines at random`, () => {
    for (let seed = 0; seed < MACHINES; seed++) compare(seed);
  }, 60_000);

  test('and these requests met every fault that a walk can end with', () => {
    const legacy = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0e, 0x31];
    const tables = [0x38, 0x39, 0x3a, 0x40, 0x41, 0x42, 0x45, 0x46, 0x48, 0x50, 0x51, 0x52];
    const pasid = [0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d];
    const first = [0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76];
    const second = [0x78, 0x79, 0x7a, 0x7b];
    const general = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x87];
    const all = [...legacy, ...tables, ...pasid, ...first, ...second, ...general];
    expect([...faults.keys()].toSorted((a, b) => a - b)).toEqual(all);
  });

  test('and these were granted: every translation, every number of levels, every size of page', () => {
    const nested = ['4 3', '4 4', '4 5', '5 3', '5 4', '5 5'].map((levels) => `nested ${levels}`);
    const others = ['first-stage 4 0', 'first-stage 5 0', 'second-stage 0 3', 'second-stage 0 4'];
    const shapes = [...nested, ...others, 'second-stage 0 5', 'pass-through 0 0'];
    expect([...granted.keys()]).toEqual(expect.arrayContaining(shapes));
    expect([...spans].toSorted((a, b) => Number(a - b))).toEqual([1n << 12n, 1n << 21n, 1n << 30n]);
  });
});

describe('a nested walk of 4 levels over 4, step by step', () => {
  const SECOND = 0x20n;
  const FIRST = 0x30n;
  // Requester 01:02.3, PASID 0x45: root entry 1, context entry 0x13, directory entry 1, table entry 5.
  const structures: [bigint, bigint][] = [
    [0x1010n, 0x2001n],
    [0x2260n, 0x3000n | (1n << 3n) | 1n],
    [0x3008n, 0x4001n],
    [0x4140n, (SECOND << 12n) | (3n << 6n) | (2n << 2n) | 1n],
    [0x4148n, 7n],
    [0x4150n, 0x5_0000n],
  ];
  // The first stage's indices from the top: 1, 2, 3, 4.
  const address = (1n << 39n) | (2n << 30n) | (3n << 21n) | (4n << 12n);
  // First-stage tables at guest frames 0x50 to 0x53; the page at guest frame 0x54. The second stage maps guest
  // frame 0x50 + n to FIRST + n.
  const firstStage: [bigint, bigint][] = [1n, 2n, 3n, 4n].map((index, n) => [
    ((FIRST + BigInt(n)) << 12n) + index * 8n,
    ((0x51n + BigInt(n)) << 12n) | 7n,
  ]);
  const secondStage: [bigint, bigint][] = [0n, 1n, 2n].map((n) => [
    (SECOND + n) << 12n,
    ((SECOND + n + 1n) << 12n) | 3n,
  ]);
  const leaves: [bigint, bigint][] = [0n, 1n, 2n, 3n, 4n].map((n) => [
    ((SECOND + 3n) << 12n) + (0x50n + n) * 8n,
    ((FIRST + n) << 12n) | 3n,
  ]);
  const machine = {
    isScalable: true,
    cap: (47n << 16n) | (1n << 10n),
    ecap: (1n << 26n) | (1n << 40n),
    hostAddressWidth: 46n,
    root: 0x1000n,
  };
  const request: Request = {
    rid: 0x0113,
    pasid: 0x45,
    page: Number(address >> 12n),
    rights: RIGHT.WRITE | RIGHT.USER,
  };
  const memory = memoryOf([...structures, ...firstStage, ...secondStage, ...leaves], {
    first: 0,
    last: 0xff,
  });

  /** The addresses of the entries that the second stage reads for guest frame 0x50 + `n`. */
  const second = (n: number): string[] =>
    [0x2_0000, 0x2_1000, 0x2_2000, 0x2_3000 + (0x50 + n) * 8].map(
      (at, i) => `second-stage ${4 - i} 0x${at.toString(16)}`,
    );
  const expected = [
    ...['root 0x1010', 'context 0x2260', 'pasid-directory 0x3008', 'pasid-table 0x4140'],
    ...second(0),
    'first-stage 4 0x30008',
    ...second(1),
    'first-stage 3 0x31010',
    ...second(2),
    'first-stage 2 0x32018',
    ...second(3),
    'first-stage 1 0x33020',
    ...second(4),
  ];

  test('reads 4 entries and then 24, at these addresses', () => {
    const walk = walkOf(machine, memory);
    const steps: string[] = [];
    walk.begin(request);
    while (walk.stage !== 'done' && walk.stage !== 'fault') {
      const level = walk.stage.endsWith('stage') ? ` ${walk.level}` : '';
      steps.push(`${walk.stage}${level} 0x${(walk.frame * 4096 + walk.word * 4).toString(16)}`);
      walk.step();
    }
    expect(steps).toEqual(expected);
    expect(steps).toHaveLength(28);
    expect([walk.stage, walk.fault, walk.target, walk.pages, walk.pasid]).toEqual(['done', 0, 0x34, 1, 0x45]);
    expect(walk.rights).toBe(RIGHT.READ | RIGHT.WRITE | RIGHT.USER);
  });

  test('is over after its last step', () => {
    const walk = walkOf(machine, memory);
    walk.begin(request);
    expect(walk.run()).toBe(true);
    expect(() => walk.step()).toThrow(Bug);
  });

  test('forgets the request before it', () => {
    const walk = walkOf(machine, memory);
    walk.begin({ ...request, page: 5 });
    expect([walk.run(), walk.fault]).toEqual([false, 0x71]);
    walk.begin(request);
    expect([walk.run(), walk.fault, walk.target]).toEqual([true, 0, 0x34]);
  });

  test('takes a table that is not there for a fault of the table, wherever it points', () => {
    const none: Request = { ...request, rid: 0xff00 };
    const empty = walkOf({ ...machine, root: 0x100_000n }, memory);
    empty.begin(none);
    expect([empty.run(), empty.fault]).toEqual([false, 0x38]);
  });
});

test('a read of the interrupt range without a PASID never gets to the tables', () => {
  const machine = randomMachine(1);
  const walk = walkOf(machine, memoryOf(machine.words, { first: 0, last: machine.lastFrame }));
  for (const page of [0xfee00, 0xfeeff]) {
    walk.begin({ rid: 0x18, pasid: NO_PASID, page, rights: RIGHT.READ | RIGHT.USER });
    expect([walk.stage, walk.fault]).toEqual(['fault', machine.isScalable ? 0x87 : 0x0e]);
  }
});
