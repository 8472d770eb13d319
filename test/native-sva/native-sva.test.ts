/**
 * Native SVA on the whole machine (flow 1, and of flow 7 the death of a process): kernel, VT-d unit, accelerators
 * and CPUs together, real bytes, many orders of what may go either way.
 */
import { describe, expect, it } from 'vitest';
import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import { ioasidCapacity, ioasidInspect } from '../../src/ioasid/index.js';
import { type GroupConfig, PAGE_BYTES, type Process } from '../../src/kernel/index.js';
import { DSA_STATUS } from '../../src/spec/index.js';
import { Bench, type BenchOptions } from './machine.js';
import { Program } from './program.js';

const SHARED: GroupConfig[] = [{ wqs: [{ mode: 'shared', size: 8, blockOnFault: true }], engines: 2 }];
const DEDICATED: GroupConfig[] = [{ wqs: [{ mode: 'dedicated', size: 8, blockOnFault: true }], engines: 1 }];
const SEEDS = Array.from({ length: 10 }, (_, i) => i + 1);

/** Pages of a test's buffer: what is moved, where to, the record, the descriptor. */
const [SRC, DST, RECORD, LINE] = [0, 3, 6, 7];
const BUFFER_PAGES = 8;

function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as T;
}

function start(options: BenchOptions & { groups?: GroupConfig[] } = {}): Bench {
  const bench = new Bench(options);
  for (const device of bench.kernel.idxds) must(bench.run(device.configure(options.groups ?? SHARED)));
  return bench;
}

/** A process with a buffer, and work queue 0 of a device open. */
class Client {
  readonly bench: Bench;
  readonly process: Process;
  readonly program: Program;
  readonly #device: number;
  fd = 0;
  portal = 0;
  buffer = 0;

  constructor(bench: Bench, process: Process, device = 0) {
    this.bench = bench;
    this.process = process;
    this.program = new Program(bench, process.mainThread);
    this.#device = device;
  }

  *open(): Task {
    must(yield* this.tryOpen());
  }

  *tryOpen(): Task<Refusal | undefined> {
    const fd = yield* this.device.files.open(this.process, 0);
    if (isRefusal(fd)) return fd;
    this.fd = fd;
    const portal = yield* this.device.files.mapPortal(this.process, this.fd);
    if (isRefusal(portal)) return portal;
    this.portal = portal * PAGE_BYTES;
    this.buffer = must(yield* this.process.mm.mmap(BUFFER_PAGES)) * PAGE_BYTES;
    return undefined;
  }

  get device() {
    const device = this.bench.kernel.idxds[this.#device];
    if (device === undefined) throw new Error(`no accelerator ${this.#device}`);
    return device;
  }

  at(page: number): number {
    return this.buffer + page * PAGE_BYTES;
  }

  /** Submits a move of `bytes` bytes of `value`. */
  *submit(value: number, bytes: number, block = true): Task {
    const { program } = this;
    yield* program.store(this.at(SRC), new Uint8Array(bytes).fill(value));
    yield* program.store(this.at(RECORD), new Uint8Array(32));
    const move = { src: this.at(SRC), dst: this.at(DST), bytes, record: this.at(RECORD), block };
    yield* program.storeDescriptor(this.at(LINE), move);
    const submission = { destination: this.portal, source: this.at(LINE) };
    if (this.device.wqs[0]?.isDedicated === true) yield* program.movdir64b(submission);
    else yield* program.enqcmd(submission);
  }

  *move(value: number, bytes: number, block = true): Task<number> {
    yield* this.submit(value, bytes, block);
    return yield* this.program.wait(this.at(RECORD));
  }

  *arrived(bytes: number): Task<Uint8Array> {
    const into = new Uint8Array(bytes);
    must(yield* this.process.mm.copyFrom(this.at(DST), into));
    return into;
  }
}

/** A process that takes every frame that becomes free, and finds whether somebody writes to them. */
class Heir {
  readonly #process: Process;
  readonly #pages: number;
  #heap = 0;

  constructor(bench: Bench, pages: number) {
    this.#process = spawn(bench, 'heir');
    this.#pages = pages;
  }

