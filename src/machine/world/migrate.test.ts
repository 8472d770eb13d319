/** A virtual machine that goes to another VMM of its host, looked at while it does. */
import { beforeAll, describe, expect, it } from 'vitest';
import { bySeed, scenarioOf, worldOf } from '../../../test/machine/worlds.js';
import { assert, type Event, isRefusal } from '../../base/index.js';
import { ioasidFindBySpid, ioasidReports } from '../../ioasid/index.js';
import type { PasidRow } from './pasid-table.js';
import { HostBench } from './state-bench.js';
import { World } from './world.js';

const SEEDS = 40;
// Whole runs: minutes where others use the machine too.
const TIMEOUT = 120_000;
const PAIRS = [
  ['vm1/alice', 101, 202, 505],
  ['vm1/carol', 55, 303, 606],
] as const;

/** A process, its PASID as its own kernel has it, and the host PASID behind that. */
type Pair = readonly [process: string, guest: number | undefined, host: number | undefined];

/** What a run has shown. */
interface Passage {
  readonly seed: number;
  readonly findings: readonly unknown[];
  readonly pasids: readonly PasidRow[];
  /** When it was told to go, what was under way of it; and when it stood still. */
  readonly jobs: number[];
  readonly requests: number[];
  /** Where it could not stay: why; its PASIDs before and after. */
  readonly refused: { why: unknown; before: readonly Pair[]; after: readonly Pair[]; left: unknown };
  /** The same of where it went. */
  readonly gone: { before: readonly Pair[]; after: readonly Pair[]; left: readonly unknown[] };
  /** Jobs that it has sent off before it stood still, and that have arrived after; devices that took its jobs. */
  readonly waited: string[];
  readonly took: Set<string>;
}

function pairsOf({ vms }: World): Pair[] {
  const vm = vms.get('vm1')?.vm.vm;
  assert(vm !== undefined, 'no vm1');
  return vm.kernel.processes.all.map(({ name, mm }) => {
    const guest = mm.pasid;
    const host = guest === undefined ? undefined : ioasidFindBySpid(vm.set, guest);
    return [name, guest, isRefusal(host) ? undefined : host];
  });
}

const isOwn = (mm: string | undefined): boolean => mm?.startsWith('vm1/') === true;

/** What the host has of a VMM that is gone, and of its PASIDs. */
function leftOf(world: World, vmm: string, pairs: readonly Pair[]): unknown[] {
  const { hardware, kernel, taps, vms } = world;
  const bench = new HostBench(hardware, taps, vms);
  const numbers = pairs.flatMap(([, , host]) => (host === undefined ? [] : [host]));
  const reports = ioasidReports(kernel.pasids.core);
  const holders = reports.flatMap((each) => each.holders.map(({ holder }) => holder));
  return [
    ...numbers.flatMap((pasid) => bench.remains(pasid)),
    ...reports.filter(({ id, set }) => numbers.includes(id) || set.endsWith(`(${vmm})`)),
    ...holders.filter((holder) => holder.split(/[ :]/).includes(vmm)),
    ...kernel.processes.all.filter(({ name }) => name === vmm),
    ...Array.from({ length: taps.ledger.frames.pagesOf(vmm) }, () => 'a page of its memory'),
  ];
}

function passage(world: World, seed: number): Passage {
  const waited: string[] = [];
  const took = new Set<string>();
  const [jobs, requests]: [number[], number[]] = [[], []];
  const refused: Passage['refused'] = { why: undefined, before: [], after: [], left: undefined };
  const gone: Passage['gone'] = { before: [], after: [], left: [] };
  const sent = new Set<string>();
  let isThere = false;
  const count = (): void => {
    const { ledger } = world.taps;
    jobs.push(ledger.jobs.pending().filter(({ mm }) => isOwn(mm)).length);
    const asked = [...world.taps.outstanding()].filter(({ pasid }) => isOwn(ledger.pasids.tenure(pasid)?.mm));
    requests.push(asked.length);
  };
  const look = ({ kind, actor, fields }: Event): void => {
    const { to, does } = fields;
    if (does === 'migrate vm1 to there') count();
    if (kind === 'vmm:stop-copy') {
      if (to === 'vm1-there') count();
      (to === 'vm1-there' ? gone : refused).before = pairsOf(world);
      isThere = to === 'vm1-there';
    } else if (kind === 'vmm:not-migrated') {
      Object.assign(refused, {
        why: fields['why'],
        after: pairsOf(world),
        left: leftOf(world, 'vm1-narrow', []),
      });
    } else if (kind === 'vmm:migrated') {
      Object.assign(gone, { after: pairsOf(world), left: leftOf(world, 'vm1', gone.before) });
    } else if (kind === 'step' && isOwn(actor) && String(does).startsWith('submit ') && !isThere) {
      sent.add(`${actor} ${String(does).split(' ')[1]}`);
    } else if (kind === 'dsa:accept' && fields['vm'] === 'vm1') {
      const job = `${String(fields['owner'])} ${String(fields['job']).split(' ').at(-1)}`;
      took.add(`${isThere ? 'there' : 'here'} ${String(fields['queue']).split('/')[0]}`);
      if (isThere && sent.has(job)) waited.push(job);
    }
  };
  const { findings, pasids } = world.run(bySeed(seed), look);
  return { seed, findings, pasids, jobs, requests, refused, gone, waited, took };
}

