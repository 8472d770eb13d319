/**
 * A machine on which one guest is an attacker, and another goes about its work: both have a virtual device on the
 * same shared queue, so that nothing but PASIDs tells them apart, and completion interrupts there. The attacker also
 * has a dedicated queue of that accelerator, and the whole of another one.
 */
import { parseScenario, type Scenario } from '../../src/machine/index.js';
import { DSA_ERROR_NAMES, FAULT_REASONS } from '../../src/spec/index.js';

/** What the attacker is called, and the other. */
export const EVIL = 'evil';
export const GOOD = 'good';
/** A virtual function of the attacker's, where firmware has placed it. */
export interface HostileDevice {
  readonly rid: number;
  readonly bar0: number;
  readonly bar2: number;
  /** The page of BAR2 that work goes to. */
  readonly portal: number;
  /** By MOVDIR64B, and not by ENQCMD. */
  readonly isDedicated: boolean;
  /** What it is of, for the ledger. */
  readonly device: string;
  readonly queue: string;
}
export const SHARED: HostileDevice = {
  ...{ rid: 0x28, bar0: 0xe000_0000, bar2: 0xe001_0000, portal: 0x1000 },
  ...{ isDedicated: false, device: 'dsa0', queue: 'dsa0/shared' },
};
const DEDICATED: HostileDevice = {
  ...{ rid: 0x30, bar0: 0xe002_0000, bar2: 0xe003_0000, portal: 0 },
  ...{ isDedicated: true, device: 'dsa0', queue: 'dsa0/own' },
};
/** What it has the whole of. */
export const WHOLE_DEVICE = 'dsa1';
const WHOLE: HostileDevice = {
  ...{ rid: 0x38, bar0: 0xe004_0000, bar2: 0xe005_0000, portal: 0 },
  ...{ isDedicated: true, device: WHOLE_DEVICE, queue: 'dsa1/one' },
};
/** The queues of a whole function that is all that it has. */
const OWN: HostileDevice = {
  ...SHARED,
  portal: 0,
  isDedicated: true,
  device: WHOLE_DEVICE,
  queue: 'dsa1/own',
};
const COMMON: HostileDevice = { ...SHARED, portal: 0x5000, device: WHOLE_DEVICE, queue: 'dsa1/shared' };

/**
 * The most of what it does is done to the first. Dedicated queues and whole functions need a host that is told of new
 * entries.
 */
export function devicesOf(
  devices: Readonly<Record<string, { readonly from: string }>>,
): readonly HostileDevice[] {
  const [from, other] = Object.values(devices).map((device) => device.from);
  if (other !== undefined) return [SHARED, SHARED, DEDICATED, WHOLE];
  return from === WHOLE_DEVICE ? [OWN, COMMON] : [SHARED];
}

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
    dsa0:
      kind: dsa
      at: '6a:01.0'
      engines: 2
      queues: { shared: { mode: shared, size: 4 }, own: { mode: dedicated, size: 4 } }
    dsa1: { kind: dsa, at: '6a:02.0', queues: { one: { mode: dedicated, size: 4 } } }
vms:
  ${EVIL}:
    memory: 2 MiB
    cpus: 2
    iommu: { caching-mode: CACHING_MODE }
    pasids: { quota: 8, numbers: [{ guest: 1, host: 9 }, { guest: 9, host: 1 }, { guest: 2, host: 5 }] }
    devices: { vdsa0: { from: dsa0/shared, at: '00:05.0' } OTHER_DEVICES }
  ${GOOD}:
    memory: 2 MiB
    pasids: { quota: 4, numbers: [{ guest: 1, host: 2 }] }
    devices: { vdsa0: { from: dsa0/shared, at: '00:05.0' } }
    processes: { bob: {} }
`;

const OTHERS = `, vdsa1: { from: dsa0/own, at: '00:06.0' }, whole: { from: dsa1, at: '00:07.0' }`;

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
    `{ ${by}, interrupts: vdsa0/shared }`,
    `{ ${by}, map: { name: copy${i}, pages: 2 } }`,
    `{ ${by}, submit: { to: vdsa0/shared, operation: memmove, from: letter, into: copy${i}, block-on-fault: true, interrupt: true, as: job${i}, retries: 1000000 } }`,
    `{ ${by}, wait: { for: job${i}, interrupt: true } }`,
    `{ ${by}, check: { region: copy${i}, equals: letter } }`,
    `{ ${by}, unmap: copy${i} }`,
    `{ ${by}, close: vdsa0/shared }`,
  ];
  const steps = [
    `{ ${by}, map: { name: letter, pages: 2, holds: 'not for everybody. ' } }`,
    ...Array.from({ length: rounds }, (_, i) => round(i)).flat(),
  ];
  const text = [
    HEAD.replace('CACHING_MODE', String(cachingMode)).replace('OTHER_DEVICES', cachingMode ? OTHERS : ''),
    'steps:',
    ...steps.map((step) => `  - ${step}`),
    'choices: { step-limit: 1000000 }',
    `expect: { faults: [${[...new Set(FAULTS)].join(', ')}] }`,
  ].join('\n');
  const scenario = parseScenario(text);
  if (Array.isArray(scenario)) throw new Error(scenario.map(({ what }) => what).join('\n'));
  return scenario;
}
