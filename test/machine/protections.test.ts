/**
 * What keeps a whole function of a virtual machine's apart from a part of another one (flow 4): each scenario that
 * switches a protection off breaks its rule, and no other, under every seed, and says what happened; with the
 * protection on, the same steps keep all rules.
 */
import { describe, expect, it, vi } from 'vitest';
import { World } from '../../src/machine/index.js';
import { bySeed, scenarioOf, shipped } from './worlds.js';

vi.setConfig({ testTimeout: 120_000 });

const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);
const OFF = /^protections: .*$/m;
const EXPECT = /^expect:[\s\S]*/m;

const BROKEN: [scenario: string, rule: string, message: RegExp][] = [
  [
    'pf-and-adi-one-domain-id',
    'ISOLATION',
    /dsa1 read \d+ bytes at 0x10000000 for guest PASID 202 \(host 303\) \(job copy of vm1\/bob, .*, from frame 0x\w+, which is vm1\/alice's page 0x10000000 /,
  ],
  [
    'pf-and-adi-page-requests',
    'UNDONE',
    /dsa1 was told that the page of group \d+, 0x20000000 of guest PASID 202 \(host 303\), is there, and vm1\/bob has had none /,
  ],
  [
    'pf-and-adi-one-bind',
    'TORN',
    /dsa1's entry of guest PASID 202 \(host 303\), which is vm1\/bob's, .*, with the root 0x\w+, which is the kernel's \(page table of vm1\/alice\)/,
  ],
  [
    'pf-and-adi-one-number',
    'OWNER',
    /dsa1\/common took job fill of vm1\/alice, .*, with guest PASID 202 \(host 303\), which is vm1\/bob's, .*: vm1\/alice's own is guest PASID 101 \(host 202\)$/,
  ],
];

const findings = (text: string) => {
  const world = new World(scenarioOf(text));
  return SEEDS.map((seed) => world.run(bySeed(seed)).findings);
};

describe.each(BROKEN)('%s', (name, rule, message) => {
  it(`breaks ${rule}, and nothing else`, () => {
    for (const found of findings(shipped(name))) {
      expect(found.map((each) => each.rule)).toEqual([rule]);
      expect(found[0]?.message).toMatch(message);
    }
  });
});

const SWITCHED_OFF = BROKEN.map(([name]) => name).filter((name) => OFF.test(shipped(name)));

it.each(SWITCHED_OFF)('%s keeps all rules with the protection on', (name) => {
  expect(findings(shipped(name).replace(OFF, '').replace(EXPECT, '')).flat()).toEqual([]);
});
