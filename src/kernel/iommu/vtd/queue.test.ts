import { describe, expect, it } from 'vitest';
import { fakeContext, finish, runAll } from '../../../../test/kernel/fake-platform.js';
import { UNIT_AT, UnitPlatform } from '../../../../test/kernel/unit-platform.js';
import { isRefusal, WaitQueue } from '../../../base/index.js';
import {
  encode,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  TTM,
  VTD_REGISTER,
} from '../../../spec/index.js';
import type { Endpoint } from '../driver.js';
import { FaultStatus } from './faults.js';
import * as inv from './invalidations.js';
import { InvalidationQueue } from './queue.js';
import { UnitRegisters } from './registers.js';

const ENDPOINT: Endpoint = {
  ...{
    rid: 0x6a08,
    name: '6a:01.0',
    pasidBits: 20,
    ats: true,
    pri: true,
    invalidationDepth: 0,
    throttledBy: 0,
  },
};
const BAD = encode(PASID_CACHE_INVALIDATION, { TYPE: 0xf });

it.each([
  [0, [0, 0]],
  [0x6a08, [0x8, 0x6a0]],
])('a device-TLB invalidation names the physical function that is asked for: %i', (throttledBy, fields) => {
  const words = inv.flushDeviceTlb({ ...ENDPOINT, throttledBy }, 5);
  const { PFSID_LOW, PFSID_HIGH } = PASID_DEVICE_TLB_INVALIDATION;
  expect([PFSID_LOW.get(words, 0), PFSID_HIGH.get(words, 0)]).toEqual(fields);
});

function started(progress?: WaitQueue) {
  const machine = new UnitPlatform();
  const context = fakeContext(machine.platform);
  const frame = (): number => {
    const made = context.frames.alloc({ kind: 'kernel', use: 'test' });
    if (isRefusal(made)) throw new Error(made.why);
    return made;
  };
  const registers = new UnitRegisters(machine.platform.mmio, UNIT_AT);
  const frames = { descriptors: frame(), status: frame() };
  const client = { *pageRequest() {}, pageRequestsLost() {}, ownerOf: () => undefined, fault() {} };
  const faults = new FaultStatus(context, registers, { name: 'dmar0', client, offset: 0x220, count: 1 });
  const queue = new InvalidationQueue(context, registers, {
    ...{ name: 'dmar0', frames, isWide: true, faults, progress },
  });
  registers.write64(VTD_REGISTER.RTADDR, { RTA: frame(), TTM: TTM.SCALABLE });
  finish(context.tasks, registers.latchRootTable());
  finish(context.tasks, queue.start());
  return { machine, context, queue, platform: machine.platform };
}

describe('the invalidation queue', () => {
  it('goes round its ring, with several who wait', () => {
    const { context, queue } = started();
    let done = 0;
    const user = function* () {
      for (let i = 0; i < 40; i++) {
        if ((yield* queue.sync([inv.flushPasids(), inv.flushPasid(2, i)])) === undefined) done++;
      }
    };
    for (let i = 0; i < 3; i++) context.tasks.spawn(`user ${i}`, user());
    runAll(context.tasks);
    expect(done).toBe(120);
  });

  it('sleeps while there is nothing new, and misses nothing', () => {
    const progress = new WaitQueue('progress');
    const { machine, context, queue } = started(progress);
    machine.unit.onProgress(() => progress.wakeAll());
    const results: unknown[] = [];
    const user = function* (first: Int32Array) {
      results.push(yield* queue.sync([first, inv.flushPasid(2, 3)]));
    };
    for (const first of [inv.flushPasids(), BAD, inv.flushIotlb()]) context.tasks.spawn('user', user(first));
    let steps = 0;
    for (; results.length < 3 && steps < 50; steps++) {
      if (!context.tasks.step({ choose: () => 0 })) machine.run();
    }
    expect(results).toMatchObject([undefined, { errno: 'EIO' }, undefined]);
    expect(steps).toBeLessThan(20);
  });

  it('replaces a descriptor that hardware refuses, says so, and goes on', () => {
    const { context, queue, platform } = started();
    expect(finish(context.tasks, queue.sync([inv.flushPasids(), BAD, inv.flushIotlb()]))).toMatchObject({
      errno: 'EIO',
    });
    expect(platform.events).toContainEqual({
      kind: 'iommu:queue-error',
      fields: { unit: 'dmar0', slot: 1, reason: 'descriptor type' },
    });
    expect(finish(context.tasks, queue.sync([inv.flushPasids()]))).toBeUndefined();
  });

  it('tries again when a device does not answer, and gives up', () => {
    const { machine, context, queue, platform } = started();
    const results: unknown[] = [];
    const user = function* () {
      results.push(yield* queue.sync([inv.flushDeviceTlb(ENDPOINT, 5)]));
    };
    context.tasks.spawn('user', user());
    for (let step = 0; step < 30; step++) {
      context.tasks.step({ choose: () => 0 });
      machine.run();
      machine.unit.invalidationTimedOut(ENDPOINT.rid);
    }
    expect(results).toMatchObject([{ errno: 'EIO' }]);
    expect(machine.invalidations).toHaveLength(3);
    expect(machine.invalidations[0]).toMatchObject({ rid: ENDPOINT.rid, pasid: 5, page: 0 });
    expect(platform.events.filter(({ kind }) => kind === 'iommu:invalidation-timeout')).toHaveLength(3);
    expect(finish(context.tasks, queue.sync([inv.flushPasids()]))).toBeUndefined();
  });
});

it('a descriptor that hardware refuses after a time-out, when nobody waits for it, holds nobody up', () => {
  const { machine, context, queue, platform } = started();
  const results: unknown[] = [];
  const user = function* () {
    results.push(yield* queue.sync([inv.flushDeviceTlb(ENDPOINT, 5), inv.flushPasids(), BAD]));
  };
  context.tasks.spawn('user', user());
  machine.timesOut = true;
  for (let step = 0; step < 60; step++) {
    context.tasks.step({ choose: () => 0 });
    machine.run();
  }
  expect(results).toMatchObject([{ errno: 'EIO' }]);
  expect(finish(context.tasks, queue.sync([inv.flushPasids()]))).toBeUndefined();
  expect(platform.events.some(({ kind }) => kind === 'iommu:queue-error')).toBe(true);
});

describe('ranges', () => {
  it.each([
    [5, 5, { page: 5, order: 0 }],
    [4, 5, { page: 4, order: 1 }],
    [5, 6, { page: 4, order: 2 }],
    [0x7_f000_0000, 0x7_f000_01ff, { page: 0x7_f000_0000, order: 9 }],
  ])('of pages %i to %i', (first, last, block) => {
    expect(inv.blockOf(first, last)).toEqual(block);
  });

  it('are what the unit sends to a device', () => {
    const { machine, context, queue } = started();
    context.tasks.spawn('user', queue.sync([inv.flushDeviceTlb(ENDPOINT, 5, inv.blockOf(5, 6))]));
    for (let step = 0; step < 3; step++) {
      context.tasks.step({ choose: () => 0 });
      machine.run();
    }
    expect(machine.invalidations).toMatchObject([{ pasid: 5, page: 4, pages: 4, isGlobal: false }]);
  });
});
