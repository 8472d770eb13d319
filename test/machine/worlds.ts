/** Worlds for tests: from the scenarios that ship, or from a text. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Event } from '../../src/base/index.js';
import { parseScenario, type Scenario, seededChooser, World } from '../../src/machine/index.js';

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

const FRAME = 4096;

/** All bytes of memory that are not zero, all registers and configuration spaces, caches, and what software keeps. */
export function stateOf({ hardware, kernel, taps, tasks }: World): Record<string, unknown> {
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
