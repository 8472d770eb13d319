/** The core goes back to a marked state, whole, in time proportional to what changed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type IoasidWork,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidFinishWork,
  ioasidFree,
  ioasidGet,
  ioasidQueueWork,
  ioasidReports,
  ioasidSetAlloc,
  ioasidTakeWork,
  ioasidTestBench,
} from '../../src/ioasid/index.js';
import { calls, prelude, subscribers } from './histories.js';
import { checkBooks, errno, must, newCore, newHolder, newSet } from './kit.js';
import { Real } from './real.js';

describe('restore', () => {
  for (const cyclic of [false, true]) {
    it(`a history that was undone has never been, policy ${cyclic ? 'cyclic' : 'lowest'}`, () => {
      const some = fc.array(fc.oneof(...calls), { maxLength: 40, size: 'max' });
      fc.assert(
        fc.property(subscribers, some, some, some, (who, before, undone, after) => {
          const [real, twin] = [new Real(who, { cyclic }), new Real(who, { cyclic })];
          for (const each of [real, twin]) {
            prelude(each);
            for (const { call } of before) call(each);
          }
          const restore = real.mark();
          for (let round = 0; round < 2; round++) {
            for (const { call } of undone) call(real);
            restore();
            expect(ioasidTestBench(real.core).dump()).toEqual(ioasidTestBench(twin.core).dump());
            expect(ioasidTestBench(real.core).counts()).toEqual(ioasidTestBench(twin.core).counts());
            checkBooks(real.core);
          }
          expect(after.map(({ call }) => call(real))).toEqual(after.map(({ call }) => call(twin)));
          expect(real.view()).toEqual(twin.view());
        }),
        { numRuns: 100 },
      );
    }, 60_000);
  }

  it('takes time proportional to what changed, not to what there is', () => {
    const core = newCore({ capacity: 1 << 17 });
    const set = newSet(core, { quota: (1 << 17) - 1 });
    const holder = newHolder(core, 'iommu0');
    for (let i = 1; i < 1 << 17; i++) must(ioasidAlloc(set, 1, 1 << 17));
    core.mark();
    const changed = (): number => core.dirtyChunks;
    expect(changed()).toBe(0);
    for (let i = 0; i < 10; i++) {
      const id = 1000 + i * 1000;
      ioasidGet(set, id, holder);
      must(ioasidAttachSpid(set, id, 7 + i));
      must(ioasidFree(set, id - 1));
    }
    // Ten ids with a neighbour each, their list, bitmap and counters: some hundred chunks of a hundred thousand.
    expect(changed()).toBeGreaterThan(20);
    expect(changed()).toBeLessThan(300);
    core.restore();
    expect(changed()).toBe(0);
    expect(ioasidReports(core, set).length).toBe((1 << 17) - 1);
  });

  it('a handle made since the mark is void, and its record serves the next', () => {
    const core = newCore();
    core.mark();
    const undone = newSet(core);
    core.restore();
    expect(errno(ioasidAlloc(undone, 1, 7))).toBe('ENOENT');
    const next = newSet(core);
    expect(errno(ioasidAlloc(undone, 1, 7))).toBe('ENOENT');
    expect(ioasidAlloc(next, 1, 7)).toBe(1);
  });

  it('work that was taken since the mark is void, and does not finish what was taken after the restore', () => {
    const core = newCore();
    const [set, kvm] = [newSet(core), newHolder(core, 'kvm')];
    const id = must(ioasidAlloc(set, 1, 7));
    const queue = (): unknown => must(ioasidQueueWork(set, id, { holder: kvm, phase: 'stop' }));
    const take = (): IoasidWork => must(ioasidTakeWork(kvm)) ?? expect.fail('there is work');
    queue();
    const kept = take();
    queue();
    core.mark();
    const undone = take();
    core.restore();
    const now = take();
    expect(errno(ioasidFinishWork(undone))).toBe('EINVAL');
    expect(ioasidFinishWork(now)).toBe(false);
    expect(ioasidFinishWork(kept)).toBe(false);
    checkBooks(core);
  });

  it('what was grown since the mark is empty again', () => {
    const core = newCore({ capacity: 4096 });
    const set = must(ioasidSetAlloc(core, { type: 'none' }));
    const empty = ioasidTestBench(core).dump();
    core.mark();
    for (let round = 0; round < 2; round++) {
      for (let i = 1; i < 4096; i++) must(ioasidAttachSpid(set, must(ioasidAlloc(set, 1, 4095)), i));
      core.restore();
      expect(ioasidTestBench(core).dump()).toEqual(empty);
      checkBooks(core);
    }
  });

  it('there is nothing to go back to without a mark', () => {
    expect(() => newCore().restore()).toThrow('without a mark');
  });
});
