/** What guest SVA promises, in so many words, on the whole stack. */
import { expect, test } from 'vitest';
import type { Task } from '../../src/base/index.js';
import { TAG } from '../../src/hardware/index.js';
import { ioasidAlloc, ioasidCapacity, ioasidSetForEach } from '../../src/ioasid/index.js';
import type { Process } from '../../src/kernel/index.js';
import { VMX_PASID_DIRECTORY_ENTRY, VMX_PASID_INDEX, VMX_PASID_TABLE_ENTRY } from '../../src/spec/index.js';
import type { GuestPasidPolicy, Vm } from '../../src/vmm/index.js';
import { Program } from '../native-sva/program.js';
import { TestHost, value } from '../vmm/host.js';
import { startCopy } from './copier.js';

const PAGE = 4096;
const bytesOf = (seed: number): Uint8Array => Uint8Array.from({ length: 3000 }, (_, i) => (i * seed) % 251);

function boot(host: TestHost, name: string, pasids: GuestPasidPolicy): Vm {
  const vm = host.newVm(name, { iommu: { cachingMode: true, pasids } });
  value(host.run(vm.boot()));
  return vm;
}

const LOWEST = { rest: 'lowest', hostMin: 1000, hostMax: 2000 } as const;

/** Eight numbers of a guest's, and the host's behind them. */
function pairs(policy: GuestPasidPolicy): { readonly guest: number[]; readonly host: number[] } {
  const machine = new TestHost();
  const vm = boot(machine, 'vm1', policy);
  const host = new Set<number>();
  const guest = Array.from({ length: 8 }, () => {
    const pasid = value(ioasidAlloc(vm.kernel.pasids, 1, 0xfffff));
    ioasidSetForEach(vm.set, (id) => void host.add(id));
    return pasid;
  });
  return { guest, host: [...host] };
}

test('H-PASID is not G-PASID, and neither can be derived from the other', () => {
  const of = (seed: number, hostMin: number) =>
    pairs({ rest: 'seeded', seed, hostMin, hostMax: hostMin + 500 });
  const [one, otherGuest, otherHost] = [of(1, 1000), of(2, 1000), of(1, 7000)];
  expect(one.guest.length === 8 && one.host.length === 8).toBe(true);
  expect(one.guest.filter((guest, i) => guest === one.host[i])).toEqual([]);
  // One and the same number on one side, and another on the other, both ways.
  expect([otherGuest.host, otherHost.guest]).toEqual([one.host, one.guest]);
  expect(otherGuest.guest.filter((guest, i) => guest === one.guest[i])).toEqual([]);
  expect(otherHost.host.filter((host, i) => host === one.host[i])).toEqual([]);
});

interface Part {
  readonly process: Process;
  /** The first of eight pages, once it has all ready. */
  page: number;
  mayGo: boolean;
}

/** A process that has a descriptor ready, and submits it when it is told to: page 0 into page 3, record in page 6. */
function ready(vm: Vm, name: string, letter: Uint8Array): Part {
  const process = value(vm.kernel.processes.spawn(name));
  const part: Part = { process, page: 0, mayGo: false };
  const code = function* (): Task {
    const idxd = vm.idxd('dsa0');
    if (idxd === undefined) throw new Error('no accelerator');
    const program = new Program(vm, process.mainThread);
    const fd = value(yield* idxd.files.open(process, 0));
    const portal = value(yield* idxd.files.mapPortal(process, fd));
    const page = value(yield* process.mm.mmap(8));
    const at = (index: number): number => (page + index) * PAGE;
    yield* program.store(at(0), letter);
    const move = { src: at(0), dst: at(3), record: at(6), bytes: letter.length, block: true };
    yield* program.storeDescriptor(at(7), move);
    part.page = page;
    while (!part.mayGo) yield 'ready';
    yield* program.enqcmd({ source: at(7), destination: portal * PAGE });
    for (;;) yield 'submitted';
  };
  vm.kernel.processes.start(process.mainThread, code());
  return part;
}

const until = (host: TestHost, isDone: () => boolean): void => {
  for (let steps = 0; !isDone(); steps++) if (!host.some(1) || steps > 300_000) throw new Error('has no end');
};

/** The word of the host's memory that translates a guest's PASID. */
function wordOf(host: TestHost, vm: Vm, guest: number): number {
  const { memory } = host.hardware;
  const { vmcs } = vm.cpus[0] ?? {};
  const { DIRECTORY_SHIFT, TABLE_MASK } = VMX_PASID_INDEX;
  const entry = memory.at(vmcs?.low ?? 0, (guest >>> DIRECTORY_SHIFT) * 2);
  return memory.at(VMX_PASID_DIRECTORY_ENTRY.ADDR.get(memory.words, entry), guest & TABLE_MASK);
}

