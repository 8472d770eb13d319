import { describe, expect, it } from 'vitest';
import { parseScenario } from './parse.js';

const HEAD = `version: 1
models: { shows: a, leaves-out: b, claims: c }
machine:
  devices:
    dsa0: { kind: dsa, at: 6a:01.0, queues: { shared: { mode: shared }, own: { mode: dedicated, block-on-fault: false } } }
processes: { alice: {}, bob: {} }
`;

/** The faults, a line each. */
function faults(text: string): string[] {
  const parsed = parseScenario(text);
  return Array.isArray(parsed)
    ? parsed.map(({ line, field, what }) => `${line}: ${field}: ${what}`)
    : ['none'];
}

const steps = (...lines: readonly string[]): string =>
  `${HEAD}steps:\n${lines.map((line) => `  - ${line}\n`).join('')}`;

const SOUND = steps(
  '{ by: alice, map: { name: src, holds: hello } }',
  '{ by: alice, open: dsa0/shared }',
  '{ by: alice, submit: { to: dsa0/shared, operation: fill, into: src, pattern: 0x5a, as: job } }',
  '{ by: alice, wait: { for: job } }',
  '{ by: alice, fork: { as: child } }',
  '{ by: child, check: { region: src, holds: 0x5a } }',
  '{ by: host, kill: bob }',
  '{ by: bob, open: dsa0/own, refused: EBUSY }',
);

describe('a scenario', () => {
  it('that is sound is read, with its defaults', () => {
    const scenario = parseScenario(SOUND);
    if (Array.isArray(scenario)) throw new Error(faults(SOUND).join('\n'));
    expect(scenario.machine).toMatchObject({ memory: '64 MiB', cpus: 2, iommu: { kind: 'vtd' } });
    expect(scenario.machine.devices['dsa0']).toMatchObject({ engines: 1, 'device-tlb': 4 });
    expect(scenario.steps[2]).toEqual({
      by: 'alice',
      submit: {
        to: 'dsa0/shared',
        operation: 'fill',
        into: 'src',
        pattern: 0x5a,
        'block-on-fault': false,
        as: 'job',
        interrupt: false,
        retries: 10_000,
      },
    });
    expect(scenario.steps[7]).toMatchObject({ refused: 'EBUSY' });
    expect(scenario.choices).toEqual({
      ...{ 'allocation-failures': false, 'step-limit': 200_000 },
      ...{ 'at-once': 16, recorded: true },
    });
  });

  it('is refused with all of its faults, in the order of their lines', () => {
    const text = `${HEAD.replace('version: 1', 'version: 2')}steps:\n  - { by: carol, exit: true }\nextra: 1\n`;
    expect(faults(text)).toEqual(['1: version: is 2, and has to be 1', '9: extra: no such key: extra']);
  });
});

