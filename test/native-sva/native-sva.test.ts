/**
 * Native SVA on the whole machine (flow 1): kernel, VT-d unit, accelerator and CPU together, real bytes.
 */
import { describe, expect, it } from 'vitest';
import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import { ioasidInspect } from '../../src/ioasid/index.js';
import type { IdxdDevice, Process } from '../../src/kernel/index.js';
import { DSA_RECORD, DSA_STATUS } from '../../src/spec/index.js';
import { Bench } from './machine.js';
import { moveDescriptor, Program } from './program.js';

const SHARED = [{ wqs: [{ mode: 'shared', size: 8, blockOnFault: true }], engines: 2 }] as const;
const DEDICATED = [{ wqs: [{ mode: 'dedicated', size: 8, blockOnFault: true }], engines: 1 }] as const;

function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as T;
}

const statusOf = (word: number): number => DSA_RECORD.STATUS.get(Int32Array.of(word), 0);

function started(bench: Bench, groups: Parameters<IdxdDevice['configure']>[0] = SHARED): IdxdDevice {
  const [device] = bench.kernel.idxds;
  if (device === undefined) throw new Error('no accelerator was found');
  expect(bench.run(device.configure(groups))).toBeUndefined();
  return device;
}

/** Opens the queue, moves `bytes` from a page of `value`s to an untouched one; the status and what arrived. */
function* moveBytes(
  bench: Bench,
  of: { device: IdxdDevice; process: Process; value: number; bytes: number; block?: boolean },
): Task<{ status: number; arrived: Uint8Array; fd: number }> {
  const { device, process, value, bytes } = of;
  const program = new Program(bench, process.mainThread);
  const fd = must(yield* device.open(process, 0));
  const portal = must(yield* device.mapPortal(process, fd)) * 4096;
  const src = must(yield* process.mm.mmap(8)) * 4096;
  const [dst, record] = [src + 3 * 4096, src + 7 * 4096];
  must(yield* process.mm.copyTo(src, new Uint8Array(bytes).fill(value)));
  yield* program.cpu((cpu) => cpu.store32(record, 0));
  const descriptor = moveDescriptor({ src, dst, bytes, record, ...(of.block && { block: true }) });
  if (device.wqs[0]?.isDedicated) yield* program.cpu((cpu) => cpu.movdir64b(portal, descriptor));
  else yield* program.submit(portal, descriptor);
  const status = statusOf(yield* program.wait(record));
  const arrived = new Uint8Array(bytes);
  must(yield* process.mm.copyFrom(dst, arrived));
  return { status, arrived, fd };
}

describe('native SVA', () => {
  it.each([
    ['shared', SHARED],
    ['dedicated', DEDICATED],
  ] as const)('moves bytes through a %s queue, and leaves nothing behind', (_mode, groups) => {
    for (let seed = 1; seed <= 20; seed++) {
      const bench = new Bench({ seed });
      const device = started(bench, groups);
      const { kernel } = bench;
      const before = kernel.context.frames.inUse;
      const process = must(kernel.processes.spawn('p'));
      const moved = bench.run(moveBytes(bench, { device, process, value: 7, bytes: 6000, block: true }));
      expect(moved.status).toBe(DSA_STATUS.SUCCESS);
      expect(moved.arrived).toEqual(new Uint8Array(6000).fill(7));
      const pasid = process.mm.pasid.value ?? 0;
      expect(ioasidInspect(kernel.pasids.core, pasid)).toMatchObject({ state: 'ACTIVE' });
      expect(bench.run(kernel.processes.close(process, moved.fd))).toBeUndefined();
      bench.run(kernel.processes.kill(process));
      expect(process.isGone).toBe(true);
      expect(ioasidInspect(kernel.pasids.core, pasid)).toMatchObject({ errno: 'ENOENT' });
      // One table of 64 PASIDs stays with the device.
      expect(kernel.context.frames.inUse).toBe(before + 1);
      expect(bench.events.filter(({ kind }) => kind === 'iommu:fault')).toEqual([]);
    }
  });

  it('reports a page fault where the descriptor does not block', () => {
    const bench = new Bench({ seed: 3 });
    const device = started(bench);
    const process = must(bench.kernel.processes.spawn('p'));
    const moved = bench.run(moveBytes(bench, { device, process, value: 7, bytes: 5000 }));
    expect(moved.status).toBe(DSA_STATUS.PAGE_FAULT);
  });

  it('puts all of it back', () => {
    const bench = new Bench({ seed: 5 });
    const device = started(bench);
    bench.mark();
    const bytes = () => {
      const process = must(bench.kernel.processes.spawn('p'));
      return bench.run(moveBytes(bench, { device, process, value: 9, bytes: 100, block: true }));
    };
    const used = bench.kernel.context.frames.inUse;
    const first = bytes();
    bench.restore();
    expect([bench.kernel.context.frames.inUse, bench.kernel.processes.all]).toEqual([used, []]);
    expect(bytes()).toEqual(first);
  });
});