  *take(): Task {
    this.#heap = must(yield* this.#process.mm.mmap(this.#pages)) * PAGE_BYTES;
    for (let page = 0; page < this.#pages; page++) {
      must(yield* this.#process.mm.copyTo(this.#heap + page * PAGE_BYTES, Uint8Array.of(0)));
      yield 'heir: next page';
    }
  }

  /** Whether all that it has is as it came. */
  *isUntouched(): Task<boolean> {
    const found = new Uint8Array(this.#pages * PAGE_BYTES);
    must(yield* this.#process.mm.copyFrom(this.#heap, found));
    return found.every((byte) => byte === 0);
  }
}

const spawn = (bench: Bench, name: string): Process => must(bench.kernel.processes.spawn(name));

function faults(bench: Bench): unknown[] {
  return bench.events.filter(({ kind }) => kind.startsWith('iommu:fault') || kind === 'idxd:quiesce-failed');
}

/** The task that was started last goes on as long as it can. */
function latestTaskFirst(bench: Bench): void {
  const { chooser } = bench;
  bench.chooser = { choose: (n, what) => (what === 'task' ? n - 1 : chooser.choose(n, what)) };
}

/** Posted writes, the last of the engines, land only when no task is left. */
function postedWritesLast(bench: Bench): void {
  const { chooser } = bench;
  bench.chooser = {
    choose(n, what) {
      const isLate = what === 'hardware' && bench.cpus.some(({ posted }) => posted.isReady);
      return isLate && bench.tasks.tasks.length > 0
        ? Math.min(chooser.choose(n, what), n - 2)
        : chooser.choose(n, what);
    },
  };
}

describe('native SVA', () => {
  it.each([
    ['shared', SHARED],
    ['dedicated', DEDICATED],
  ])('moves bytes through a %s queue, and leaves nothing behind', (_mode, groups) => {
    for (const seed of SEEDS) {
      const bench = start({ seed, groups });
      const { processes, pasids, context } = bench.kernel;
      const before = context.frames.inUse;
      const client = new Client(bench, spawn(bench, 'p'));
      bench.run(client.open());
      expect(bench.run(client.move(7, 6000))).toBe(DSA_STATUS.SUCCESS);
      expect(bench.run(client.arrived(6000))).toEqual(new Uint8Array(6000).fill(7));
      const pasid = client.process.mm.pasid ?? 0;
      expect(ioasidInspect(pasids.core, pasid)).toMatchObject({
        state: 'ACTIVE',
        holders: [{ holder: 'mm p' }, { holder: 'iommu 6a:01.0' }],
      });
      must(bench.run(processes.close(client.process, client.fd)));
      expect(ioasidInspect(pasids.core, pasid)).toMatchObject({ holders: [{ holder: 'mm p' }] });
      bench.run(processes.kill(client.process));
      expect(ioasidInspect(pasids.core, pasid)).toMatchObject({ errno: 'ENOENT' });
      // The PASID table of the device stays.
      expect(context.frames.inUse).toBe(before + 1);
      expect(faults(bench)).toEqual([]);
    }
  });

  it('says what a descriptor that does not block met', () => {
    const bench = start({ seed: 3 });
    const client = new Client(bench, spawn(bench, 'p'));
    bench.run(client.open());
    expect(bench.run(client.move(7, 5000, false))).toBe(DSA_STATUS.PAGE_FAULT);
  });

  it('keeps two processes on two devices apart; one process has one PASID on both', () => {
    for (const seed of SEEDS) {
      const bench = start({ seed, devices: 2 });
      const [p, q] = [spawn(bench, 'p'), spawn(bench, 'q')];
      const clients = [new Client(bench, p, 0), new Client(bench, p, 1), new Client(bench, q, 0)];
      const whole = function* (client: Client, value: number): Task {
        yield* client.open();
        expect(yield* client.move(value, 5000)).toBe(DSA_STATUS.SUCCESS);
      };
      clients.forEach((client, i) => {
        bench.tasks.spawn(`client ${i}`, whole(client, i + 1));
      });
      bench.runAll();
      clients.forEach((client, i) => {
        expect(bench.run(client.arrived(5000))).toEqual(new Uint8Array(5000).fill(i + 1));
      });
      expect(new Set([p.mm.pasid, q.mm.pasid])).toEqual(new Set([1, 2]));
      expect(faults(bench)).toEqual([]);
    }
  });

  it.each([
    ['shared', SHARED],
    ['dedicated', DEDICATED],
  ])('gives a forked child no way to submit as its parent: %s', (_mode, groups) => {
    const bench = start({ seed: 9, groups });
    const { processes } = bench.kernel;
    const parent = new Client(bench, spawn(bench, 'p'));
    bench.run(parent.open());
    expect(bench.run(parent.move(1, 100))).toBe(DSA_STATUS.SUCCESS);
    const process = must(bench.run(processes.fork(parent.process, 'child')));
    expect(bench.run(parent.device.files.mapPortal(process, parent.fd))).toMatchObject({ errno: 'EPERM' });
    const child = new Client(bench, process);
    child.buffer = parent.buffer;
    child.portal = parent.portal;
    processes.start(process.mainThread, child.submit(2, 100));
    bench.runAll();
    expect([process.isGone, bench.run(parent.arrived(100))[0]]).toEqual([true, 1]);
    expect(bench.events).toContainEqual({
      kind: 'process:signal',
      fields: { pid: process.pid, process: 'child', signal: 'SIGSEGV' },
    });
  });

  it.each([
    [1, 0],
    [1, 1],
    [2, 0],
    [2, 1],
  ] as const)('lets no byte into a page that was unmapped: %i units, through device %i', (units, which) => {
    for (const seed of SEEDS) {
      const bench = start({ seed, units, devices: 2 });
      const process = spawn(bench, 'writer');
      const heir = new Heir(bench, 3);
      const clients = [new Client(bench, process, 0), new Client(bench, process, 1)];
      for (const client of clients) bench.run(client.open());
      const writer = clients[which];
      if (writer === undefined) throw new Error(`no client ${which}`);
      bench.run(writer.move(7, 3 * PAGE_BYTES));
      const takeAway = function* (): Task {
        must(yield* process.mm.munmap(writer.at(DST) / PAGE_BYTES, 3));
        yield* heir.take();
      };
      // The translation is in the device's TLB, and the move is on its way.
      bench.tasks.spawn('writer', writer.move(8, 3 * PAGE_BYTES));
      bench.tasks.spawn('unmap', takeAway());
      bench.runAll();
      expect(bench.run(heir.isUntouched())).toBe(true);
      expect(bench.run(writer.move(9, 100))).toBe(DSA_STATUS.PAGE_FAULT_INVALID_REQUEST);
    }
  });

  it('closes a queue only after what threads had on their way to it', () => {
    for (const seed of SEEDS) {
      const bench = start({ seed });
      const { processes } = bench.kernel;
      const client = new Client(bench, spawn(bench, 'p'));
      bench.run(client.open());
      expect(bench.run(client.move(1, 100))).toBe(DSA_STATUS.SUCCESS);
      const submit = function* (): Task {
        for (;;) yield* client.submit(2, 100);
      };
      processes.start(client.process.mainThread, submit());
      bench.some(seed * 7);
      const close = function* (): Task {
        must(yield* processes.close(client.process, client.fd));
      };
      latestTaskFirst(bench);
      bench.tasks.spawn('close', close());
      bench.runAll();
      // The portal is gone: the thread that went on submitting met a page fault.
      expect(client.process.isGone).toBe(true);
      expect(faults(bench)).toEqual([]);
    }
  });

  it('leaves no posted descriptor to the next owner of a dedicated queue', () => {
    for (const seed of SEEDS) {
      const bench = start({ seed, groups: DEDICATED });
      const { processes } = bench.kernel;
      const [first, second] = [new Client(bench, spawn(bench, 'p')), new Client(bench, spawn(bench, 'q'))];
      const handOver = function* (): Task {
        yield* first.open();
        yield* first.submit(1, 100);
        must(yield* processes.close(first.process, first.fd));
        yield* second.open();
        yield* second.program.store(second.at(SRC), new Uint8Array(100).fill(2));
      };
      postedWritesLast(bench);
      bench.run(handOver());
      expect(bench.run(second.arrived(100))).toEqual(new Uint8Array(100));
      const record = new Uint8Array(32);
      must(bench.run(second.process.mm.copyFrom(second.at(RECORD), record)));
      expect(record).toEqual(new Uint8Array(32));
      expect(faults(bench)).toEqual([]);
    }
  });

  it.each([
    ['shared', SHARED],
    ['dedicated', DEDICATED],
  ])('survives a process that dies with work in flight: %s', (_mode, groups) => {
    for (const seed of SEEDS) {
      const bench = start({ seed, groups });
      const { processes, pasids } = bench.kernel;
      const victim = new Client(bench, spawn(bench, 'victim'));
      bench.run(victim.open());
      const pasid = victim.process.mm.pasid ?? 0;
      const code = function* (): Task {
        for (;;) yield* victim.submit(7, 3 * PAGE_BYTES);
      };
      processes.start(victim.process.mainThread, code());
      bench.some(50 + seed * 20);
      const heir = new Heir(bench, 16);
      const killAndTake = function* (): Task {
        yield* processes.kill(victim.process);
        while (victim.process.mm.table.leaf(victim.at(DST) / PAGE_BYTES) !== undefined)
          yield 'wait for frames';
        yield* heir.take();
      };
      bench.tasks.spawn('kill', killAndTake());
      bench.runAll();
      expect(bench.run(heir.isUntouched())).toBe(true);
      expect(victim.process.isGone).toBe(true);
      expect(ioasidInspect(pasids.core, pasid)).toMatchObject({ errno: 'ENOENT' });
      const next = new Client(bench, spawn(bench, 'next'));
      bench.run(next.open());
      expect(next.process.mm.pasid).toBe(pasid);
      expect(bench.run(next.move(1, 5000))).toBe(DSA_STATUS.SUCCESS);
      expect(bench.run(next.arrived(5000))).toEqual(new Uint8Array(5000).fill(1));
      expect(faults(bench)).toEqual([]);
    }
  });

  it('leaves nothing behind, whichever page frame is refused', () => {
    let refusals = 0;
    for (let nth = 1; nth <= 24; nth++) {
      const bench = start({ seed: nth, framesMayFail: true });
      const { processes, context, pasids } = bench.kernel;
      const before = context.frames.inUse;
      const { chooser } = bench;
      let count = 0;
      bench.chooser = {
        choose: (n, what) => (what === 'page frame' ? Number(++count === nth) : chooser.choose(n, what)),
      };
      const process = processes.spawn('p');
      if (!isRefusal(process)) {
        const client = new Client(bench, process);
        const code = function* (): Task {
          if ((yield* client.tryOpen()) !== undefined) refusals++;
          else yield* client.move(7, 6000);
        };
        processes.start(process.mainThread, code());
        bench.runAll();
        expect(process.isGone).toBe(true);
      }
      expect(ioasidCapacity(pasids.core).live).toBe(0);
      // The PASID table of the device stays.
      expect(context.frames.inUse - before).toBeLessThanOrEqual(1);
      expect(faults(bench)).toEqual([]);
    }
    expect(refusals).toBeGreaterThan(0);
  });

  it('puts all of it back, byte for byte', () => {
    const bench = start({ seed: 5, devices: 2 });
    const run = () => {
      const client = new Client(bench, spawn(bench, 'p'), 1);
      bench.run(client.open());
      return [bench.run(client.move(9, 100)), client.portal, client.process.mm.pasid];
    };
    bench.mark();
    const before = bench.bytes();
    const first = run();
    expect(Buffer.compare(bench.bytes(), before)).not.toBe(0);
    bench.restore();
    expect(Buffer.compare(bench.bytes(), before)).toBe(0);
    expect(bench.kernel.processes.all).toEqual([]);
    expect(run()).toEqual(first);
  });
});

const NO_SNOOPING: BenchOptions = { snoops: false };

describe('a machine that is made otherwise', () => {
  it.each([
    ['caching mode', { cap: { CM: 1 } }],
    ['no snooping', NO_SNOOPING],
    ['no page-selective invalidation', { cap: { PSI: 0 } }],
    ['small address masks', { cap: { MAMV: 0 } }],
    ['few PASIDs', { ecap: { PSS: 13 } }],
    ['no page-request drain', { ecap: { PDS: 0 } }],
  ] as [string, BenchOptions][])('serves a process: %s', (_what, options) => {
    for (const seed of SEEDS) {
      const bench = start({ seed, ...options });
      const client = new Client(bench, spawn(bench, 'p'));
      bench.run(client.open());
      expect(bench.run(client.move(7, 6000))).toBe(DSA_STATUS.SUCCESS);
      must(bench.run(client.process.mm.munmap(client.at(DST) / PAGE_BYTES, 2)));
      expect(bench.run(client.move(7, 6000))).toBe(DSA_STATUS.PAGE_FAULT_INVALID_REQUEST);
      const { root } = client.process.mm.table;
      expect(bench.writtenBack.has(root)).toBe(options === NO_SNOOPING);
      bench.run(bench.kernel.processes.kill(client.process));
      expect(faults(bench)).toEqual([]);
    }
  });
});

describe('a machine that cannot', () => {
  it.each([
    [{ PRS: 0 }, 'takes no page requests'],
    [{ FSTS: 0 }, 'has no first stages'],
    [{ PASID: 0 }, 'has no PASIDs'],
    [{ DT: 0, PRS: 0 }, 'has no device TLBs'],
  ])('says why there is no SVA: %o', (ecap, why) => {
    const bench = new Bench({ ecap });
    const { device, process } = new Client(bench, spawn(bench, 'p'));
    expect(String(bench.run(device.configure(SHARED)))).toMatch(`ENODEV: no shared queues on dsa0`);
    expect(
      bench.run(device.configure([{ wqs: [{ mode: 'dedicated', size: 4 }], engines: 1 }])),
    ).toBeUndefined();
    const refused = bench.run(device.files.open(process, 0));
    expect(refused).toMatchObject({ errno: 'ENODEV' });
    expect(String(refused)).toContain(why);
    expect(device.wqs[0]?.clients.value).toBe(0);
  });
});