test("one dword of KVM's table overwritten in memory redirects the next ENQCMD, with no exit", () => {
  const host = new TestHost();
  const numbers = [
    { guestPasid: 101, hostPasid: 202 },
    { guestPasid: 55, hostPasid: 303 },
  ];
  const vm = boot(host, 'vm1', { ...LOWEST, pairs: numbers });
  const alice = ready(vm, 'alice', bytesOf(3));
  until(host, () => alice.page > 0);
  const bob = ready(vm, 'bob', bytesOf(7));
  until(host, () => bob.page > 0);
  expect([alice.process.mm.pasid, bob.process.mm.pasid, bob.page]).toEqual([101, 55, alice.page]);
  const { memory } = host.hardware;
  const word = wordOf(host, vm, 101);
  const { PASID } = VMX_PASID_TABLE_ENTRY;
  expect(PASID.get(memory.words, word)).toBe(202);
  PASID.set(memory.words, word, 303);
  const before = host.events.length;
  alice.mayGo = true;
  host.some(20_000);
  const read = ({ process, page }: Part): Uint8Array => {
    const into = new Uint8Array(3000);
    const results: unknown[] = [];
    const code = function* (): Task {
      results.push(yield* process.mm.copyFrom((page + 3) * PAGE, into));
    };
    vm.kernel.context.tasks.spawn('read', code());
    until(host, () => results.length > 0);
    return into;
  };
  expect(read(bob)).toEqual(bytesOf(7));
  expect(read(alice)).toEqual(new Uint8Array(3000));
  expect(host.events.slice(before).filter(({ kind }) => kind === 'kvm:exit')).toEqual([]);
});

test('a host PASID is never in two sets', () => {
  const host = new TestHost(3);
  const few = { ...LOWEST, hostMin: 10, hostMax: 11 };
  const vms = [boot(host, 'vm1', few), boot(host, 'vm2', few)];
  const seen = new Set<string>();
  const look = (): void => {
    const ids: number[] = [];
    for (const vm of vms) {
      ioasidSetForEach(vm.set, (id) => {
        ids.push(id);
        seen.add(`${vm.name} ${id}`);
      });
    }
    if (new Set(ids).size !== ids.length) throw new Error(`in two sets: ${ids.join(' ')}`);
  };
  // Alone, both at once, and in turn: the same two numbers go from one to the other.
  for (const names of [['vm1'], ['vm2'], ['vm1', 'vm2']]) {
    for (const vm of vms) if (names.includes(vm.name)) startCopy(vm, `alice${names.length}`, bytesOf(3));
    while (host.some(1)) look();
  }
  expect([...seen].sort()).toEqual(expect.arrayContaining(['vm1 10', 'vm2 10']));
  expect(seen.size).toBeGreaterThan(2);
});

/** What hardware has cached of translations by PASID. */
function cached({ hardware }: TestHost): number {
  let found = 0;
  const { iotlb, pasids } = hardware.unit.translator.caches;
  iotlb.visit(({ tag }) => {
    if (tag !== TAG.SECOND) found++;
  });
  pasids.visit(() => void found++);
  for (const { device } of hardware.accelerators) device.parts.tlb.visit(() => void found++);
  return found;
}

test("a guest's wait descriptor never completes before the physical flush", () => {
  for (const seed of [1, 2, 3]) {
    const host = new TestHost(seed);
    const vm = boot(host, 'vm1', LOWEST);
    const alice = ready(vm, 'alice', bytesOf(3));
    until(host, () => alice.page > 0);
    alice.mayGo = true;
    host.some(8000);
    expect(cached(host)).toBeGreaterThan(0);
    let isUnmapped = false;
    const unmap = function* (): Task {
      // The guest's kernel returns when its wait descriptor has told it.
      value(yield* alice.process.mm.munmap(alice.page, 8));
      isUnmapped = true;
    };
    vm.kernel.context.tasks.spawn('unmap', unmap());
    let most = 0;
    until(host, () => {
      const entries: number[] = [];
      host.hardware.unit.translator.caches.iotlb.visit(({ tag, page }) => {
        if (tag !== TAG.SECOND && page >= alice.page && page < alice.page + 8) entries.push(page);
      });
      for (const { device } of host.hardware.accelerators) {
        device.parts.tlb.visit(({ page }) => {
          if (page >= alice.page && page < alice.page + 8) entries.push(page);
        });
      }
      most = Math.max(most, entries.length);
      if (isUnmapped) expect([seed, entries]).toEqual([seed, []]);
      return isUnmapped;
    });
    expect(most).toBeGreaterThan(0);
  }
});

test('after each VM capacity, tables, caches, queues and memory are as before it', () => {
  const host = new TestHost(5);
  const state = () => ({
    frames: host.kernel.context.frames.inUse,
    owners: [...host.owners.keys()].sort((a, b) => a - b).length,
    ids: ioasidCapacity(host.ioasids),
    processes: host.kernel.processes.all.length,
    tasks: host.tasks.tasks.length,
    cached: cached(host),
    queues: host.hardware.accelerators.flatMap(({ device }) => device.queues.map((queue) => queue.occupancy)),
    requests: host.hardware.accelerators.map(({ device }) => device.parts.pageRequests.outstanding),
  });
  const states = Array.from({ length: 5 }, (_, i) => {
    const vm = boot(host, `vm${i}`, LOWEST);
    startCopy(vm, 'alice', bytesOf(3));
    startCopy(vm, 'bob', bytesOf(5));
    if (i % 2 === 0) host.runAll();
    else host.some(2000 * i);
    host.run(vm.destroy());
    host.runAll();
    return state();
  });
  // The first leaves the function's PASID tables, which stay with it.
  for (const each of states.slice(1)) expect(each).toEqual(states[0]);
  expect(states[0]).toMatchObject({ processes: 0, tasks: 0, cached: 0, requests: [0] });
  expect(states[0]?.queues.every((waiting) => waiting === 0)).toBe(true);
});
