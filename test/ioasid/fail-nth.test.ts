/**
 * The n-th internal step that can fail does, for every n: the call that it was part of is refused with `ENOMEM`
 * and leaves nothing behind, and when it is made again, all goes on as if nothing had been.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type IoasidController,
  type IoasidCore,
  type IoasidHolder,
  type IoasidSet,
  type IoasidSubscription,
  type IoasidUser,
  ioasidAlloc,
  ioasidAttachData,
  ioasidAttachSpid,
  ioasidControllerAlloc,
  ioasidCreate,
  ioasidFindBySpid,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidQueueWork,
  ioasidRegisterAllocator,
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidSetAlloc,
  ioasidTestBench,
  ioasidUserAlloc,
} from '../../src/ioasid/index.js';
import { calls, prelude, subscribers } from './histories.js';
import { errno, FailNth, listener, must } from './kit.js';
import { Real } from './real.js';

/** Makes one call; again, if it was refused. */
type Try = <T>(call: () => T) => T;

/** Everything that takes memory, once at least; ids by a custom allocator, which gets back what was not used. */
function scenario(core: IoasidCore, attempt: Try, given: Set<number>): void {
  const token = { name: 'vm1' };
  const log: string[] = [];
  const ops = {
    name: 'vcmd',
    alloc: (min: number) => {
      let id = min;
      while (given.has(id)) id++;
      given.add(id);
      return id;
    },
    free: (id: number) => given.delete(id),
  };
  must(attempt(() => ioasidRegisterAllocator(core, ops) ?? true));
  const holder = must(attempt(() => ioasidHolderAlloc(core, 'kvm'))) as IoasidHolder;
  const controller = must(attempt(() => ioasidControllerAlloc(core, { name: 'vms' }))) as IoasidController;
  const user = must(attempt(() => ioasidUserAlloc(core, { name: 'alice', max: 900 }))) as IoasidUser;
  const late = listener(log, { name: 'kvm', priority: 'cpu' });
  must(attempt(() => ioasidRegisterNotifierMm(core, token, late))) as IoasidSubscription;
  const set = must(
    attempt(() => ioasidSetAlloc(core, { type: 'mm', token, quota: 500, controller, user })),
  ) as IoasidSet;
  must(attempt(() => ioasidRegisterNotifier(set, listener(log, { name: 'vdcm', priority: 'device' }))));
  for (let i = 0; i < 40; i++) {
    const id = must(attempt(() => ioasidAlloc(set, 1, 999)));
    must(attempt(() => ioasidGet(set, id, holder) ?? true));
    must(attempt(() => ioasidAttachSpid(set, id, 100 + i) ?? true));
    must(attempt(() => ioasidFindBySpid(set, 100 + i, holder)));
    must(attempt(() => ioasidAttachData(set, id, i + 1) ?? true));
    must(attempt(() => ioasidQueueWork(set, id, { holder, phase: 'stop' }) ?? true));
  }
}

function run(faults: FailNth): { state: unknown; given: number[] } {
  const core = must(ioasidCreate({ capacity: 1000, faults }));
  const bench = ioasidTestBench(core);
  const given = new Set<number>();
  const attempt: Try = (call) => {
    const [before, taken] = [bench.dump(), [...given]];
    const answer = call();
    if (errno(answer) === 'ok') return answer;
    expect(errno(answer)).toBe('ENOMEM');
    expect(bench.dump()).toEqual(before);
    expect([...given]).toEqual(taken);
    bench.check();
    return call();
  };
  scenario(core, attempt, given);
  return { state: bench.dump(), given: [...given] };
}

describe('the n-th internal step fails, for every n', () => {
  const faults = new FailNth();
  const untouched = run(faults);
  const steps = faults.asked;

  it('there are such steps in every call that takes memory', () => {
    expect(steps).toBe(7 + 40 * 5);
  });

  it('nothing is leaked, nothing is half done', () => {
    for (let nth = 1; nth <= steps; nth++) {
      const failing = new FailNth();
      failing.nth = nth;
      expect(run(failing)).toEqual(untouched);
    }
  }, 30_000);

  it('in random histories too, also where a handler asks', () => {
    const some = fc.array(fc.oneof(...calls), { maxLength: 40, size: 'max' });
    fc.assert(
      fc.property(subscribers, some, fc.integer({ min: 1, max: 40 }), (who, history, nth) => {
        const failing = new FailNth();
        const real = new Real(who, { cyclic: false, faults: failing });
        const bench = ioasidTestBench(real.core);
        prelude(real);
        failing.nth = failing.asked + nth;
        for (const { call } of history) {
          const before = bench.dump();
          if (call(real) === 'ENOMEM') expect(bench.dump()).toEqual(before);
          bench.check();
        }
      }),
      { numRuns: 150 },
    );
  }, 30_000);
});
