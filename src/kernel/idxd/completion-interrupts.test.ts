import { beforeEach, describe, expect, test } from 'vitest';
import { TestHost, value } from '../../../test/vmm/host.js';
import { isRefusal, type Refusal, type Task } from '../../base/index.js';
import { DSA_MSIXPERM, DSA_WQ_STATE, DSA_WQCFG } from '../../spec/index.js';
import type { CompletionInterrupt, IdxdDevice, Process } from '../index.js';

const [SHARED, OWN] = [0, 1];

let host: TestHost;
let idxd: IdxdDevice;
let alice: Process;

beforeEach(() => {
  host = new TestHost();
  const [found] = host.kernel.idxds;
  if (found === undefined) throw new Error('no accelerator');
  idxd = found;
  alice = value(host.kernel.processes.spawn('alice'));
});

const open = (process: Process, queue: number): number => value(host.run(idxd.files.open(process, queue)));
const ask = (process: Process, fd: number): CompletionInterrupt | Refusal =>
  host.run(idxd.files.requestInterrupt(process, fd));
const asked = (process: Process, fd: number): CompletionInterrupt => value(ask(process, fd));
const pasidOf = (process: Process): number => Number(process.mm.pasid ?? -1);

/** Whose descriptors may name a vector: of PASIDs, or nobody's. */
function permission(vector: number): number | 'nobody' {
  const { registers } = idxd;
  const words = registers.readAt(registers.msixPermAt(vector), DSA_MSIXPERM.bytes);
  return DSA_MSIXPERM.PASID_EN.get(words, 0) === 1 ? DSA_MSIXPERM.PASID.get(words, 0) : 'nobody';
}

/** As a descriptor that names a handle does at its end. */
function complete(handle: number): void {
  host.hardware.accelerators[0]?.device.interrupts.complete(handle);
}

describe('completion interrupts', () => {
  test('are for the descriptors of who has the queue open, and come to who waits', () => {
    const interrupt = asked(alice, open(alice, SHARED));
    expect(permission(1)).toBe(pasidOf(alice));
    const seen: number[] = [];
    const waiter = function* (): Task {
      yield* interrupt.wait(0);
      seen.push(interrupt.count);
    };
    host.tasks.spawn('waiter', waiter());
    host.runAll();
    expect(seen).toEqual([]);
    complete(interrupt.handle);
    host.runAll();
    expect(seen).toEqual([1]);
    // One that came before is not slept over.
    host.run(interrupt.wait(0));
  });

  test('are one for an open queue, and another for the next', () => {
    const fd = open(alice, SHARED);
    const first = asked(alice, fd);
    expect(asked(alice, fd)).toBe(first);
    const bob = value(host.kernel.processes.spawn('bob'));
    const second = asked(bob, open(bob, SHARED));
    expect([permission(1), permission(2)]).toEqual([pasidOf(alice), pasidOf(bob)]);
    expect(second.handle).not.toBe(first.handle);
    complete(second.handle);
    host.runAll();
    expect([first.count, second.count]).toEqual([0, 1]);
  });

  test('go with the queue, and is given to the next', () => {
    const fd = open(alice, SHARED);
    const interrupt = asked(alice, fd);
    host.run(host.kernel.processes.close(alice, fd));
    expect(permission(1)).toBe('nobody');
    complete(interrupt.handle);
    host.runAll();
    expect(interrupt.count).toBe(0);
    const again = asked(alice, open(alice, OWN));
    expect([permission(1), again.handle]).toEqual([pasidOf(alice), interrupt.handle]);
  });

  test('are as many as the device has vectors', () => {
    const others = Array.from({ length: 9 }, (_, i) => value(host.kernel.processes.spawn(`p${i}`)));
    const given = others.map((process) => ask(process, open(process, SHARED)));
    expect(given.map((each) => (isRefusal(each) ? each.errno : 'given'))).toEqual([
      ...Array.from({ length: 8 }, () => 'given'),
      'ENOSPC',
    ]);
  });

  test('are refused to who inherits the descriptor, as the portal is', () => {
    const fd = open(alice, SHARED);
    const child = value(host.run(host.kernel.processes.fork(alice, 'child')));
    expect(ask(child, fd)).toMatchObject({ errno: 'EPERM' });
    expect(host.run(idxd.files.mapPortal(child, fd))).toMatchObject({ errno: 'EPERM' });
    expect(ask(alice, fd + 1)).toMatchObject({ errno: 'ENOENT' });
  });
});

describe('a reset of the device', () => {
  test('leaves queues and interrupts as they were', () => {
    const bob = value(host.kernel.processes.spawn('bob'));
    const shared = asked(alice, open(alice, SHARED));
    const own = asked(bob, open(bob, OWN));
    const states = (): number[][] =>
      [SHARED, OWN].map((wq) => {
        const words = idxd.registers.readAt(idxd.registers.wqcfgAt(wq), DSA_WQCFG.bytes);
        return [DSA_WQCFG.STATE, DSA_WQCFG.SIZE, DSA_WQCFG.PASID].map((field) => field.get(words, 0));
      });
    const before = states();
    expect(before.map(([state]) => state)).toEqual([DSA_WQ_STATE.ENABLED, DSA_WQ_STATE.ENABLED]);
    expect(host.run(idxd.reset())).toBeUndefined();
    expect(states()).toEqual(before);
    expect([permission(1), permission(2)]).toEqual([pasidOf(alice), pasidOf(bob)]);
    complete(own.handle);
    host.runAll();
    expect([shared.count, own.count]).toEqual([0, 1]);
  });

  test('is refused while virtual devices stand on its queues', () => {
    const mdev = host.newMdev('mdev');
    expect(host.run(idxd.reset())).toMatchObject({ errno: 'EBUSY' });
    host.run(mdev.remove());
    expect(host.run(idxd.reset())).toBeUndefined();
  });
});
