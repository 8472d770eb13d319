import { describe, expect, it, vi } from 'vitest';
import {
  bySeed,
  scenarioOf,
  shipped,
  stateOf,
  traceHash,
  traceOf,
  worldOf,
} from '../../../test/machine/worlds.js';
import type { Event } from '../../base/index.js';
import { World } from './world.js';

// Whole runs, hundreds of them: minutes where others use the machine too.
vi.setConfig({ testTimeout: 120_000 });

const SHIPPED = [
  ...['smallest', 'native-sva'],
  ...[
    'two-vms-one-swq',
    'dedicated-adi',
    'adi-reset',
    'aux-domain',
    'unplug',
    'suspend',
    'migrate',
    'shared-adi',
    'late-kvm',
    'wide-flush',
    'silent-guest',
    'pf-and-adi',
    'pf-and-adi-both-numbers',
    'everything',
  ],
];

describe.each(SHIPPED)('%s', (name) => {
  it('keeps all rules under two hundred seeds', () => {
    const world = worldOf(name);
    for (let seed = 1; seed <= 200; seed++) {
      const { end, findings } = world.run(bySeed(seed));
      expect({ seed, end, findings }).toEqual({ seed, end: 'ended', findings: [] });
    }
  });

  it('is the same run for the same seed, whatever ran before, and in a machine made anew', () => {
    const world = worldOf(name);
    const first = traceOf(world, 3);
    expect(first.length).toBeGreaterThan(1000);
    expect(traceOf(world, 4)).not.toBe(first);
    expect(traceOf(world, 3)).toBe(first);
    expect(traceOf(worldOf(name), 3)).toBe(first);
  });

  it('is the same run for the same seed under fifty, in another machine and in another order', () => {
    const [one, other] = [worldOf(name), worldOf(name)];
    const traces = new Map<number, string>();
    for (let seed = 1; seed <= 50; seed++) traces.set(seed, traceHash(one, seed));
    for (let seed = 50; seed >= 1; seed--)
      expect([seed, traceHash(other, seed)]).toEqual([seed, traces.get(seed)]);
    expect(new Set(traces.values()).size).toBeGreaterThan(name === 'smallest' ? 1 : 40);
  });

  it('is put back to the quiet machine, every byte and object, wherever it was', () => {
    const fresh = stateOf(worldOf(name));
    const world = worldOf(name);
    expect(stateOf(world)).toEqual(fresh);
    for (let seed = 1; seed <= 8; seed++) {
      world.run(bySeed(seed));
      if (seed === 1) expect(stateOf(world)).not.toEqual(fresh);
      world.restore();
      expect(stateOf(world)).toEqual(fresh);
    }
  });

  it('runs no other way where it runs but once', () => {
    const scenario = scenarioOf(shipped(name));
    const once = new World(scenario, { isForOneRun: true });
    const told: Event[] = [];
    const result = once.run(bySeed(5), (event) => told.push(event));
    const again: Event[] = [];
    expect(worldOf(name).run(bySeed(5), (event) => again.push(event))).toEqual(result);
    expect(told).toEqual(again);
    expect(() => once.run(bySeed(5))).toThrow('runs again');
  });

  it('is put back from the middle of a run', () => {
    const fresh = stateOf(worldOf(name));
    for (const limit of [3, 10, 20]) {
      const scenario = scenarioOf(`${shipped(name)}\nchoices: { step-limit: ${limit} }\n`);
      const world = new World(scenario);
      expect(world.run(bySeed(limit)).end).toBe('cut-off');
      world.restore();
      expect(stateOf(world)).toEqual(fresh);
    }
  });

  it('tells nothing else when nobody listens', () => {
    const world = worldOf(name);
    const { steps } = world.run(bySeed(9));
    expect(world.run(bySeed(9), () => {}).steps).toBe(steps);
  });
});

describe('a machine', () => {
  it('refuses what it cannot do with the errno that the scenario names', () => {
    const text = shipped('smallest').replace(
      'cpus: 1',
      'cpus: 1\n  iommu: { kind: vtd, page-requests: false }',
    );
    const steps = 'steps:\n  - { by: alice, open: dsa0/shared, refused: ENODEV }\n';
    const { findings } = new World(scenarioOf(text.replace(/steps:[\s\S]*/, steps))).run(bySeed(1));
    expect(findings).toEqual([]);
  });

  it('gives everything back though every allocation may fail', () => {
    const text = `${shipped('native-sva').replace(/expect:[\s\S]*/, '')}
expect: { faults: [SWERR.22, SWERR.1a] }
choices: { allocation-failures: true }
`;
    const world = new World(scenarioOf(text));
    const results = Array.from({ length: 60 }, (_, seed) => world.run(bySeed(seed)));
    const broken = results.flatMap(({ findings }) => findings);
    expect(broken).toEqual([]);
  });

  it('boots its virtual machines though every allocation may fail afterwards', () => {
    const text = `${shipped('two-vms-one-swq')}choices: { allocation-failures: true }\n`;
    const world = new World(scenarioOf(text));
    expect([...world.vms.keys()]).toEqual(['vm1', 'vm2']);
    expect(Array.from({ length: 8 }, (_, seed) => world.run(bySeed(seed)).end)).toEqual(
      Array(8).fill('ended'),
    );
  });

  it.each(['reset', 'kill'])('that is no more (%s) keeps nobody waiting who was still to come', (end) => {
    const head = shipped('late-kvm').replace(/ {4}processes:[\s\S]*/, '');
    const text = `${head}    processes: { p: { count: 5 } }
steps:
  - { by: vm1/p, open: vdsa0/shared }
  - { by: vm1/p, meet: all }
  - { by: vm1/p, close: vdsa0/shared }
  - { by: host, ${end}: vm1 }
  - { by: host, ${end}: vm1 }
  - { by: host, register-kvm: vm1 }
choices: { at-once: 2 }
`;
    const world = new World(scenarioOf(text));
    const results = Array.from({ length: 40 }, (_, seed) => world.run(bySeed(seed)));
    expect(results.flatMap(({ findings }) => findings)).toEqual([]);
  });

  it('says who waits for what when nobody can go on', () => {
    const steps = `steps:
  - { by: alice, meet: nobody-comes }
  - { by: bob, wait: { for: late } }
`.replace(
      '  - { by: bob, wait: { for: late } }\n',
      '  - { by: bob, open: dsa0/shared }\n  - { by: bob, meet: nobody-comes-either }\n  - { by: alice, meet: nobody-comes-either }\n  - { by: bob, meet: nobody-comes }\n',
    );
    const text = shipped('smallest').replace(
      /processes:[\s\S]*/,
      `processes: { alice: {}, bob: {} }\n${steps}`,
    );
    const { findings } = new World(scenarioOf(text)).run(bySeed(1));
    expect(findings.map(({ rule, message }) => [rule, message.replace(/step \d+/, 'step N')])).toEqual([
      [
        'PROGRESS',
        expect.stringMatching(
          /^step N: nobody can go on: (alice waits for the meeting nobody-comes|bob waits)/,
        ),
      ],
    ]);
  });
});
