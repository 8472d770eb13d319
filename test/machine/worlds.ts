/** Worlds for tests: from the scenarios that ship, or from a text. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Event } from '../../src/base/index.js';
import { ioasidCapacity, ioasidSetForEach } from '../../src/ioasid/index.js';
import { parseScenario, type Scenario, seededChooser, World } from '../../src/machine/index.js';
import type { VirtualMachine } from '../../src/machine/world/virtual-machine.js';

/** A scenario by its text; fails with its faults. */
export function scenarioOf(text: string): Scenario {
  const scenario = parseScenario(text);
  if (!Array.isArray(scenario)) return scenario;
  throw new Error(scenario.map(({ line, field, what }) => `${line}: ${field}: ${what}`).join('\n'));
}

export const shipped = (name: string): string =>
  readFileSync(new URL(`../../scenarios/${name}.yaml`, import.meta.url), 'utf8');

export const worldOf = (name: string): World => new World(scenarioOf(shipped(name)));

export const bySeed = seededChooser;

/** What a run tells, as text. */
export function traceOf(world: World, seed: number): string {
  const events: Event[] = [];
  world.run(bySeed(seed), (event) => events.push(event));
  return events.map((event) => JSON.stringify(event)).join('\n');
}

/** The same, in short. */
export const traceHash = (world: World, seed: number): string =>
  createHash('sha256').update(traceOf(world, seed)).digest('hex');

const FRAME = 4096;
const PAGE_WORDS = FRAME / 4;
/** Of a virtual unit, up to the last of its registers. */
const UNIT_WORDS = 0xe40 / 4;
const FIRST_GFN = 0x100;
/** The scenarios' guests have no more. */
const PASIDS = 1024;

/** All bytes of memory that are not zero, all registers and configuration spaces, caches, and what software keeps. */
export function stateOf({ hardware, kernel, taps, tasks, vms }: World): Record<string, unknown> {
  const { memory, unit, accelerators, cpus, root } = hardware;
  const registers = (region: { bytes: number; read32(offset: number): number }): string => {
    const words = Int32Array.from({ length: region.bytes / 4 }, (_, i) => region.read32(i * 4));
    return hashOf(new Uint8Array(words.buffer));
  };
  const listed = <T>(show: (visit: (entry: T) => void) => void): T[] => {
    const entries: T[] = [];
    show((entry) => entries.push(structuredClone(entry)));
    return entries;
  };
  const pasids: unknown[] = [];
  unit.translator.caches.pasids.visit((rid, pasid, domain) => pasids.push([rid, pasid, domain]));
  return {
    memory: memoryHash(memory.ranges, (address, into) => memory.read(address, into)),
    unit: registers(unit),
    iotlb: listed((visit) => unit.translator.caches.iotlb.visit(visit)),
    pasids,
    devices: accelerators.map(({ device }) => ({
      configuration: Array.from({ length: 1024 }, (_, i) => root.readConfig(device.rid, i * 4, 4)),
      registers: device.bars[0] && registers(device.bars[0]),
      tlb: listed((visit) => device.parts.tlb.visit(visit)),
      outstanding: device.parts.pageRequests.outstanding,
      queues: device.queues.map(({ state, occupancy, credits }) => ({ state, occupancy, credits })),
      ready: device.running.map(({ isReady }) => isReady),
      lastTag: device.lastTag,
    })),
    cpus: cpus.map((cpu) => [cpu.cpl, cpu.readPasidMsr(), cpu.posted.length]),
    kernel: {
      frames: kernel.context.frames.inUse,
      processes: kernel.processes.all.map(({ name }) => name),
      attachments: kernel.iommu.devices.map(({ attachments }) => attachments.size),
      vectors: kernel.context.nextVector.value,
    },
    tables: [unit.translator.caches.firstTables, unit.translator.caches.secondTables].map(
      (tables) => tables && listed((visit) => tables.visit(visit)),
    ),
    ids: ioasidCapacity(kernel.pasids.core),
    vms: [...vms.values()].map((vm) => guestStateOf(vm)),
    tasks: tasks.tasks.map(({ name, at }) => [name, at]),
    ledger: {
      step: taps.ledger.step,
      frames: [...taps.ledger.frames.all()],
      guests: [...taps.ledger.guests()].map(({ frames, pasids }) => [[...frames.all()], [...pasids.all()]]),
      pasids: [...taps.ledger.pasids.all()],
      jobs: [...taps.ledger.jobs.pending()],
      opens: [...taps.ledger.opens.all()],
      requests: [...taps.outstanding()],
    },
  };
}

/** Of a virtual machine: its guest's kernel, its virtual unit and functions, its numbers, where its memory lies. */
function guestStateOf({ vm: guest, kernel, name }: VirtualMachine): Record<string, unknown> {
  const { vm } = guest;
  const { platform, frames, nextVector } = kernel.context;
  const [unit] = platform.iommus;
  const ids: number[] = [];
  ioasidSetForEach(vm.set, (id) => void ids.push(id));
  const words = (count: number, read: (at: number) => number): string =>
    hashOf(new Uint8Array(Int32Array.from({ length: count }, (_, i) => read(i * 4)).buffer));
  return {
    ...{ name, isRunning: vm.isRunning, isGone: vm.isGone, ids },
    unit: words(UNIT_WORDS, (at) => platform.mmio.read32((unit?.registers ?? 0) + at)),
    devices: vm.options.devices.map((device) => ({
      configuration: words(PAGE_WORDS, (at) => platform.pci.read(device.at, at, 4)),
      // A whole function's are the host's own.
      registers: 'mdev' in device ? words(device.mdev.registerBytes / 4, (at) => device.mdev.read32(at)) : '',
    })),
    translated: Array.from({ length: PASIDS }, (_, pasid) => guest.mapping(pasid)),
    frames: Array.from({ length: vm.options.memory / FRAME }, (_, i) => vm.hostFrame(FIRST_GFN + i)),
    kernel: {
      frames: frames.inUse,
      processes: kernel.processes.all.map((process) => process.name),
      attachments: kernel.iommu.devices.map(({ attachments }) => attachments.size),
      vectors: nextVector.value,
      pasids: ioasidCapacity(kernel.pasids.core),
    },
  };
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function memoryHash(
  ranges: readonly { first: number; last: number }[],
  read: (address: number, into: Uint8Array) => boolean,
): string {
  const hash = createHash('sha256');
  const bytes = new Uint8Array(FRAME);
  for (const { first, last } of ranges) {
    for (let frame = first; frame <= last; frame++) {
      read(frame * FRAME, bytes);
      hash.update(bytes);
    }
  }
  return hash.digest('hex');
}
