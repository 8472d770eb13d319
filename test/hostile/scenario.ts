/**
 * A machine on which one guest is an attacker, and another goes about its work: both have a virtual device on the
 * same shared queue, so that nothing but PASIDs tells them apart.
 */
import { parseScenario, type Scenario } from '../../src/machine/index.js';
import { DSA_ERROR_NAMES, FAULT_REASONS } from '../../src/spec/index.js';

/** What the attacker is called, and the other. */
export const EVIL = 'evil';
export const GOOD = 'good';
/** The virtual function of each. */
export const RID = 0x28;

/** Every fault that hardware knows: the attacker may earn them all. What becomes of the other's work says more. */
const FAULTS = [
  ...Object.values(FAULT_REASONS).map(({ name }) => name),
  ...Object.keys(DSA_ERROR_NAMES).map((code) => `SWERR.${Number(code).toString(16)}`),
];

const HEAD = `
version: 1
models: { shows: a guest that is an attacker, leaves-out: nothing, claims: that it harms itself alone }
machine:
  memory: 24 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true, caches: { context: 2, pasid: 2, iotlb: 8 } }
  devices:
    dsa0: { kind: dsa, at: '6a:01.0', engines: 2, queues: { shared: { mode: shared, size: 4 } } }
vms:
  ${EVIL}:
    memory: 2 MiB
    cpus: 2
    iommu: { caching-mode: CACHING_MODE }
    pasids: { quota: 8, numbers: [{ guest: 1, host: 9 }, { guest: 9, host: 1 }, { guest: 2, host: 5 }] }
    devices: { vdsa0: { from: dsa0/shared, at: '00:05.0' } }
  ${GOOD}:
    memory: 2 MiB
    pasids: { quota: 4, numbers: [{ guest: 1, host: 2 }] }
    devices: { vdsa0: { from: dsa0/shared, at: '00:05.0' } }
    processes: { bob: {} }
`;

/** @param rounds how often the other opens the queue, and has bytes copied to where no memory is yet */
export function hostileScenario({
  rounds,
  cachingMode,
}: {
  readonly rounds: number;
  readonly cachingMode: boolean;
}): Scenario {
  const by = `by: ${GOOD}/bob`;
  const round = (i: number): string[] => [
    `{ ${by}, open: vdsa0/shared }`,
    `{ ${by}, map: { name: copy${i}, pages: 2 } }`,
    `{ ${by}, submit: { to: vdsa0/shared, operation: memmove, from: letter, into: copy${i}, block-on-fault: true, as: job${i}, retries: 1000000 } }`,
    `{ ${by}, wait: { for: job${i} } }`,
    `{ ${by}, check: { region: copy${i}, equals: letter } }`,
    `{ ${by}, unmap: copy${i} }`,
    `{ ${by}, close: vdsa0/shared }`,
  ];
  const steps = [
    `{ ${by}, map: { name: letter, pages: 2, holds: 'not for everybody. ' } }`,
    ...Array.from({ length: rounds }, (_, i) => round(i)).flat(),
  ];
  const text = [
    HEAD.replace('CACHING_MODE', String(cachingMode)),
    'steps:',
    ...steps.map((step) => `  - ${step}`),
    'choices: { step-limit: 1000000 }',
    `expect: { faults: [${[...new Set(FAULTS)].join(', ')}] }`,
  ].join('\n');
  const scenario = parseScenario(text);
  if (Array.isArray(scenario)) throw new Error(scenario.map(({ what }) => what).join('\n'));
  return scenario;
}
