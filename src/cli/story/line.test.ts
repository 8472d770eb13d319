import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import type { Event } from '../../base/index.js';
import { parseScenario, type Scenario, seededChooser, World } from '../../machine/index.js';
import { paintFor } from '../terminal.js';
import { sentenceOf, storyLine } from './line.js';

// Whole runs: minutes where others use the machine too.
vi.setConfig({ testTimeout: 120_000 });

const SCENARIOS = new URL('../../../scenarios/', import.meta.url);
const SEEDS = 6;
const PLAIN = paintFor(false);

function scenarioOf(text: string): Scenario {
  const scenario = parseScenario(text);
  if (!Array.isArray(scenario)) return scenario;
  throw new Error(scenario.map(({ line, field, what }) => `${line}: ${field}: ${what}`).join('\n'));
}

const tales = readdirSync(SCENARIOS)
  .map((file): [string, Scenario] => [file, scenarioOf(readFileSync(new URL(file, SCENARIOS), 'utf8'))])
  .filter(([, scenario]) => scenario.choices.recorded);

describe.each(tales)('%s', (_, scenario) => {
  it('has a sentence for all that happens, and columns that stand below each other', () => {
    const world = new World(scenario);
    for (let seed = 1; seed <= SEEDS; seed++) {
      world.run(seededChooser(seed), (event) => {
        const sentence = sentenceOf(event);
        expect(sentence, `${event.kind} ${JSON.stringify(event.fields)}`).toBeDefined();
        expect(sentence).not.toMatch(/undefined|null|NaN|[{}]/);
        expect(storyLine(event, PLAIN).slice(6, 8)).toBe('  ');
        expect(storyLine(event, PLAIN).slice(26)).toMatch(/^ {2}\S/);
      });
    }
  });
});

const SOURCES = new URL('../../', import.meta.url);

