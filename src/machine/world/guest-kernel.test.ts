/** What a guest's kernel does with queues of its own, behind each of the IOMMUs that it may have, and none. */
import { describe, expect, it } from 'vitest';
import { parseScenario } from '../scenario/parse.js';
import { seededChooser } from './seeded-chooser.js';
import { World } from './world.js';

const SEEDS = 4;

const scenario = (vm: string, ...steps: readonly string[]): string => `version: 1
models: { shows: a, leaves-out: b, claims: c }
machine:
  memory: 32 MiB
  cpus: 1
  kernel-dma: identity
  iommu: { kind: vtd, second-stage: [48-bit], nested: true }
  devices:
    dsa0:
      kind: dsa
      at: 6a:01.0
      queues: { one: { mode: dedicated, size: 4, block-on-fault: false } }
vms:
  vm1: { memory: 4 MiB, devices: { v: { from: dsa0/one, at: 00:05.0 } }, ${vm} }
steps:
${steps.map((step) => `  - { by: vm1/kernel, ${step} }`).join('\n')}
`;

function worldOf(text: string): World {
  const parsed = parseScenario(text);
  if (Array.isArray(parsed)) throw new Error(JSON.stringify(parsed));
  return new World(parsed);
}

/** What is found under any seed. */
function findings(text: string): string[] {
  const world = worldOf(text);
  const found: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = world.run(seededChooser(seed));
    expect(result.end).toBe('ended');
    found.push(...result.findings.map(({ rule, message }) => `${rule}: ${message}`));
  }
  return found;
}

const BUFFERS = ["map: { name: letter, pages: 2, holds: 'dear host, ' }", 'map: { name: copy, pages: 2 }'];
const COPY = ['copy: { on: v/one, from: letter, into: copy, as: job }', 'wait: { for: job }'];
const OPEN = 'open: v/one';
const SEEN = 'check: { region: copy, equals: letter }';

const KINDS = [
  ['without an IOMMU', 'iommu: none'],
  ['passed through', 'kernel-dma: identity'],
  ['by what it maps', 'kernel-dma: dma'],
] as const;

describe.each(KINDS)("a guest's kernel, %s", (_, vm) => {
  it('copies bytes, and has its buffers and its queue for itself', () => {
    const more = ['close: v/one', OPEN, "write: { to: letter, holds: 'again, ' }", 'unmap: copy'];
    const again = [
      'map: { name: other, pages: 2 }',
      'copy: { on: v/one, from: letter, into: other, as: job2 }',
    ];
    const steps = [...BUFFERS, OPEN, ...COPY, SEEN, ...more, ...again, 'wait: { for: job2 }'];
    expect(findings(scenario(vm, ...steps, "check: { region: other, holds: 'again, ' }"))).toEqual([]);
  });

  it('leaves nothing of what it has not closed, though it is at work', () => {
    expect(findings(scenario(vm, ...BUFFERS, OPEN, COPY[0] ?? ''))).toEqual([]);
  });

  it('is told bytes that are not there', () => {
    const found = findings(scenario(vm, ...BUFFERS, OPEN, SEEN));
    expect(found[0]).toMatch(
      /^UNDONE: step \d+: vm1\/kernel finds 0x00 at 0x\w+ in its region copy, where 0x64 \(d\)/,
    );
  });
});

describe("a guest's kernel", () => {
  it('has no queue where requests without a PASID are blocked', () => {
    expect(findings(scenario('kernel-dma: blocked', `${OPEN}, refused: ENODEV`))).toEqual([]);
  });

  it('is told a refusal that the scenario does not have', () => {
    const [found] = findings(scenario('kernel-dma: blocked', OPEN));
    expect(found).toMatch(/^UNDONE: step \d+: vm1\/kernel was refused open v\/one with ENODEV .*blocked/);
  });

  it('keeps a queue through a flush, and one that is passed through also while translation is off', () => {
    const flush = ['flush: global', 'flush: root'];
    const steps = (...more: readonly string[]) => [...BUFFERS, OPEN, ...more, ...COPY, SEEN];
    expect(findings(scenario('kernel-dma: dma', ...steps(...flush)))).toEqual([]);
    expect(findings(scenario('kernel-dma: identity', ...steps(...flush, 'flush: off-on')))).toEqual([]);
  });
});
