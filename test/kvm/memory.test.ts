/** What a guest's CPUs find at guest-physical addresses, and the end of a VM. */
import { describe, expect, test } from 'vitest';
import { Random, RandomChooser, type Task } from '../../src/base/index.js';
import { enqcmd, GENERAL_PROTECTION, LATER, movdir64b } from '../../src/hardware/index.js';
import {
  type IoasidSet,
  ioasidDetachSpid,
  ioasidFree,
  ioasidSetFree,
  ioasidTestBench,
} from '../../src/ioasid/index.js';
import type { KvmSlot } from '../../src/kernel/index.js';
import { runAll } from '../kernel/fake-platform.js';
import { GUEST, type Guest, good, KvmBench, PORTAL_FRAME, toEnd } from './bench.js';

const PAGE = 4096;
const AT_PORTAL = { source: GUEST.source.page * PAGE, destination: GUEST.portal.page * PAGE };

/** A portal that the guest has reached once, with a host PASID. */
function portal(bench: KvmBench): { readonly guest: Guest; readonly host: number } {
  const { set, guest } = bench.complete();
  const host = bench.bind(set, 101);
  guest.usePasid(101);
  expect(guest.enqcmd()).toEqual({ zf: 0 });
  return { guest, host };
}

describe("a guest's memory", () => {
  test("is the VMM's, in other frames, in no order", () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    const hosts = Array.from({ length: GUEST.frames }, (_, i) => bench.hostFrame(GUEST.firstFrame + i));
    const steps = new Set(hosts.map((host, i) => host - i));
    expect(steps.size).toBeGreaterThan(GUEST.frames / 2);
    expect(guest.store(8, Int32Array.of(0x1234))).toBeUndefined();
    const seen = new Int32Array(1);
    bench.platform.ram.read(bench.hostFrame(GUEST.source.frame) * PAGE + 8, new Uint8Array(seen.buffer));
    expect(seen[0]).toBe(0x1234);
  });

  test.each<{ name: string; slot: Partial<KvmSlot>; errno: string }>([
    { name: 'no pages', slot: { pages: 0 }, errno: 'EINVAL' },
    { name: 'a guest frame beyond four levels', slot: { gfn: 2 ** 36 }, errno: 'EINVAL' },
    { name: 'frames of another slot', slot: { gfn: GUEST.firstFrame + 1 }, errno: 'EEXIST' },
    { name: 'the frame of a portal', slot: { gfn: GUEST.portalFrame }, errno: 'EEXIST' },
    { name: "pages that are not the VMM's", slot: { page: 5 }, errno: 'EFAULT' },
  ])('does not take $name', ({ slot, errno }) => {
    const bench = new KvmBench();
    bench.complete();
    const before = bench.context.frames.inUse;
    const whole = { gfn: 0x1000, pages: 1, page: bench.memoryPage, ...slot };
    expect(bench.run(bench.vm.setMemory(whole))).toMatchObject({ errno });
    expect(bench.context.frames.inUse).toBe(before);
  });

  test('is no portal, and a portal is no RAM', () => {
    const bench = new KvmBench();
    bench.complete();
    const map = (gfn: number, frame: number) => bench.run(bench.vm.mapDevicePage(gfn, frame));
    expect(map(0xe_0001, bench.hostFrame(GUEST.firstFrame))).toMatchObject({ errno: 'EINVAL' });
    expect(map(GUEST.portalFrame, PORTAL_FRAME)).toMatchObject({ errno: 'EEXIST' });
    expect(map(GUEST.firstFrame, PORTAL_FRAME)).toMatchObject({ errno: 'EEXIST' });
  });

  test('a portal that is taken away answers nobody: ENQCMD says retry, MOVDIR64B is lost', () => {
    const bench = new KvmBench();
    const { guest, host } = portal(bench);
    bench.run(bench.vm.unmapDevicePage(GUEST.portalFrame));
    expect(guest.enqcmd()).toEqual({ zf: 1 });
    expect(movdir64b(guest.cpu, AT_PORTAL)).toBeUndefined();
    guest.cpu.fence();
    expect(bench.platform.portal.heads).toEqual([host]);
  });

  test('a portal that is away for a while is waited for, and nothing is lost or done twice', () => {
    const bench = new KvmBench();
    const { guest, host } = portal(bench);
    bench.run(bench.vm.unmapDevicePage(GUEST.portalFrame, true));
    const later = { fault: expect.objectContaining({ vector: LATER }) };
    expect(guest.enqcmd()).toEqual(later);
    expect(movdir64b(guest.cpu, AT_PORTAL)).toMatchObject({ vector: LATER });
    guest.cpu.fence();
    expect(bench.platform.portal.heads).toEqual([host]);
    good(bench.run(bench.vm.mapDevicePage(GUEST.portalFrame, PORTAL_FRAME)));
    expect(guest.enqcmd()).toEqual({ zf: 0 });
    expect(bench.platform.portal.heads).toEqual([host, host]);
    // Away for good.
    bench.run(bench.vm.unmapDevicePage(GUEST.portalFrame, true));
    bench.run(bench.vm.unmapDevicePage(GUEST.portalFrame));
    expect(guest.enqcmd()).toEqual({ zf: 1 });
  });

  test('where there is none answers nobody who goes there', () => {
    const bench = new KvmBench();
    const { guest, tables } = bench.complete();
    tables.map(0x600, GUEST.firstFrame + GUEST.frames);
    const bytes = new Uint8Array(4);
    expect(guest.cpu.load(0x600 * PAGE, bytes)).toBeUndefined();
    expect([...bytes]).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(guest.cpu.store(0x600 * PAGE, bytes)).toBeUndefined();
    // But there is no way through a page table that lies there.
    guest.port.cpu.setPageTable(0x9999);
    expect(guest.store(0, Int32Array.of(1))?.vector).toBe(GENERAL_PROTECTION);
  });

  test('that the VMM unmaps is out of reach before its frame is free, and no vCPU is in the middle of using it', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    guest.usePasid(101);
    expect(guest.store(64, Int32Array.of(1))).toBeUndefined();
    const instruction = guest.begin();
    instruction.next();
    const { inUse } = bench.context.frames;
    const page = bench.memoryPage + GUEST.source.frame - GUEST.firstFrame;
    bench.context.tasks.spawn('munmap', bench.mm.munmap(page, 1));
    runAll(bench.context.tasks);
    expect(bench.context.frames.inUse).toBe(inUse);
    expect(guest.store(64, Int32Array.of(1))?.vector).toBe(GENERAL_PROTECTION);
    toEnd(instruction);
    runAll(bench.context.tasks);
    expect(bench.context.frames.inUse).toBe(inUse - 1);
    // What the VMM puts in its place, and touches, is there again.
    good(bench.run(bench.mm.mmap(1, { at: page })));
    expect(guest.store(64, Int32Array.of(1))?.vector).toBe(GENERAL_PROTECTION);
    good(bench.run(bench.mm.handleFault(page, { write: true, execute: false })) ?? 0);
    expect(guest.store(64, Int32Array.of(1))).toBeUndefined();
  });

  test('that goes twice at a time is free when both have waited', () => {
    const bench = new KvmBench();
    const guest = bench.addVcpu(bench.addMemory());
    bench.addSet();
    guest.usePasid(101);
    const source = GUEST.source.page * PAGE;
    const instruction = enqcmd(guest.cpu, { source, destination: source + 64 });
    instruction.next();
    // The end of the VM has taken the page out, and waits; the VMM unmaps it.
    bench.context.tasks.spawn('destroy', bench.vm.destroy());
    runAll(bench.context.tasks);
    const { inUse } = bench.context.frames;
    const page = bench.memoryPage + GUEST.source.frame - GUEST.firstFrame;
    bench.context.tasks.spawn('munmap', bench.mm.munmap(page, 1));
    runAll(bench.context.tasks);
    expect(bench.context.frames.inUse).toBe(inUse);
    toEnd(instruction);
    runAll(bench.context.tasks);
    expect(bench.context.frames.inUse).toBeLessThan(inUse);
  });

  test('that the VMM protects is read-only for the guest too', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    guest.store(0, Int32Array.of(7));
    const first = bench.memoryPage + GUEST.source.frame - GUEST.firstFrame;
    good(bench.run(bench.mm.protect({ first, count: 1 }, { write: false, execute: false })) ?? 0);
    expect(guest.store(0, Int32Array.of(1))?.vector).toBe(GENERAL_PROTECTION);
    const bytes = new Uint8Array(4);
    expect(guest.cpu.load(GUEST.source.page * PAGE, bytes)).toBeUndefined();
    expect(bytes[0]).toBe(7);
  });
});

