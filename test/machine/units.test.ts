/**
 * The units that a scenario may describe: with each of them `native-sva` goes as it says, or the kernel refuses what
 * the unit does not offer, and says why.
 */
import { describe, expect, it } from 'vitest';
import { parseScenario, World } from '../../src/machine/index.js';
import { bySeed, scenarioOf, shipped } from './worlds.js';

const IOMMU = '  iommu:\n    kind: vtd\n';

/** `native-sva` on another unit, and with other CPUs. */
function on(unit: readonly string[], cpus: readonly string[] = []): string {
  const lines = [...cpus.map((line) => `  ${line}\n`), IOMMU, ...unit.map((line) => `    ${line}\n`)];
  const said = unit.map((line) => line.split(':')[0]);
  const text = shipped('native-sva');
  const kept = text.split('\n').filter((line) => !said.some((key) => line.startsWith(`    ${key}: `)));
  return kept.join('\n').replace(IOMMU, lines.join(''));
}

/** What rules found under some seeds. */
function findings(text: string, seeds: number): string[] {
  const world = new World(scenarioOf(text));
  return Array.from({ length: seeds }, (_, i) => world.run(bySeed(i + 1))).flatMap((result) =>
    result.findings.map(({ rule, message }) => `${rule}: ${message}`),
  );
}

const FIVE = ['virtual-addresses: 57-bit'];

describe('native-sva goes as it says', () => {
  it.each<[string, string[], string[]]>([
    ['a second stage beside', ['second-stage: [48-bit]'], []],
    ['all stages', ['second-stage: [39-bit, 48-bit, 57-bit]', 'nested: true', 'accessed-dirty: true'], []],
    ['5 levels', ['first-stage: 57-bit'], FIVE],
    ['5 levels for CPUs of 4', ['first-stage: 57-bit'], []],
    ['16 bits of PASIDs', ['pasid-bits: 16'], []],
    ['19 bits of PASIDs', ['pasid-bits: 19'], []],
    ['2 bits of PASIDs', ['pasid-bits: 2'], []],
    ['caching mode', ['caching-mode: true'], []],
    ['no pass-through', ['pass-through: false'], []],
    ['pages of 4 KiB', ['largest-page: 4 KiB'], []],
    ['snoop control', ['snoop-control: true'], []],
    ['stale entries', ['stale-entries: always-stay'], []],
    ['the smallest caches', ['caches: { context: 2, pasid: 2, iotlb: 2, paging-structures: 2 }'], []],
    ['large caches', ['caches: { context: 64, pasid: 64, iotlb: 1024, paging-structures: 256 }'], []],
    ['an address width of 36', ['host-address-width: 36'], []],
    ['tables that are not snooped', ['snoops-tables: false', 'snoops-walks: true'], []],
    ['walks that are not snooped', ['snoops-walks: false'], []],
    ['no snooping', ['snoops-tables: false'], []],
    ['no snooping, and caching mode', ['snoops-tables: false', 'caching-mode: true'], []],
    ['no snooping of 5 levels', ['snoops-tables: false', 'first-stage: 57-bit'], FIVE],
  ])('with %s', { timeout: 60_000 }, (_name, unit, cpus) => {
    expect(findings(on(unit, cpus), 12)).toEqual([]);
  });
});

/** One process, which works at an address that takes five levels. */
const HIGH = `version: 1
models: { shows: a high address, leaves-out: the rest, claims: that it leads there }
machine:
  virtual-addresses: 57-bit
  iommu: { kind: vtd, first-stage: 57-bit }
  devices: { dsa0: { kind: dsa, at: 6a:01.0, queues: { shared: { mode: shared } } } }
processes: { alice: {} }
steps:
  - { by: alice, map: { name: high, at: 0x1f_ffff_ffff_e000, pages: 2, holds: far } }
  - { by: alice, map: { name: low, pages: 2 } }
  - { by: alice, open: dsa0/shared }
  - { by: alice, submit: { to: dsa0/shared, operation: memmove, from: high, into: low, block-on-fault: true, as: down } }
  - { by: alice, wait: { for: down } }
  - { by: alice, check: { region: low, holds: far } }
  - { by: alice, submit: { to: dsa0/shared, operation: fill, into: high, pattern: 7, as: up } }
  - { by: alice, wait: { for: up } }
  - { by: alice, check: { region: high, holds: 7 } }
`.replaceAll('0x1f_ffff_ffff_e000', String(0x1f_ffff_ffff_e000));

it('DMA of five levels reaches what four do not', () => {
  expect(findings(HIGH, 30)).toEqual([]);
});

