/**
 * A guest that answers no page request holds up its own work alone: what it has its virtual device drain, and what
 * others have theirs, goes by one command register, and has an end all the same.
 */
import { describe, expect, test } from 'vitest';
import { DSA_CMD_REG, DSA_COMMAND, encode } from '../../src/spec/index.js';
import type { Vm } from '../../src/vmm/index.js';
import { TestHost, value } from '../vmm/host.js';
import { type Copied, startCopy } from './copier.js';

const BYTES = Uint8Array.from({ length: 6000 }, (_, i) => i % 251);
const COMMAND = 0xa0;
const STATUS = 0xa8;
const ACTIVE = 2 ** 31;

function boot(host: TestHost, name: string, isSilent: boolean): Vm {
  const vm = host.newVm(name);
  value(host.run(vm.boot()));
  vm.kernel.iommu.pageRequests.isSilent = isSilent;
  return vm;
}

/** Steps until somebody has a PASID and its work is where it gets no further. */
function untilStuck(host: TestHost, all: readonly Copied[]): void {
  for (let steps = 0; all.some(({ pasid }) => pasid === undefined); steps++) {
    expect(host.some(1) && steps < 50_000).toBe(true);
  }
  host.some(5000);
}

function drain(vm: Vm, pasid: number): () => boolean {
  const [device] = vm.options.devices;
  if (device === undefined || !('mdev' in device)) throw new Error('no device');
  const [command = 0] = encode(DSA_CMD_REG, { CMD: DSA_COMMAND.DRAIN_PASID, OPERAND: pasid });
  device.mdev.write32(COMMAND, command);
  return () => device.mdev.read32(STATUS) >>> 0 >= ACTIVE;
}

describe('a silent guest', () => {
  test.each([1, 2, 3])('drains a PASID that waits for it, and others go on; seed %i', (seed) => {
    const host = new TestHost(seed);
    const [mute, other] = [boot(host, 'mute', true), boot(host, 'other', false)];
    const { copied } = startCopy(mute, 'mallory', BYTES);
    untilStuck(host, [copied]);
    const isActive = drain(mute, copied.pasid ?? 0);
    host.some(200);
    expect(isActive()).toBe(true);
    const alice = startCopy(other, 'alice', BYTES);
    for (let steps = 0; !alice.copied.isClosed; steps++) expect(host.some(1) && steps < 200_000).toBe(true);
    expect([alice.copied.bytes, isActive()]).toEqual([BYTES, false]);
  });

  test.each([1, 2, 3])('is killed while everybody waits for it; seed %i', (seed) => {
    const host = new TestHost(seed);
    const [mute, other] = [boot(host, 'mute', true), boot(host, 'other', false)];
    const stuck = ['mallory', 'mordred'].map((name) => startCopy(mute, name, BYTES));
    untilStuck(
      host,
      stuck.map(({ copied }) => copied),
    );
    // Both engines wait. What comes now waits behind them, and what drains it holds the device's command.
    const all = [startCopy(other, 'alice', BYTES), startCopy(mute, 'carol', BYTES)] as const;
    untilStuck(
      host,
      all.map(({ copied }) => copied),
    );
    for (const [i, vm] of [other, mute].entries()) {
      const process = all[i]?.process;
      if (process !== undefined) vm.kernel.context.tasks.spawn('kill', vm.kernel.processes.kill(process));
      host.some(2000);
    }
    host.run(mute.destroy());
    expect([mute.isGone, all[0].process.isGone, host.tasks.tasks]).toEqual([true, true, []]);
    const again = startCopy(other, 'bob', BYTES);
    host.runAll();
    expect(again.copied.bytes).toEqual(BYTES);
  });
});
