/**
 * The kernel's own DMA by the accelerator, without a PASID: at addresses of an allocator, or at the frames' own; each
 * copy is whole, and when it is over the device reaches nothing of it.
 */
import { describe, expect, it } from 'vitest';
import { isRefusal } from '../../src/base/index.js';
import type { IdxdDevice, KernelQueue } from '../../src/kernel/index.js';
import { Bench, type BenchOptions } from '../native-sva/machine.js';
import { must } from './lab.js';

const BYTES = 4096;

function started(options: BenchOptions): { bench: Bench; dsa: IdxdDevice } {
  const bench = new Bench({ cap: { SAGAW: 4 }, ...options });
  const [dsa] = bench.kernel.idxds;
  if (dsa === undefined) throw new Error('no accelerator');
  const wqs = [
    { mode: 'dedicated', size: 4 },
    { mode: 'dedicated', size: 4 },
  ] as const;
  must(bench.run(dsa.configure([{ wqs, engines: 1 }])));
  return { bench, dsa };
}

/** Frames in a row, filled. */
function filled(bench: Bench, count: number, byte: number): number {
  const first = must(bench.kernel.context.frames.allocRun(count, { kind: 'kernel', use: `data ${byte}` }));
  bench.memory.write(first * BYTES, new Uint8Array(count * BYTES).fill(byte));
  return first;
}

function bytesAt(bench: Bench, frame: number, count: number): Uint8Array {
  const into = new Uint8Array(count * BYTES);
  bench.memory.read(frame * BYTES, into);
  return into;
}

const UNITS: [string, BenchOptions][] = [
  ['a first stage', { ridDomain: 'dma' }],
  ['a second stage', { ridDomain: 'dma', ecap: { SSTS: 1 } }],
  [
    'a second stage that may not be cached',
    { ridDomain: 'dma', ecap: { SSTS: 1 }, cap: { SAGAW: 4, CM: 1 } },
  ],
  ['tables that are not snooped', { ridDomain: 'dma', snoops: false }],
  ['39 bits', { ridDomain: 'dma', ecap: { SSTS: 1 }, cap: { SAGAW: 2, MGAW: 38 } }],
  ['57 bits', { ridDomain: 'dma', ecap: { SSTS: 1 }, cap: { SAGAW: 8, MGAW: 56 } }],
  ['legacy mode', { ridDomain: 'dma', ecap: { SMTS: 0 } }],
  ['legacy mode and registers', { ridDomain: 'dma', ecap: { SMTS: 0, QI: 0 } }],
  ['the identity domain', { ridDomain: 'identity' }],
  ['the identity domain of legacy mode', { ridDomain: 'identity', ecap: { SMTS: 0 } }],
];

describe("the kernel's own DMA", () => {
  it.each(UNITS)('copies by %s, and leaves nothing', (_name, options) => {
    for (let seed = 1; seed <= 5; seed++) {
      const { bench, dsa } = started({ ...options, seed });
      const frames = bench.kernel.context.frames;
      const [from, to] = [filled(bench, 4, 0x5a), filled(bench, 4, 0)];
      const before = frames.inUse;
      const queue = must(bench.run(dsa.openKernel(0)));
      for (const count of [1, 4]) {
        must(bench.run(queue.copy({ from, to, count })));
        expect(bytesAt(bench, to, count).every((byte) => byte === 0x5a)).toBe(true);
        bench.memory.write(to * BYTES, new Uint8Array(4 * BYTES));
      }
      must(bench.run(queue.close()));
      // Tables of the device's domain and its PASID table stay.
      expect(frames.inUse - before).toBeLessThanOrEqual(5);
      const again = must(bench.run(dsa.openKernel(0)));
      must(bench.run(again.close()));
      expect(bench.events.filter(({ kind }) => kind.startsWith('iommu:fault'))).toEqual([]);
    }
  });

  it('of several at once keeps their addresses apart', () => {
    const { bench, dsa } = started({ ridDomain: 'dma', ecap: { SSTS: 1 } });
    const queues = [0, 1].map((wq) => must(bench.run(dsa.openKernel(wq))));
    const jobs = [1, 2, 3, 4].map((byte) => ({
      byte,
      from: filled(bench, 2, byte),
      to: filled(bench, 2, 0),
    }));
    const copy = function* (queue: KernelQueue, { from, to }: { from: number; to: number }) {
      must(yield* queue.copy({ from, to, count: 2 }));
    };
    for (const [i, job] of jobs.entries()) {
      const queue = queues[i % 2];
      if (queue !== undefined) bench.tasks.spawn(`copy ${i}`, copy(queue, job));
    }
    bench.runAll();
    for (const { byte, to } of jobs) {
      expect(bytesAt(bench, to, 2).every((each) => each === byte)).toBe(true);
    }
  });

  it('is refused where requests without a PASID are blocked, or the queue is not free', () => {
    const { bench, dsa } = started({});
    expect(bench.run(dsa.openKernel(0))).toMatchObject({ errno: 'ENODEV' });
    expect(bench.run(dsa.openKernel(7))).toMatchObject({ errno: 'ENXIO' });
    const other = started({ ridDomain: 'dma' });
    must(other.bench.run(other.dsa.openKernel(0)));
    expect(other.bench.run(other.dsa.openKernel(0))).toMatchObject({ errno: 'EBUSY' });
  });

  it('that is refused a page frame leaves nothing', () => {
    for (let granted = 0; granted < 6; granted++) {
      const { bench, dsa } = started({ ridDomain: 'dma', ecap: { SSTS: 1 }, framesMayFail: true });
      const { chooser } = bench;
      const before = bench.kernel.context.frames.inUse;
      let left = granted;
      bench.chooser = {
        choose: (n, what) => (what === 'page frame' ? Number(left-- <= 0) : chooser.choose(n, what)),
      };
      const queue = bench.run(dsa.openKernel(0));
      if (isRefusal(queue)) {
        expect(queue.errno).toBe('ENOMEM');
        expect(bench.kernel.context.frames.inUse).toBe(before);
      }
      bench.chooser = { choose: (n, what) => (what === 'page frame' ? 0 : chooser.choose(n, what)) };
      if (isRefusal(queue)) must(bench.run(dsa.openKernel(0)));
    }
  });
});