const SHAPES: [string, string, string][] = [
  [
    'no YAML',
    'a: [1',
    '1: : Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['a key twice', `${HEAD}version: 1\nsteps: []\n`, '7: : Map keys must be unique'],
  ['tabs', `${HEAD}\tsteps: []\n`, '7: : Tabs are not allowed as indentation'],
  ['two documents', `${HEAD}steps: []\n---\na: 1\n`, '8: : a second document begins here'],
  [
    'an alias of nothing',
    `${HEAD.replace('bob: {}', 'bob: *carol')}steps: []`,
    '6: : no anchor &carol has been set before',
  ],
  [
    'aliases of aliases',
    [
      'a: &a [x]',
      'b: &b [*a, *a, *a, *a]',
      'c: &c [*b, *b, *b, *b]',
      'd: &d [*c, *c, *c, *c]',
      'e: [*d, *d, *d, *d]',
    ].join('\n'),
    '1: : aliases expand to more than 100 nodes each',
  ],
  [
    'a number for a name',
    `${HEAD.replace('alice: {}, bob', 'alice: {},\n  1: {}, bob')}steps: []`,
    '7: processes.1: a name is small letters, digits and dashes, beginning with a letter',
  ],
  [
    'a long text',
    `${HEAD}steps: ${'x'.repeat(1000)}`,
    `7: steps: is "${'x'.repeat(59)}..., and has to be a list`,
  ],
  [
    'a fault that there is not',
    `${HEAD}steps: []\nexpect: { faults: [SFS.2, SWERR.22, SFS.99] }`,
    '8: expect.faults[2]: no fault is called SFS.99; they are as SFS.2 (VT-d) and SWERR.22 (DSA)',
  ],
  [
    'a rule that nobody judges here',
    `${HEAD}steps: []\nexpect: { breaks: REPLAY }`,
    '8: expect.breaks: REPLAY is not judged in a run',
  ],
  [
    'a queue by the name of what every object has',
    `${HEAD}steps:\n  - { by: alice, open: dsa0/constructor }`,
    '8: steps[0].open: dsa0 has no queue constructor; there is shared, own',
  ],
  [
    'a device by the name of what every object has',
    `${HEAD}steps:\n  - { by: alice, open: constructor/name }`,
    '8: steps[0].open: there is no device constructor; there is dsa0',
  ],
  [
    'a function whose device has no function 0',
    `${HEAD.replace('6a:01.0', '6a:01.1')}steps: []`,
    '5: machine.devices.dsa0.at: 6a:01.1 is found by nobody: there is no function 0 at 6a:01.0',
  ],
  [
    'more jobs than a process has records for',
    steps(
      ...Array.from(
        { length: 1030 },
        (_, i) => `{ by: bob, submit: { to: dsa0/own, operation: noop, as: j${i} } }`,
      ),
    ),
    '1032: steps[1024].submit: bob has submitted 1024 jobs before, and can no more',
  ],
  ['a list', '- 1', '1: : is a list, and has to be keys and values'],
  ['nothing', '', '1: : is null, and has to be keys and values'],
  ['without steps', HEAD, '1: steps: is missing'],
  [
    'a text for a number',
    `${HEAD.replace('kind: dsa,', 'kind: dsa, engines: two,')}steps: []`,
    '5: machine.devices.dsa0.engines: is "two", and has to be a number',
  ],
  [
    'a number too large',
    `${HEAD.replace('kind: dsa,', 'kind: dsa, engines: 9,')}steps: []`,
    '5: machine.devices.dsa0.engines: is 9, and can be at most 4',
  ],
  [
    'a place that is none',
    `${HEAD.replace('6a:01.0', '6a:41.0')}steps: []`,
    '5: machine.devices.dsa0.at: is "6a:41.0": a function is bus:device.function in hexadecimal, as 00:04.0',
  ],
  [
    'a mode that is none',
    `${HEAD.replace('mode: shared', 'mode: public')}steps: []`,
    '5: machine.devices.dsa0.queues.shared.mode: is "public", and has to be shared or dedicated',
  ],
  [
    'a bad name',
    `${HEAD.replace('bob:', 'Bob:')}steps: []`,
    '6: processes.Bob: a name is small letters, digits and dashes, beginning with a letter',
  ],
  [
    'a key nobody knows',
    `${HEAD.replace('kind: dsa,', 'kind: dsa, enginse: 1,')}steps: []`,
    '5: machine.devices.dsa0.enginse: no such key: enginse',
  ],
];

const STEPS: [string, string, string][] = [
  ['is a text', 'exit', 'steps[0]: a step has keys and values: by, and an action'],
  [
    'has no action',
    '{ by: alice }',
    'steps[0]: has no action: one of map, write, unmap, open, interrupts, submit, wait, check, close, fork, exit, kill, plug, unplug, pull-out, pause, resume, migrate, reset, register-kvm, flush, reset-device, copy, meet',
  ],
  [
    'has another action',
    '{ by: alice, mpa: { name: a } }',
    'steps[0].mpa: no such action: mpa; one of map, write, unmap, open, interrupts, submit, wait, check, close, fork, exit, kill, plug, unplug, pull-out, pause, resume, migrate, reset, register-kvm, flush, reset-device, copy, meet',
  ],
  [
    'has two actions',
    '{ by: alice, unmap: a, open: dsa0/own }',
    'steps[0]: does one thing at a time, not unmap and open',
  ],
  ['has nobody who does it', '{ exit: true }', 'steps[0].by: is missing'],
  ['lacks a part of its action', '{ by: alice, map: { pages: 2 } }', 'steps[0].map.name: is missing'],
  [
    'has a part of another type',
    '{ by: alice, map: { name: a, holds: true } }',
    'steps[0].map.holds: is true, and has to be text or a number',
  ],
  [
    'has an address within a page',
    '{ by: alice, map: { name: a, at: 4097 } }',
    'steps[0].map.at: is 4097, and has to be a multiple of 4096',
  ],
  [
    'has an errno nobody knows',
    '{ by: alice, exit: true, refused: EWHAT }',
    'steps[0].refused: is "EWHAT", and has to be EDEADLK or ENOTTY or E2BIG or EFAULT or EINVAL or ERANGE or EOVERFLOW or EOPNOTSUPP or ENODEV or ENXIO or ENOENT or ESRCH or EPERM or EACCES or EEXIST or EBUSY or EAGAIN or EINTR or EDQUOT or ENOSPC or ENOMEM or ETIMEDOUT or EIO',
  ],
  ['is done by a stranger', '{ by: carol, exit: true }', 'steps[0].by: carol is no process of this scenario'],
  [
    'is done by the host, who cannot',
    '{ by: host, exit: true }',
    'steps[0].by: the host only does kill, register-kvm, reset, pause, resume, migrate, plug, unplug, pull-out and meet',
  ],
  ['kills, and is not the host', '{ by: alice, kill: bob }', 'steps[0].by: only the host kills: by: host'],
  ['kills a stranger', '{ by: host, kill: carol }', 'steps[0].kill: carol is no process that runs by then'],
  [
    'opens a strange device',
    '{ by: alice, open: dsa1/own }',
    'steps[0].open: there is no device dsa1; there is dsa0',
  ],
  [
    'opens a strange queue',
    '{ by: alice, open: dsa0/wq }',
    'steps[0].open: dsa0 has no queue wq; there is shared, own',
  ],
  [
    'writes to a strange region',
    '{ by: alice, write: { to: a, holds: 1 } }',
    'steps[0].write.to: no region a has been mapped before',
  ],
  [
    'waits for a strange job',
    '{ by: alice, wait: { for: a } }',
    'steps[0].wait.for: alice has submitted no job a before',
  ],
  [
    'submits a fill without a pattern',
    '{ by: alice, submit: { to: dsa0/own, operation: noop, pattern: 1, as: a } }',
    'steps[0].submit.pattern: noop has no pattern',
  ],
  [
    'asks to block where it may not',
    '{ by: alice, submit: { to: dsa0/own, operation: noop, block-on-fault: true, as: a } }',
    'steps[0].submit.block-on-fault: dsa0/own does not let alice ask for it',
  ],
];

const ORDERS: [string, readonly string[], string][] = [
  [
    'a region twice',
    ['{ by: alice, map: { name: a } }', '{ by: alice, map: { name: a } }'],
    '9: steps[1].map.name: there is a region a already; a new one has a new name',
  ],
  [
    "another's region",
    ['{ by: alice, map: { name: a } }', '{ by: bob, unmap: a }'],
    '9: steps[1].unmap: no region a has been mapped before',
  ],
  [
    'a job twice',
    [
      '{ by: alice, submit: { to: dsa0/own, operation: noop, as: a } }',
      '{ by: bob, submit: { to: dsa0/own, operation: noop, as: a } }',
    ],
    '9: steps[1].submit.as: there is a job a already',
  ],
  [
    'steps after the end',
    ['{ by: alice, exit: true }', '{ by: alice, open: dsa0/own }'],
    '9: steps[1].by: alice has ended',
  ],
  [
    'a wait by interrupt for a job that asks for none',
    [
      '{ by: alice, submit: { to: dsa0/own, operation: noop, as: a } }',
      '{ by: alice, wait: { for: a, interrupt: true } }',
    ],
    '9: steps[1].wait.interrupt: a has asked for none',
  ],
  [
    'a child before its birth',
    ['{ by: kid, exit: true }', '{ by: alice, fork: { as: kid } }'],
    '8: steps[0].by: kid is forked later only',
  ],
  [
    'a child with the name of another',
    ['{ by: alice, fork: { as: bob } }'],
    '8: steps[0].fork.as: there is a bob already',
  ],
  [
    'a check of two things',
    ['{ by: alice, map: { name: a } }', '{ by: alice, check: { region: a, holds: 1, equals: a } }'],
    '9: steps[1].check: has either holds or equals',
  ],
];

describe('is told', () => {
  it.each(SHAPES)('%s', (_, text, fault) => {
    expect(faults(text)[0]).toBe(fault);
  });

  it.each(STEPS)('a step that %s', (_, step, fault) => {
    expect(faults(steps(step))).toEqual([`8: ${fault}`]);
  });

  it.each(ORDERS)('%s', (_, lines, fault) => {
    expect(faults(steps(...lines))).toEqual([fault]);
  });

  it.each(['3 MiB', '33 GiB'])('a memory of %s', (memory) => {
    const text = `${HEAD.replace('machine:', `machine:\n  memory: ${memory}`)}steps: []\n`;
    expect(faults(text)).toEqual([`4: machine.memory: is ${memory}, and has to be from 4 MiB to 32 GiB`]);
  });

  it.each([
    [
      'two devices at one place',
      'dsa1: { kind: dsa, at: 6a:01.0, queues: {} }',
      "machine.devices.dsa1.at: 6a:01.0 is dsa0's place already",
    ],
    [
      'a threshold above the size',
      'dsa1: { kind: dsa, at: 6b:01.0, queues: { a: { mode: shared, size: 2, threshold: 3 } } }',
      'machine.devices.dsa1.queues.a.threshold: is 3, and the queue holds 2',
    ],
    [
      'queues that are not listed by group',
      'dsa1: { kind: dsa, at: 6b:01.0, engines: 2, queues: { a: { mode: shared, group: 1 }, b: { mode: shared } } }',
      'machine.devices.dsa1.queues: are listed by their groups, which are counted from 0',
    ],
    [
      'more groups than engines',
      'dsa1: { kind: dsa, at: 6b:01.0, queues: { a: { mode: shared }, b: { mode: shared, group: 1 } } }',
      'machine.devices.dsa1.queues: are of 2 groups, and there is an engine for 1 of them',
    ],
    [
      'a threshold of a dedicated queue',
      'dsa1: { kind: dsa, at: 6b:01.0, queues: { a: { mode: dedicated, threshold: 3 } } }',
      'machine.devices.dsa1.queues.a.threshold: is for shared queues',
    ],
    [
      'queues larger than the device',
      'dsa1: { kind: dsa, at: 6b:01.0, queues: { a: { mode: shared, size: 128 }, b: { mode: shared } } }',
      'machine.devices.dsa1.queues: hold 132 descriptors; the device has 128',
    ],
  ])('%s', (_, device, fault) => {
    const text = `${HEAD.replace('processes:', `    ${device}\nprocesses:`)}steps: []\n`;
    expect(faults(text)).toEqual([`6: ${fault}`]);
  });
});