it('four levels do not reach that far', () => {
  const faults = parseScenario(HIGH.replace('  virtual-addresses: 57-bit\n', ''));
  expect(faults).toEqual([
    { line: 8, field: 'steps[0].map.at', what: 'is beyond 0x7ffffffff000, the last page of a process' },
  ]);
});

/** Shared queues cannot be configured, and a dedicated one cannot be opened. */
const REFUSED = (mode: string, blocks: boolean, unit: string, cpus = '') => `version: 1
models: { shows: what is refused, leaves-out: the rest, claims: that it is }
machine:
  ${cpus}
  iommu: { kind: vtd, ${unit} }
  devices:
    dsa0: { kind: dsa, at: 6a:01.0, queues: { q: { mode: ${mode}, block-on-fault: ${blocks} } } }
processes: { alice: {} }
steps:
  - { by: alice, open: dsa0/q, refused: ENODEV }
`;

describe('the kernel refuses SVA, and the scenario goes on,', () => {
  it.each([
    ['without page requests', 'page-requests: false', '', /dmar0 takes no page requests/],
    ['without device TLBs', 'device-tlbs: false', '', /dmar0 has no device TLBs/],
    ['without a first stage', 'first-stage: none, second-stage: [48-bit]', '', /dmar0 has no first stages/],
    ['without PASIDs', 'pasid-bits: 0', '', /dmar0 has no PASIDs/],
    ['in legacy mode', 'mode: legacy', '', /dmar0 has no PASIDs/],
    ['in legacy mode without a queue', 'mode: legacy, queued-invalidation: false', '', /has no PASIDs/],
    ['in legacy mode of 39 bits', 'mode: legacy, second-stage: [39-bit]', '', /dmar0 has no PASIDs/],
    [
      'in legacy mode that does not snoop',
      'mode: legacy, snoops-tables: false, caching-mode: true',
      '',
      /dmar0 has no PASIDs/,
    ],
    [
      'with CPUs of five levels and a unit of four',
      'first-stage: 48-bit',
      'virtual-addresses: 57-bit',
      /page tables have 5 levels, those of dmar0 not/,
    ],
  ])('%s', (_name, unit, cpus, why) => {
    for (const [mode, blocks] of [
      ['dedicated', false],
      ['shared', true],
    ] as const) {
      const scenario = scenarioOf(REFUSED(mode, blocks, unit, cpus));
      const world = new World(scenario);
      const told: string[] = [];
      const { findings: found } = world.run(bySeed(1), ({ fields }) => told.push(JSON.stringify(fields)));
      expect(found).toEqual([]);
      const unusable = world.unusable.get('6a:01.0');
      expect(unusable === undefined).toBe(mode === 'dedicated');
      if (unusable !== undefined) expect(unusable.why).toMatch(why);
    }
  });
});

describe('what contradicts the rest is refused where it stands:', () => {
  it.each([
    ['mode: legacy, first-stage: 48-bit', 'first-stage: legacy mode has no first stage'],
    ['mode: legacy, second-stage: []', 'second-stage: legacy mode has nothing else'],
    ['mode: legacy, pasid-bits: 16', 'pasid-bits: legacy mode has no PASIDs'],
    ['mode: legacy, page-requests: true', 'page-requests: legacy mode has none'],
    ['mode: legacy, accessed-dirty: true', 'accessed-dirty: legacy mode has none'],
    ['mode: legacy, snoops-walks: false', 'snoops-walks: legacy mode has one for both: as snoops-tables'],
    ['mode: legacy, nested: true', 'nested: it needs both stages'],
    ['first-stage: none', 'first-stage: a unit has one stage at least'],
    ['nested: true', 'nested: it needs both stages'],
    ['accessed-dirty: true', 'accessed-dirty: it needs a second stage'],
    ['queued-invalidation: false', 'queued-invalidation: scalable mode is invalidated by the queue alone'],
    [
      'mode: legacy, queued-invalidation: false, device-tlbs: true',
      'device-tlbs: they are invalidated by the queue alone',
    ],
    ['device-tlbs: false, page-requests: true', 'page-requests: they need device-tlbs'],
    ['pasid-bits: 21', 'pasid-bits: is 21, and can be at most 20'],
    ['caches: { iotlb: 1 }', 'caches.iotlb: is 1, and has to be at least 2'],
  ])('%s', (unit, fault) => {
    const faults = parseScenario(REFUSED('dedicated', false, unit));
    const told = Array.isArray(faults) ? faults.map(({ field, what }) => `${field}: ${what}`) : [];
    expect(told).toEqual([`machine.iommu.${fault}`]);
  });
});
