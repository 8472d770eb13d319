import { describe, expect, it } from 'vitest';
import { FakePlatform, fakeContext, finish, runAll } from '../../test/kernel/fake-platform.js';
import { isRefusal, refuse, type Task } from '../base/index.js';
import { AddressSpace, PAGE_BYTES, Pasid, type Process, Processes, Trap } from './index.js';

function machine(cpus = 1) {
  const platform = new FakePlatform({ cpus });
  const context = fakeContext(platform);
  const processes = new Processes(context);
  const spawn = (name: string): Process => {
    const process = processes.spawn(name);
    if (isRefusal(process)) throw new Error(process.why);
    return process;
  };
  return { platform, context, processes, spawn, tasks: context.tasks };
}

describe('address spaces', () => {
  it('brings memory on the first touch, and copies through page boundaries', () => {
    const { context, spawn, tasks } = machine();
    const { mm } = spawn('p');
    const first = finish(tasks, mm.mmap(3));
    if (isRefusal(first)) throw new Error(first.why);
    expect(mm.table.leaves(first, first + 2)).toEqual([]);
    const bytes = Uint8Array.from({ length: 6000 }, (_, i) => i);
    expect(finish(tasks, mm.copyTo(first * PAGE_BYTES + 3000, bytes))).toBeUndefined();
    const back = new Uint8Array(6000);
    finish(tasks, mm.copyFrom(first * PAGE_BYTES + 3000, back));
    expect(back).toEqual(bytes);
    expect(mm.table.leaves(first, first + 2)).toHaveLength(3);
    expect(finish(tasks, mm.copyTo((first + 3) * PAGE_BYTES - 1, bytes))).toMatchObject({ errno: 'EFAULT' });
    expect(context.frames.inUse).toBeGreaterThan(3);
  });

  it('tells notifiers before a frame is free', () => {
    const { platform, context, spawn, tasks } = machine();
    const { mm } = spawn('p');
    const first = finish(tasks, mm.mmap(4, { at: 0x1000 }));
    for (let page = 0; page < 4; page++)
      finish(tasks, mm.handleFault(0x1000 + page, { write: true, execute: false }));
    const before = context.frames.inUse;
    const told: unknown[] = [];
    mm.addNotifier({
      name: 'test',
      *invalidateRange(from, last) {
        yield 'flushing';
        const leaves = mm.table.leaves(from, last).length;
        told.push({
          from,
          last,
          leaves,
          freed: before - context.frames.inUse,
          cpu: platform.cpus[0]?.flushes,
        });
        return undefined;
      },
      *release() {
        yield 'released';
        return undefined;
      },
    });
    expect(first).toBe(0x1000);
    expect(finish(tasks, mm.munmap(0x1001, 2))).toBeUndefined();
    expect(told).toEqual([{ from: 0x1001, last: 0x1002, leaves: 0, freed: 0, cpu: 1 }]);
    expect(before - context.frames.inUse).toBe(2);
    expect(mm.areas.map((area) => [area.first, area.last])).toEqual([
      [0x1000, 0x1000],
      [0x1003, 0x1003],
    ]);
  });

  it('gives no frame away that hardware may still reach', () => {
    const { platform, context, spawn, tasks } = machine();
    const { mm } = spawn('p');
    const silent = function* () {
      yield 'no answer yet';
      return refuse('EIO', 'no answer');
    };
    finish(tasks, mm.mmap(4, { at: 16 }));
    for (const page of [16, 18]) finish(tasks, mm.handleFault(page, { write: true, execute: false }));
    mm.addNotifier({ name: 'test', invalidateRange: silent, release: silent });
    const { inUse } = context.frames;
    expect(finish(tasks, mm.munmap(16, 2))).toBeUndefined();
    expect(mm.table.leaf(16)).toBeUndefined();
    expect(context.frames.inUse).toBe(inUse);
    finish(tasks, mm.put());
    // The root goes with the last pin: a binding that hardware did not let go of has one.
    expect(context.frames.inUse).toBe(inUse - 1);
    expect(
      platform.events.filter(({ kind }) => kind === 'mm:lost').map(({ fields }) => fields['page']),
    ).toEqual(['0x10000', '0x12000']);
  });

  it('protects, and refuses what is no longer allowed', () => {
    const { spawn, tasks } = machine();
    const { mm } = spawn('p');
    finish(tasks, mm.mmap(2, { at: 16 }));
    finish(tasks, mm.handleFault(16, { write: true, execute: false }));
    finish(tasks, mm.protect({ first: 16, count: 1 }, { write: false, execute: false }));
    expect(mm.table.leaf(16)?.write).toBe(false);
    expect(finish(tasks, mm.handleFault(16, { write: true, execute: false }))).toMatchObject({
      errno: 'EFAULT',
    });
    expect(finish(tasks, mm.handleFault(17, { write: true, execute: false }))).toBeUndefined();
    expect(
      finish(tasks, mm.protect({ first: 17, count: 2 }, { write: false, execute: false })),
    ).toMatchObject({
      errno: 'ENOENT',
    });
    expect(finish(tasks, mm.mmap(1, { at: 17 }))).toMatchObject({ errno: 'EEXIST' });
    expect(finish(tasks, mm.mmap(0))).toMatchObject({ errno: 'EINVAL' });
    expect(finish(tasks, mm.munmap(16, 0))).toMatchObject({ errno: 'EINVAL' });
  });

  it('writes its tables back once asked to', () => {
    const { platform, spawn, tasks } = machine();
    const { mm } = spawn('p');
    finish(tasks, mm.mmap(1, { at: 16 }));
    mm.table.writeBack();
    expect(platform.flushed).toEqual([{ address: mm.table.root * PAGE_BYTES, bytes: PAGE_BYTES }]);
    finish(tasks, mm.handleFault(16, { write: true, execute: false }));
    expect(platform.flushed.map(({ bytes }) => bytes)).toEqual([4096, 4096, 8, 4096, 8, 4096, 8, 8]);
  });
});

