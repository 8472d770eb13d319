/** KVM's table of PASIDs and the CPUs that walk it, in memory: what ENQCMD sends, and what becomes of an entry. */
import { describe, expect, test } from 'vitest';
import { isRefusal, Random, RandomChooser } from '../../src/base/index.js';
import { GENERAL_PROTECTION } from '../../src/hardware/index.js';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFree,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidPut,
} from '../../src/ioasid/index.js';
import type { FrameOwner } from '../../src/kernel/index.js';
import { runAll } from '../kernel/fake-platform.js';
import { GUEST, good, KvmBench, PORTAL_FRAME, toEnd } from './bench.js';

describe('ENQCMD in a guest', () => {
  test('sends the host PASID that backs the guest PASID, which is another number', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    expect(host).not.toBe(101);
    expect(bench.platform.portal.heads).toEqual([host]);
    expect(bench.exits).toEqual([]);
  });

  test.each([1, 0x3ff, 0x400, 0x7_ffff, 0x8_0000, 0xf_ffff])('translates the PASID %i', (spid) => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const host = bench.bind(set, spid);
    guest.usePasid(spid);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    guest.enqcmds(spid);
    expect(bench.platform.portal.heads).toEqual([host, host]);
  });

  test("one dword of KVM's table overwritten in memory redirects the next ENQCMD, with no exit", () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    guest.enqcmd();
    // The one dword of all memory that is this entry.
    const entry = (0x8000_0000 | host) >> 0;
    const { ram } = bench.platform;
    const found: number[] = [];
    const frame = new Int32Array(1024);
    for (let each = 256; each < 256 + 4096; each++) {
      ram.read(each * 4096, new Uint8Array(frame.buffer));
      if (frame[101] === entry) found.push(each * 4096 + 101 * 4);
    }
    expect(found).toHaveLength(1);
    bench.platform.memory.store32(found[0] ?? 0, 0x8000_0000 | 777);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    expect(bench.platform.portal.heads).toEqual([host, 777]);
    expect(bench.exits).toEqual([]);
  });

  test('with no entry exits 72, and the guest sees ZF = 1', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    const told: number[] = [];
    bench.vm.onUnknownPasid = (spid) => told.push(spid);
    guest.usePasid(101);
    expect(guest.enqcmd()).toEqual({ zf: 1 });
    expect(bench.exits).toEqual([
      { vm: 'vm1', cpu: guest.cpu.index, reason: 'enqcmd', pasid: 101, action: 'retry' },
    ]);
    expect(told).toEqual([101]);
    expect(bench.platform.portal.heads).toEqual([]);
  });

  test('ENQCMDS with no entry exits 73, and the guest sees ZF = 1', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    expect(guest.enqcmds(101)).toEqual({ zf: 1 });
    expect(bench.exits.map(({ reason }) => reason)).toEqual(['enqcmds']);
  });

  test('gets #GP only where IA32_PASID is not valid', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const fault = { vector: GENERAL_PROTECTION, errorCode: 0, address: 0 };
    expect(guest.enqcmd()).toEqual({ fault });
    bench.bind(set, 101);
    expect(guest.enqcmd()).toEqual({ fault });
    guest.usePasid(102);
    expect(guest.enqcmd()).toEqual({ zf: 1 });
    guest.usePasid(101);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
  });

  test('is told to retry so often and no more: then it gets #GP, until the PASID is bound', () => {
    const bench = new KvmBench({ retries: 3 });
    const { set, guest } = bench.complete();
    guest.usePasid(101);
    const results = Array.from({ length: 5 }, () => guest.enqcmd().fault?.vector ?? 'retry');
    expect(results).toEqual(['retry', 'retry', 'retry', GENERAL_PROTECTION, 'retry']);
    guest.enqcmd();
    const host = bench.bind(set, 101);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    good(ioasidDetachSpid(set, host));
    // It counts from the beginning, and anew for another PASID.
    expect([guest.enqcmd(), guest.enqcmd(), guest.enqcmd()]).toEqual([{ zf: 1 }, { zf: 1 }, { zf: 1 }]);
    guest.usePasid(102);
    expect(guest.enqcmd()).toEqual({ zf: 1 });
  });

  test('is told so no more often where processes take turns on one CPU', () => {
    const bench = new KvmBench({ retries: 3 });
    const { guest } = bench.complete();
    const results = Array.from({ length: 8 }, (_, i) => {
      guest.usePasid(101 + (i % 2));
      return guest.enqcmd().fault?.vector ?? 'retry';
    });
    const [alone, atLast] = [Array(6).fill('retry'), Array(2).fill(GENERAL_PROTECTION)];
    expect(results).toEqual([...alone, ...atLast]);
  });
});