describe('a virtual machine that goes to another VMM of its host', () => {
  let passages: readonly Passage[] = [];

  beforeAll(() => {
    const world = worldOf('migrate');
    passages = Array.from({ length: SEEDS }, (_, i) => passage(world, i + 1));
  }, TIMEOUT);

  it('breaks no rule', () => {
    for (const { seed, findings } of passages) expect([seed, findings]).toEqual([seed, []]);
  });

  it('has the guest PASIDs that it had, and other host PASIDs behind them', () => {
    for (const { gone } of passages) {
      for (const [process, guest, there, here] of PAIRS) {
        expect(gone.before).toContainEqual([process, guest, there]);
        expect(gone.after).toContainEqual([process, guest, here]);
      }
      for (const [process, guest, host] of gone.before) {
        const now = gone.after.find(([name]) => name === process);
        expect(now?.[1]).toBe(guest);
        expect(now?.[2]).not.toBe(host);
        expect(now?.[2]).toBeDefined();
      }
    }
  });

  it('has left nothing where it was: no entry, cached translation, queue, set, process or memory', () => {
    for (const { seed, gone } of passages) expect([seed, gone.left]).toEqual([seed, []]);
  });

  it('has its work done and its page requests answered before it stands still', () => {
    for (const { jobs, requests } of passages) expect([jobs[1], requests[1]]).toEqual([0, 0]);
    // Else this would show nothing.
    expect(passages.filter(({ jobs }) => (jobs[0] ?? 0) > 0).length).toBeGreaterThan(SEEDS / 4);
    expect(passages.filter(({ requests }) => (requests[0] ?? 0) > 0).length).toBeGreaterThan(SEEDS / 8);
  });

  it('submits while it goes: what has not arrived here arrives there, by another device', () => {
    for (const { took } of passages) expect([...took].sort()).toEqual(['here dsa0', 'there dsa1']);
    expect(passages.filter(({ waited }) => waited.length > 0).length).toBeGreaterThan(SEEDS / 8);
  });

  it('is where it was, with what it had, when a destination cannot be what it was', () => {
    for (const { refused } of passages) {
      expect(refused.why).toBe("EINVAL: vm1-narrow first: its queue's SIZE is 2, and was 4");
      expect(refused.after).toEqual(expect.arrayContaining([...refused.before]));
      expect(refused.left).toEqual([]);
    }
  });

  it('has its host PASIDs given to others, in a machine that stays; the map shows both', () => {
    for (const { pasids } of passages) {
      const rows = pasids.map((row) => [row.process, row.guest, row.pasid, row.set.split(' ').at(-1)]);
      for (const [process, guest, there, here] of PAIRS) {
        expect(rows).toContainEqual([process, guest, here, '(vm1-there)']);
        const newcomer = expect.stringMatching(/^vm2\/newcomers/);
        expect(rows).toContainEqual([newcomer, expect.any(Number), there, '(vm2)']);
      }
    }
  });
});

const HEAD = `version: 1
models: { shows: a, leaves-out: b, claims: c }
machine:
  memory: 32 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true, caches: { context: 2, pasid: 2, iotlb: 4 } }
  devices:
    dsa0: { kind: dsa, at: 6a:01.0, queues: { own: { mode: dedicated, block-on-fault: BOF }, any: { mode: shared } } }
    dsa1: { kind: dsa, at: 6b:01.0, queues: { own: { mode: dedicated, block-on-fault: BOF }, any: { mode: shared } } }
`;
const ONE = 'devices: { v: { from: dsa0/any, at: 00:05.0 } }, processes: { alice: {} }';
const KERNELS = 'devices: { v: { from: dsa0/own, at: 00:05.0 } }';
const to = (from: string): string =>
  `destinations: { there: { devices: { v: ${from} } }, back: { devices: { v: dsa0/any } } }`;