describe('processes', () => {
  it('leave nothing behind, whatever they had', () => {
    const { context, processes, spawn, tasks } = machine();
    const before = context.frames.inUse;
    const parent = spawn('p');
    finish(tasks, parent.mm.mmap(5));
    finish(
      tasks,
      parent.mm.copyTo(parent.mm.areas[0] ? parent.mm.areas[0].first * PAGE_BYTES : 0, new Uint8Array(9000)),
    );
    const child = finish(tasks, processes.fork(parent, 'child'));
    if (isRefusal(child)) throw new Error(child.why);
    finish(tasks, processes.kill(parent));
    finish(tasks, processes.kill(child));
    expect([parent.isGone, child.isGone, context.frames.inUse, processes.all]).toEqual([
      true,
      true,
      before,
      [],
    ]);
  });

  it('fork copies memory, shares files, and inherits no PASID and no portal of its own', () => {
    const { platform, processes, spawn, tasks } = machine();
    const parent = spawn('p');
    const released: string[] = [];
    const fd = processes.install(parent, {
      name: 'file',
      *release() {
        yield 'release';
        released.push('file');
      },
    });
    if (isRefusal(fd)) throw new Error(fd.why);
    finish(tasks, parent.mm.mmap(1, { at: 16 }));
    finish(tasks, parent.mm.mmap(1, { at: 32, portal: { frame: 0xfe000, inherited: false, owner: {} } }));
    finish(tasks, parent.mm.mmap(1, { at: 33, portal: { frame: 0xfe001, inherited: true, owner: {} } }));
    finish(tasks, parent.mm.copyTo(16 * PAGE_BYTES, Uint8Array.of(1, 2, 3)));
    parent.mm.setPasid(Pasid.of(9));
    finish(
      tasks,
      processes.user(parent.mainThread, () => (platform.cpus[0]?.pasidMsr ? 0 : Trap.generalProtection())),
    );
    const child = finish(tasks, processes.fork(parent, 'child'));
    if (isRefusal(child)) throw new Error(child.why);
    finish(tasks, parent.mm.copyTo(16 * PAGE_BYTES, Uint8Array.of(4)));
    const bytes = new Uint8Array(3);
    finish(tasks, child.mm.copyFrom(16 * PAGE_BYTES, bytes));
    expect([...bytes]).toEqual([1, 2, 3]);
    expect([child.mm.table.leaf(32), child.mm.table.leaf(33)?.frame]).toEqual([undefined, 0xfe001]);
    expect(child.mm.pasid).toBeUndefined();
    finish(
      tasks,
      processes.user(child.mainThread, () => 0),
    );
    expect(platform.cpus[0]?.pasidMsr).toBe(0);
    finish(
      tasks,
      processes.user(parent.mainThread, () => 0),
    );
    expect(platform.cpus[0]?.pasidMsr).toBe((1 << 31) | 9);
    finish(tasks, processes.close(parent, fd));
    expect(released).toEqual([]);
    finish(tasks, processes.kill(child));
    expect(released).toEqual(['file']);
  });

  it('loads the PASID once on #GP; one that does not help kills', () => {
    const { processes, spawn, tasks, platform } = machine();
    const process = spawn('p');
    process.mm.setPasid(Pasid.of(5));
    let runs = 0;
    const code = function* (): Task {
      yield* processes.user(process.mainThread, () => {
        runs++;
        return Trap.generalProtection();
      });
    };
    processes.start(process.mainThread, code());
    runAll(tasks);
    expect([runs, process.isGone, platform.cpus[0]?.pasidMsr]).toEqual([2, true, 0]);
    expect(platform.events.map(({ kind }) => kind)).toContain('process:trap');
  });

  it('serve page faults of user code, and die of bad ones', () => {
    const { processes, spawn, tasks } = machine(2);
    const process = spawn('p');
    finish(tasks, process.mm.mmap(1, { at: 16 }));
    const code = function* (): Task {
      yield* processes.user(
        process.mainThread,
        () => process.mm.table.leaf(16) ?? Trap.pageFault(16 << 12, true),
      );
      yield* processes.user(process.mainThread, () => Trap.pageFault(17 << 12, false));
      throw new Error('not reached');
    };
    processes.start(process.mainThread, code());
    runAll(tasks);
    expect(process.isGone).toBe(true);
  });

  it('fork that runs out of memory leaves nothing', () => {
    const { context, processes, spawn, tasks } = machine();
    const parent = spawn('p');
    finish(tasks, parent.mm.mmap(3, { at: 16 }));
    finish(tasks, parent.mm.copyTo(16 * PAGE_BYTES, new Uint8Array(3 * PAGE_BYTES)));
    const hog = AddressSpace.create(context, 'hog');
    while (!isRefusal(context.frames.alloc({ kind: 'kernel', use: 'hog' })));
    for (let frame = 300; frame < 306; frame++) context.frames.free(frame);
    const before = context.frames.inUse;
    expect(isRefusal(hog)).toBe(false);
    expect(finish(tasks, processes.fork(parent, 'child'))).toMatchObject({ errno: 'ENOMEM' });
    expect(context.frames.inUse).toBe(before);
  });
});