describe('the table', () => {
  test('is on before a portal is mapped', () => {
    const bench = new KvmBench();
    const tables = bench.addMemory();
    expect(bench.run(bench.vm.mapDevicePage(GUEST.portalFrame, PORTAL_FRAME))).toMatchObject({
      errno: 'EPERM',
    });
    const early = bench.addVcpu(tables);
    good(bench.vm.enablePasidTranslation());
    bench.addPortal(tables);
    const late = bench.addVcpu(tables);
    for (const guest of [early, late]) {
      guest.usePasid(101);
      expect(guest.enqcmd()).toEqual({ zf: 1 });
    }
    expect(bench.platform.portal.heads).toEqual([]);
  });

  test('late registration replays BIND', () => {
    const bench = new KvmBench();
    const set = bench.addSet();
    const hosts = [101, 5000].map((spid) => bench.bind(set, spid));
    good(bench.vm.enablePasidTranslation());
    const tables = bench.addMemory();
    bench.addPortal(tables);
    const guest = bench.addVcpu(tables);
    for (const spid of [101, 5000]) {
      guest.usePasid(spid);
      guest.enqcmd();
    }
    expect(bench.platform.portal.heads).toEqual(hosts);
    expect(bench.vm.translated).toEqual([
      { guest: 101, host: hosts[0] },
      { guest: 5000, host: hosts[1] },
    ]);
  });

  test('is registered before the set is there', () => {
    const bench = new KvmBench();
    good(bench.vm.enablePasidTranslation());
    const tables = bench.addMemory();
    bench.addPortal(tables);
    const guest = bench.addVcpu(tables);
    const host = bench.bind(bench.addSet(), 101);
    guest.usePasid(101);
    guest.enqcmd();
    expect(bench.platform.portal.heads).toEqual([host]);
  });

  test('is filled at an exit, if there was no memory when the PASID was bound', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const taken: number[] = [];
    const owner: FrameOwner = { kind: 'kernel', use: 'test' };
    for (;;) {
      const frame = bench.context.frames.alloc(owner);
      if (isRefusal(frame)) break;
      taken.push(frame);
    }
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    expect(guest.enqcmd()).toEqual({ zf: 1 });
    expect(bench.holders(host)).toEqual([]);
    for (const frame of taken) bench.context.frames.free(frame);
    expect([guest.enqcmd(), guest.enqcmd()]).toEqual([{ zf: 1 }, { zf: 0 }]);
    expect(bench.platform.portal.heads).toEqual([host]);
    expect(bench.holders(host)).toEqual(['kvm:vm1']);
  });

  test('has the pair of a VM of its own: the same guest PASID is another host PASID in each', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const other = new KvmBench();
    const second = other.complete();
    bench.bind(set, 7);
    const [mine, theirs] = [bench.bind(set, 101), other.bind(second.set, 101)];
    guest.usePasid(101);
    second.guest.usePasid(101);
    guest.enqcmd();
    second.guest.enqcmd();
    expect(mine).not.toBe(theirs);
    expect([bench.platform.portal.heads, other.platform.portal.heads]).toEqual([[mine], [theirs]]);
  });
});