/** The kinds that kernels, VMMs and the IOASID core tell, as their sources have them. */
function kindsOf(...folders: readonly string[]): string[] {
  const kinds = folders.flatMap((folder) =>
    readdirSync(new URL(folder, SOURCES), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .map((file) => readFileSync(new URL(`${folder}/${file}`, SOURCES), 'utf8'))
      .flatMap((text) => [
        ...text.matchAll(
          /(?<![\w-])'((?:kernel|process|mm|sva|idxd|iommu|kvm|guest|vdcm|vfio|viommu|work|set):[a-z-]+)'/g,
        ),
      ])
      .map((found) => found[1] ?? ''),
  );
  return [...new Set(kinds)].sort();
}

it('has a sentence for every kind that the sources tell, whether a scenario comes to it or not', () => {
  const kinds = kindsOf('kernel', 'vmm', 'ioasid');
  expect(kinds.length).toBeGreaterThan(40);
  expect(kinds.filter((kind) => sentenceOf({ kind, fields: {} }) === undefined)).toEqual([]);
});

describe('a line', () => {
  const event = (change: Partial<Event>): Event => {
    return {
      step: 47,
      actor: 'vm1: PRQ 0',
      layer: 'kernel',
      kind: 'mm:end',
      fields: { mm: 'bob' },
      ...change,
    };
  };

  it.each([
    ['an actor', 'vm1', '    47  vm1                 the address space of bob is gone'],
    [
      'one that is too long',
      'vm1000 a-long-device: unbind',
      '    47  vm1000 a-long-dev…  the address space of bob is gone',
    ],
  ])('has %s in its column', (_, actor, line) => {
    expect(storyLine(event({ actor }), PLAIN)).toBe(line);
  });

  it('is the event as it is, where nobody has words for it', () => {
    expect(storyLine(event({ kind: 'new:kind' }), PLAIN)).toMatch(/ {2}new:kind \{"mm":"bob"\}$/);
  });
});

const ALICE = { owner: 'vm1/alice', vm: 'vm1', guestPasid: 101, pasid: 202 };

/** What a person has to know of a fault: whose it is by all of its names, where, at what work, and why. */
describe('a fault names everybody', () => {
  it.each([
    [
      'iommu:fault',
      {
        ...{ unit: 'dmar0', rid: 'dsa0', page: '0x7f0000004000', access: 'write', code: 0x80, job: 'copy1' },
        ...{ queue: 'dsa0/shared', reason: 'SFS.3: the first stage does not allow it', ...ALICE },
      },
      'dmar0 blocks dsa0, write at 0x7f0000004000, guest PASID 101 of vm1/alice (host 202), for copy1 in dsa0/shared: SFS.3: the first stage does not allow it',
    ],
    [
      'iommu:fault',
      {
        unit: 'dmar0',
        rid: 'dsa0',
        pasid: null,
        page: '0x1000',
        access: 'read',
        code: 2,
        reason: 'RTA.2: no entry',
      },
      'dmar0 blocks dsa0, read at 0x1000, no PASID: RTA.2: no entry',
    ],
    [
      'idxd:error',
      {
        ...{
          device: 'dsa0',
          wq: 0,
          operation: 'fill',
          error: 'translation error',
          write: true,
          overflow: false,
        },
        ...{ address: '0x7f0000004000', job: 'last1', queue: 'dsa0/shared', ...ALICE },
      },
      'dsa0 reports "translation error" at 0x7f0000004000: fill, guest PASID 101 of vm1/alice (host 202), for last1 in dsa0/shared',
    ],
    [
      'iommu:page-request-refused',
      {
        rid: 'dsa0',
        pasid: 2,
        page: '0x4000',
        why: 'ESRCH: bob is gone',
        owner: 'bob',
        job: 'work1',
        queue: 'dsa1/own',
      },
      'cannot have page 0x4000 for dsa0, PASID 2 (bob), for work1 in dsa1/own: ESRCH: bob is gone',
    ],
  ])('%s', (kind, fields, sentence) => {
    expect(sentenceOf({ kind, fields })).toBe(sentence);
  });
});

const REFUSED = `
version: 1
models: { shows: a page that a guest refuses, leaves-out: the rest, claims: that it is told whose it was }
machine:
  memory: 32 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true }
  devices:
    dsa0: { kind: dsa, at: 6a:01.0, engines: 1, queues: { shared: { mode: shared, size: 4 } } }
vms:
  vm1:
    devices: { vdsa0: { from: dsa0/shared, at: 00:05.0 } }
    pasids: { numbers: [{ guest: 101, host: 202 }] }
    processes: { alice: {} }
steps:
  - { by: vm1/alice, map: { name: gone } }
  - { by: vm1/alice, open: vdsa0/shared }
  - { by: vm1/alice, unmap: gone }
  - by: vm1/alice
    submit: { to: vdsa0/shared, operation: fill, into: gone, pattern: 0x61, block-on-fault: true, as: lost }
  - { by: vm1/alice, wait: { for: lost, outcome: any } }
expect: { faults: [SWERR.1a] }
`;

describe.each([1, 2, 3])('a page that a guest refuses, under seed %i', (seed) => {
  it('is told by the device, by the guest, by its VMM and in the end by the device', () => {
    const lines: string[] = [];
    const world = new World(scenarioOf(REFUSED));
    const { findings } = world.run(seededChooser(seed), (event) => {
      const about = ['pri:request', 'iommu:page-request-refused', 'iommu:page-response', 'dsa:complete'];
      if (about.includes(event.kind)) lines.push(storyLine(event, PLAIN).slice(8));
    });
    expect(findings).toEqual([]);
    expect(lines).toEqual([
      'dsa0                asks for page 0x7f0000000000 (write), group 0, host PASID 202 (guest 101 of vm1/alice), for lost',
      'vm1: PRQ 0          cannot have page 0x7f0000000000 for vdsa0, guest PASID 101 of vm1/alice (host 202), for lost in dsa0/shared: EFAULT: vm1/alice has nothing at 0x7f0000000000',
      'vm1: PRQ 0          answers group 0 of vdsa0: invalid request, guest PASID 101 of vm1/alice (host 202), for lost',
      'vm1 iommu           answers group 0 of dsa0: invalid request, guest PASID 101 of vm1/alice (host 202), for lost',
      'dsa0                lost in dsa0/shared ends: page fault, invalid request at 0x7f0000000000, host PASID 202 (guest 101 of vm1/alice)',
    ]);
  });
});
