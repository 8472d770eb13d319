/** Random histories: calls with arguments from a small world, and the subscribers' scripts. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { ioasidTestBench } from '../../src/ioasid/index.js';
import { type Api, HOLDERS, type Script, SPIDS, type Subscriber } from './api.js';
import { checkBooks } from './kit.js';
import type { Model } from './model.js';
import type { Real } from './real.js';

/** One call, made on both; refused calls leave the core as it was, compared whole. */
export class Call implements fc.Command<Model, Real> {
  readonly name: string;
  readonly call: (api: Api) => unknown;

  constructor(name: string, call: (api: Api) => unknown) {
    this.name = name;
    this.call = call;
  }

  check = (): boolean => true;

  run(model: Model, real: Real): void {
    const bench = ioasidTestBench(real.core);
    const before = bench.dump();
    const expected = this.call(model);
    const answer = this.call(real);
    expect(answer).toEqual(expected);
    expect(real.view()).toEqual(model.view());
    if (typeof answer === 'string' && answer.startsWith('E')) expect(bench.dump()).toEqual(before);
    checkBooks(real.core);
  }

  toString = (): string => this.name;
}

const set = fc.integer({ min: 0, max: 1 });
const id = fc.integer({ min: 0, max: 5 });
const holder = fc.constantFrom(...HOLDERS);
const spid = fc.constantFrom(...SPIDS);
const quota = fc.integer({ min: 0, max: 5 });
const phase = fc.constantFrom('stop' as const, 'drain' as const, 'clear' as const);
const scope = fc.integer({ min: -1, max: 1 });
const who = fc.integer({ min: 0, max: 3 });

const script: fc.Arbitrary<Script> = fc.record({
  on: fc.subarray(['ALLOC', 'FREE', 'BIND', 'UNBIND'] as const),
  get: fc.boolean(),
  put: fc.boolean(),
  work: fc.option(phase, { nil: undefined }),
  reenters: fc.boolean(),
  throws: fc.boolean(),
});

/** Four of them: s0 and s3 have priority device, s1 iommu, s2 cpu. */
export const subscribers: fc.Arbitrary<Subscriber[]> = fc
  .tuple(script, script, script, script)
  .map((scripts) =>
    scripts.map((each, at) => ({
      name: `s${at}`,
      priority: (['device', 'iommu', 'cpu', 'device'] as const)[at] ?? 'cpu',
      script: each,
    })),
  );

const two = <A, B>(
  name: string,
  [a, b]: [fc.Arbitrary<A>, fc.Arbitrary<B>],
  call: (api: Api, a: A, b: B) => unknown,
): fc.Arbitrary<Call> =>
  fc.tuple(a, b).map(([x, y]) => new Call(`${name}(${x}, ${y})`, (api) => call(api, x, y)));

const three = <A, B, C>(
  name: string,
  [a, b, c]: [fc.Arbitrary<A>, fc.Arbitrary<B>, fc.Arbitrary<C>],
  call: (api: Api, of: [A, B, C]) => unknown,
): fc.Arbitrary<Call> =>
  fc.tuple(a, b, c).map((of) => new Call(`${name}(${of.join(', ')})`, (api) => call(api, of)));

const none = fc.constant('');
/** All calls; invalid ones are among them. */
export const calls: fc.Arbitrary<Call>[] = [
  two('setAlloc', [set, quota], (api, s, q) => api.setAlloc(s, q)),
  two('setAlloc', [set, fc.constant(2)], (api, s, q) => api.setAlloc(s, q)),
  two('setFree', [set, none], (api, s) => api.setFree(s)),
  two('adjust', [set, quota], (api, s, q) => api.adjust(s, q)),
  three('alloc', [set, id, id], (api, [s, min, max]) => api.alloc(s, min, max)),
  three('alloc', [set, fc.constant(1), fc.constant(4)], (api, [s, min, max]) => api.alloc(s, min, max)),
  two('free', [set, id], (api, s, i) => api.free(s, i)),
  two('freeAll', [set, none], (api, s) => api.freeAll(s)),
  three('get', [set, id, holder], (api, [s, i, h]) => api.get(s, i, h)),
  three('put', [set, id, holder], (api, [s, i, h]) => api.put(s, i, h)),
  three('attach', [set, id, spid], (api, [s, i, p]) => api.attach(s, i, p)),
  two('detach', [set, id], (api, s, i) => api.detach(s, i)),
  three('find', [set, spid, fc.constantFrom('', ...HOLDERS)], (api, [s, p, h]) => api.find(s, p, h)),
  fc
    .tuple(set, id, holder, phase)
    .map(
      ([s, i, h, p]) =>
        new Call(`queue(${s}, ${i}, ${h} ${p})`, (api) => api.queue(s, i, { holder: h, phase: p })),
    ),
  two('take', [holder, none], (api, h) => api.take(h)),
  two('finish', [holder, none], (api, h) => api.finish(h)),
  two('setMax', [fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 4 })], (api, c, m) =>
    api.setMax(c, m),
  ),
  two('move', [set, fc.integer({ min: 0, max: 2 })], (api, s, c) => api.move(s, c)),
  two('userMax', [fc.integer({ min: 2, max: 5 }), none], (api, m) => api.userMax(m)),
  two('register', [scope, who], (api, s, w) => api.register(s, w)),
  two('unregister', [scope, who], (api, s, w) => api.unregister(s, w)),
  two('allocator', [fc.boolean(), none], (api, on) => api.allocator(on)),
  two(
    'allocatorFails',
    [fc.constantFrom('' as const, '' as const, 'none', 'throws', 'taken', 'outside'), none],
    (api, how) => api.allocatorFails(how),
  ),
];

/** Two sets with ids, everybody registered: where the rare things begin. */
export function prelude(api: Api): void {
  for (const set of [0, 1]) api.setAlloc(set, 2);
  for (const [scope, who] of [
    [-1, 1],
    [0, 0],
    [0, 2],
    [1, 3],
  ] as const)
    api.register(scope, who);
  api.alloc(0, 1, 4);
  api.attach(0, 1, 101);
}