describe('unbind', () => {
  test.each([
    { name: 'translated', steps: 2 },
    { name: 'departed', steps: 3 },
  ])('waits for a vCPU between translate and arrive: $name', ({ steps }) => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    const instruction = guest.begin();
    for (let i = 0; i < steps; i++) instruction.next();
    expect(ioasidDetachSpid(set, host)).toBe(false);
    expect(ioasidFree(set, host)).toBe(false);
    runAll(bench.context.tasks);
    // The id is not reclaimed, and cannot be handed out, before the command that carries it has arrived.
    expect(bench.holders(host)).toEqual(['kvm:vm1']);
    expect(bench.platform.portal.heads).toEqual([]);
    expect(toEnd(instruction)).toEqual({ zf: 0 });
    expect(bench.platform.portal.heads).toEqual([host]);
    runAll(bench.context.tasks);
    expect(bench.holders(host)).toBeUndefined();
    expect(guest.enqcmd()).toEqual({ zf: 1 });
  });

  test('of which a vCPU has read nothing yet does not let it translate', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    const instruction = guest.begin();
    instruction.next();
    good(ioasidDetachSpid(set, host));
    expect(toEnd(instruction)).toEqual({ zf: 1 });
    expect(bench.platform.portal.heads).toEqual([]);
  });

  test('does not wait for the next instructions of a vCPU', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const [first, second] = [bench.bind(set, 101), bench.bind(set, 102)];
    guest.usePasid(101);
    const instruction = guest.begin();
    instruction.next();
    good(ioasidDetachSpid(set, first));
    runAll(bench.context.tasks);
    toEnd(instruction);
    guest.usePasid(102);
    const next = guest.begin();
    next.next();
    runAll(bench.context.tasks);
    expect(bench.holders(first)).toEqual([]);
    toEnd(next);
    expect(bench.platform.portal.heads).toEqual([second]);
  });

  test('clears a freed id at once, and leaves a new id of the same guest PASID alone', () => {
    const bench = new KvmBench();
    const { set, guest } = bench.complete();
    const keeper = good(ioasidHolderAlloc(bench.ioasids, 'iommu'));
    const old = bench.bind(set, 101);
    good(ioasidGet(set, old, keeper));
    guest.usePasid(101);
    // The guest frees first; somebody still holds the id, and it is still attached.
    expect(ioasidFree(set, old)).toBe(false);
    expect(guest.enqcmd()).toEqual({ zf: 1 });
    const young = good(ioasidAlloc(set, 200, 400));
    good(ioasidAttachSpid(set, young, 101));
    good(ioasidDetachSpid(set, old));
    good(ioasidPut(set, old, keeper));
    runAll(bench.context.tasks);
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    expect(bench.platform.portal.heads).toEqual([young]);
    expect(bench.holders(old)).toBeUndefined();
  });

  test('gives the id back in the end, also where no work could be queued', () => {
    const bench = new KvmBench({
      ioasid: { faults: { choose: (_n, what) => (what.includes('work') ? 1 : 0) } },
    });
    const { set, guest } = bench.complete();
    const host = bench.bind(set, 101);
    guest.usePasid(101);
    const instruction = guest.begin();
    instruction.next();
    good(ioasidDetachSpid(set, host));
    runAll(bench.context.tasks);
    expect(bench.holders(host)).toEqual(['kvm:vm1']);
    toEnd(instruction);
    runAll(bench.context.tasks);
    expect(bench.holders(host)).toEqual([]);
  });
});

test('a VM goes back to its mark, with its table and its CPU', () => {
  const bench = new KvmBench({ chooser: new RandomChooser(new Random(1)) });
  const { set, guest } = bench.complete();
  const host = bench.bind(set, 101);
  guest.usePasid(101);
  bench.platform.mark();
  good(ioasidDetachSpid(set, host));
  bench.bind(set, 102);
  bench.run(bench.vm.destroy());
  bench.platform.restore();
  expect(guest.enqcmd()).toEqual({ zf: 0 });
  expect(bench.platform.portal.heads).toEqual([host]);
  guest.usePasid(102);
  expect(guest.enqcmd()).toEqual({ zf: 1 });
});