describe('the end of a VM', () => {
  /** Nothing is left of it but the VMM's address space. */
  function expectNothing(bench: KvmBench, guests: readonly Guest[]): void {
    expect(bench.platform.pool.taken).toEqual([]);
    for (const { cpu } of guests) expect([cpu.vmcs, cpu.readPasidMsr()]).toEqual([undefined, 0]);
    ioasidTestBench(bench.ioasids).check();
    expect(ioasidTestBench(bench.ioasids).dump()).toMatchObject({ holders: [], chain: [], waiting: [] });
    bench.run(bench.mm.put());
    // The root of the VMM's page table was there before.
    expect(bench.context.frames.inUse).toBe(bench.framesBefore - 1);
  }

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    'leaves nothing, at whatever step it comes: seed %i',
    (seed) => {
      const random = new Random(seed);
      const chooser = new RandomChooser(random);
      const bench = new KvmBench({ chooser });
      const { set, guest, tables } = bench.complete();
      const guests = [guest, bench.addVcpu(tables)];
      const { tasks } = bench.context;
      let isEnding = false;
      guests.forEach((each, i) => {
        tasks.spawn(
          `guest ${i}`,
          program(each, random, () => isEnding),
        );
      });
      tasks.spawn('guest kernel', bindings(bench, set, random));
      for (let steps = random.below(300); steps > 0; steps--) tasks.step(chooser);
      isEnding = true;
      tasks.spawn('destroy', bench.vm.destroy());
      runAll(tasks);
      good(ioasidSetFree(set) ?? 0);
      expectNothing(bench, guests);
      const seen = new Set(bench.platform.portal.heads);
      for (const head of seen) expect(head).toBeGreaterThanOrEqual(200);
    },
  );

  test('comes with the end of its VMM', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    bench.mm.pin();
    bench.run(bench.mm.put());
    expect(guest.store(0, Int32Array.of(1))?.vector).toBe(GENERAL_PROTECTION);
    bench.run(bench.vm.destroy());
    expect(bench.platform.pool.taken).toEqual([]);
    bench.mm.unpin();
    expect(bench.context.frames.inUse).toBe(bench.framesBefore - 1);
  });

  test('comes once, and nothing begins after it', () => {
    const bench = new KvmBench();
    bench.complete();
    bench.run(bench.vm.destroy());
    bench.run(bench.vm.destroy());
    expect(bench.vm.createVcpu()).toMatchObject({ errno: 'ENODEV' });
    expect(bench.vm.enablePasidTranslation()).toMatchObject({ errno: 'ENODEV' });
    const slot = { gfn: 0x1000, pages: 1, page: bench.memoryPage };
    expect(bench.run(bench.vm.setMemory(slot))).toMatchObject({ errno: 'ENODEV' });
    expect(bench.run(bench.vm.mapDevicePage(0x1000, PORTAL_FRAME))).toMatchObject({ errno: 'ENODEV' });
  });

  test('leaves the CPU to the next VM, with nothing on it', () => {
    const bench = new KvmBench();
    const { guest } = bench.complete();
    guest.usePasid(101);
    bench.run(bench.vm.destroy());
    const next = bench.platform.pool.take('next');
    expect(next).toBe(guest.cpu);
    expect([next.vmcs, next.hasValidPasid, next.cpl]).toEqual([undefined, false, 0]);
  });
});

/** Submits again and again, with guest PASIDs that may be bound or not. */
function* program(guest: Guest, random: Random, isEnding: () => boolean): Task {
  for (let i = 0; i < 60 && !isEnding(); i++) {
    yield 'between instructions';
    guest.usePasid(1 + random.below(4));
    yield* guest.begin();
  }
}

/** Binds and unbinds guest PASIDs, and frees some in the wrong order. */
function* bindings(bench: KvmBench, set: IoasidSet, random: Random): Task {
  const bound = new Map<number, number>();
  for (let i = 0; i < 60; i++) {
    yield 'binding';
    const spid = 1 + random.below(4);
    const host = bound.get(spid);
    if (host === undefined) {
      bound.set(spid, bench.bind(set, spid));
      continue;
    }
    bound.delete(spid);
    const isFreedFirst = random.below(2) === 0;
    if (isFreedFirst) good(ioasidFree(set, host));
    yield 'unbinding';
    good(ioasidDetachSpid(set, host));
    if (!isFreedFirst) good(ioasidFree(set, host));
  }
  for (const host of bound.values()) good(ioasidDetachSpid(set, host));
}