const alice = (what: string): string => `{ by: vm1/alice, ${what} }`;
const host = (what: string): string => `{ by: host, ${what} }`;
const WORK = [
  ...['map: { name: page, pages: 2 }', 'open: v/any', 'meet: begin'].map(alice),
  alice('submit: { to: v/any, operation: fill, into: page, pattern: 7, block-on-fault: true, as: one }'),
  ...['wait: { for: one }', 'check: { region: page, holds: 7 }', 'meet: then'].map(alice),
  alice('submit: { to: v/any, operation: fill, into: page, pattern: 8, as: two }'),
  ...['wait: { for: two }', 'check: { region: page, holds: 8 }', 'close: v/any'].map(alice),
];
const COPIES = ['one', 'two'].flatMap((as) => [
  `{ by: vm1/kernel, copy: { on: v/own, from: a, into: b, as: ${as} } }`,
  `{ by: vm1/kernel, wait: { for: ${as} } }`,
]);
const KERNEL = [
  ...[
    'map: { name: a, pages: 2, holds: hello }',
    'map: { name: b, pages: 2 }',
    'open: v/own',
    'meet: begin',
  ].map((what) => `{ by: vm1/kernel, ${what} }`),
  ...COPIES,
  ...['meet: then', 'check: { region: b, holds: hello }', 'close: v/own'].map(
    (what) => `{ by: vm1/kernel, ${what} }`,
  ),
];
const THERE = [host('meet: begin'), host('migrate: vm1/there'), host('meet: then')];

describe('a virtual machine that goes to another VMM, whatever it is', () => {
  it.each<[string, string, readonly string[]]>([
    ['with caching mode', `${ONE}, ${to('dsa1/any')}`, [...WORK, ...THERE]],
    [
      'whose guest tells new entries by nothing',
      `${ONE}, iommu: { caching-mode: false }, ${to('dsa1/any')}`,
      [...WORK, ...THERE],
    ],
    ['to another VMM with parts of the same queue', `${ONE}, ${to('dsa0/any')}`, [...WORK, ...THERE]],
    [
      'without an IOMMU',
      `${KERNELS}, iommu: none, ${to('dsa1/own').replace('dsa0/any', 'dsa0/own')}`,
      [...KERNEL, ...THERE],
    ],
    [
      'whose kernel maps what its device reaches',
      `${KERNELS}, kernel-dma: dma, ${to('dsa1/own')}`,
      [...KERNEL, ...THERE],
    ],
    [
      'whose kernel reaches all',
      `${KERNELS}, kernel-dma: identity, ${to('dsa1/own')}`,
      [...KERNEL, ...THERE],
    ],
    [
      'there, back, and there again',
      `${ONE}, ${to('dsa1/any')}`,
      [
        ...WORK,
        ...['meet: begin', 'migrate: vm1/there', 'migrate: vm1/back', 'migrate: vm1/there', 'meet: then'].map(
          host,
        ),
      ],
    ],
    [
      'while it stands still',
      `${ONE}, ${to('dsa1/any')}`,
      [
        ...WORK,
        ...['meet: begin', 'pause: vm1', 'migrate: vm1/there', 'resume: vm1', 'meet: then'].map(host),
      ],
    ],
    [
      'after it has stood still with work of its kernel',
      `${KERNELS}, kernel-dma: dma, ${to('dsa1/own')}`,
      [
        ...KERNEL,
        ...['meet: begin', 'pause: vm1', 'resume: vm1', 'migrate: vm1/there', 'meet: then'].map(host),
      ],
    ],
    ['and is killed there', `${ONE}, ${to('dsa1/any')}`, [...WORK, ...THERE, host('kill: vm1')]],
    ['and is reset there', `${ONE}, ${to('dsa1/any')}`, [...WORK, ...THERE, host('reset: vm1')]],
    [
      'and is given a device there',
      `devices: { v: { from: dsa0/any, at: 00:05.0 }, w: { from: dsa0/own, at: 00:06.0, plugged: late } },
        processes: { alice: {} }, destinations: { there: { devices: { v: dsa1/any, w: dsa1/own } } }`,
      [
        ...WORK,
        ...THERE,
        ...['plug: vm1/w', 'meet: given', 'meet: over', 'kill: vm1'].map(host),
        ...['meet: given', 'open: w/own', 'close: w/own', 'meet: over'].map(alice),
      ],
    ],
    [
      'that is refused, for it has asked for interrupts',
      `${ONE}, ${to('dsa1/any')}`,
      [
        ...WORK.slice(0, 2),
        alice('interrupts: v/any'),
        ...WORK.slice(2),
        host('meet: begin'),
        host('migrate: vm1/there, refused: EOPNOTSUPP'),
        host('meet: then'),
      ],
    ],
  ])('%s', (_, vm, steps) => {
    const isKernel = steps.some((step) => step.includes('vm1/kernel'));
    const head = HEAD.replaceAll('BOF', String(!(isKernel && vm.includes('iommu: none'))));
    const text = `${head}vms: { vm1: { ${vm} } }\nsteps:\n${steps.map((step) => `  - ${step}\n`).join('')}`;
    const world = new World(scenarioOf(text));
    for (let seed = 1; seed <= 25; seed++) {
      const { end, findings } = world.run(bySeed(seed));
      expect([seed, end, findings]).toEqual([seed, 'ended', []]);
    }
  });
});
