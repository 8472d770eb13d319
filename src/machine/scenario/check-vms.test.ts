import { describe, expect, it } from 'vitest';
import { actorsOf } from './members.js';
import { parseScenario } from './parse.js';

const HEAD = `version: 1
models: { shows: a, leaves-out: b, claims: c }
machine:
  iommu: { kind: vtd, second-stage: [48-bit], nested: true }
  devices:
    dsa0: { kind: dsa, at: 6a:01.0, queues: { shared: { mode: shared }, own: { mode: dedicated } } }
processes: { alice: {} }
`;

const BOTH = 'shared-queues: both-numbers';

const VM = {
  devices: 'vdsa0: { from: dsa0/shared, at: 00:05.0 }',
  pasids: 'quota: 8',
  processes: 'bob: {}',
  more: '',
};

const text = (change: Partial<typeof VM>, ...steps: readonly string[]): string => {
  const { devices, pasids, processes, more } = { ...VM, ...change };
  return `${HEAD}vms:
  vm1: { devices: { ${devices} }, pasids: { ${pasids} }, processes: { ${processes} }${more} }
steps: [${steps.join(', ')}]
`;
};

function faults(of: string): string[] {
  const parsed = parseScenario(of);
  return Array.isArray(parsed) ? parsed.map(({ field, what }) => `${field}: ${what}`) : [];
}

describe('a virtual machine', () => {
  it('has processes that do what the ones of the host do, with its own devices', () => {
    const steps = [
      '{ by: vm1/bob, map: { name: page } }',
      '{ by: vm1/bob, open: vdsa0/shared }',
      '{ by: vm1/bob, submit: { to: vdsa0/shared, operation: fill, into: page, pattern: 1, as: job } }',
      '{ by: vm1/bob, wait: { for: job } }',
      '{ by: vm1/bob, fork: { as: carol } }',
      '{ by: vm1/carol, check: { region: page, holds: 1 } }',
      '{ by: vm1/kernel, flush: global }',
      '{ by: host, kill: vm1 }',
    ];
    expect(faults(text({}, ...steps))).toEqual([]);
  });

  const there = (of: string) => ({ more: `, destinations: { there: { ${of} } }` });

  it('goes to a destination that has its devices', () => {
    const spec = there(
      'devices: { vdsa0: dsa0/shared }, pasids: { quota: 4, numbers: [{ guest: 5, host: 9 }] }',
    );
    expect(faults(text(spec, '{ by: host, migrate: vm1/there }'))).toEqual([]);
    expect(faults(text(spec, '{ by: host, migrate: vm1/here }'))).toEqual([
      'steps[0].migrate: vm1 has no destination here; there is there',
    ]);
    expect(faults(text(spec, '{ by: host, migrate: vm2/there }'))).toEqual([
      'steps[0].migrate: there is no virtual machine vm2; there is vm1',
    ]);
    expect(faults(text(spec, '{ by: vm1/bob, migrate: vm1/there }'))).toEqual([
      'steps[0].by: only the host migrates: by: host',
    ]);
  });

  it.each<[string, Partial<typeof VM>, string]>([
    ['lacks a device', there('devices: {}'), 'devices: have no vdsa0'],
    ['has one more', there('devices: { vdsa0: dsa0/shared, w: dsa0/own }'), 'devices.w: vm1 has no device w'],
    [
      'has no such queue',
      there('devices: { vdsa0: dsa1/own }'),
      'devices.vdsa0: the host has no queue dsa1/own',
    ],
    [
      'has numbers that are none of its',
      there('devices: { vdsa0: dsa0/own }, pasids: { numbers: [{ guest: 1024, host: 9 }] }'),
      'pasids.numbers[0].guest: is 1024, and the unit has 10 bits',
    ],
    [
      'is to take a whole function',
      { ...there('devices: {}'), devices: 'v: { from: dsa0, at: 00:05.0 }' },
      ': v is a whole function, which cannot go along',
    ],
    [
      'is for many',
      { more: ', count: 2, destinations: { there: { devices: { vdsa0: dsa0/shared } } }' },
      ': is for one virtual machine, and this stands for many',
    ],
    [
      'is for one that KVM learns of late',
      { more: ', kvm: late, destinations: { there: { devices: { vdsa0: dsa0/shared } } }' },
      ': is for one whose PASIDs are translated from its boot on',
    ],
  ])('is told of a destination that %s', (_, change, fault) => {
    const at = fault.startsWith(':') ? '' : '.';
    expect(faults(text(change))).toContain(`vms.vm1.destinations.there${at}${fault}`);
  });

  it.each<[string, Partial<typeof VM>, string]>([
    [
      'made of a queue that there is not',
      { devices: 'v: { from: dsa1/shared, at: 00:05.0 }' },
      'devices.v.from: the host has no queue dsa1/shared',
    ],
    [
      'two devices made of one dedicated queue',
      { devices: 'v: { from: dsa0/own, at: 00:05.0 }, w: { from: dsa0/own, at: 00:06.0 }' },
      'devices.w.from: dsa0/own is dedicated, and is vm1 v already',
    ],
    [
      'many made of a dedicated queue',
      { devices: 'v: { from: dsa0/own, at: 00:05.0 }', more: ', count: 2' },
      'devices.v.from: dsa0/own is dedicated, and this stands for many',
    ],
    [
      'made of a dedicated queue, without caching mode',
      { devices: 'v: { from: dsa0/own, at: 00:05.0 }', more: ', iommu: { caching-mode: false }' },
      'devices.v.from: dsa0/own is dedicated: the host has to be told of PASIDs (caching-mode)',
    ],
    [
      'made of a function that there is not',
      { devices: 'v: { from: dsa1, at: 00:05.0 }' },
      'devices.v.from: the host has no device dsa1',
    ],
    [
      'made of a whole function, and another of a part of it',
      {
        devices:
          'v: { from: dsa0, at: 00:05.0, shared-queues: both-numbers }, w: { from: dsa0/shared, at: 00:06.0 }',
      },
      'devices.w.from: dsa0 is vm1 v, whole: it has no parts',
    ],
    [
      'two devices made of one whole function',
      { devices: `v: { from: dsa0, at: 00:05.0, ${BOTH} }, w: { from: dsa0, at: 00:06.0, ${BOTH} }` },
      'devices.w.from: dsa0 is vm1 v already, whole',
    ],
    [
      'many made of a whole function',
      { devices: `v: { from: dsa0, at: 00:05.0, ${BOTH} }`, more: ', count: 2' },
      'devices.v.from: dsa0 is one function, and this stands for many',
    ],
    [
      'made of a whole function, without caching mode',
      { devices: `v: { from: dsa0, at: 00:05.0, ${BOTH} }`, more: ', iommu: { caching-mode: false }' },
      'devices.v.from: dsa0 is whole: the host has to be told of PASIDs (caching-mode)',
    ],
    [
      'made of a part, with what is for a whole function',
      { devices: 'v: { from: dsa0/shared, at: 00:05.0, shared-queues: both-numbers }' },
      'devices.v.shared-queues: is for a whole function, and this is dsa0/shared',
    ],
    [
      'refused shared queues that are not the last',
      { devices: 'v: { from: dsa0, at: 00:05.0, shared-queues: refused }' },
      "devices.v.shared-queues: are refused, and have to be the last of dsa0's: the guest leaves them out",
    ],
    [
      'two devices at one place',
      { devices: 'v: { from: dsa0/shared, at: 00:05.0 }, w: { from: dsa0/shared, at: 00:05.0 }' },
      "devices.w.at: 00:05.0 is v's place already",
    ],
    [
      'a device on another bus',
      { devices: 'v: { from: dsa0/shared, at: 01:05.0 }' },
      'devices.v.at: 01:05.0 is found by nobody: a virtual machine has bus 00 alone',
    ],
    [
      'a number that its unit has not',
      { pasids: 'quota: 8, numbers: [{ guest: 1024, host: 5 }]' },
      'pasids.numbers[0].guest: is 1024, and the unit has 10 bits',
    ],
    [
      'more numbers than its quota',
      { pasids: 'quota: 1, numbers: [{ guest: 1, host: 5 }, { guest: 2, host: 6 }]' },
      'pasids.numbers: are 2, and the quota is 1',
    ],
    [
      'numbers of many',
      { pasids: 'numbers: [{ guest: 1, host: 5 }]', more: ', count: 3' },
      'pasids.numbers: are for one virtual machine, and this stands for many',
    ],
    [
      'a process that is called as the kernel is',
      { processes: 'kernel: {}' },
      "processes.kernel: kernel is the guest's kernel, not a process",
    ],
    [
      'a shared queue without an IOMMU',
      { more: ', iommu: none' },
      'devices.vdsa0.from: dsa0/shared is shared, which needs PASIDs, and an IOMMU',
    ],
    [
      'a queue that asks for pages, without an IOMMU',
      { devices: 'v: { from: dsa0/own, at: 00:05.0 }', more: ', iommu: none' },
      'devices.v.from: dsa0/own lets descriptors ask for pages, which needs an IOMMU (block-on-fault)',
    ],
    [
      'numbers without an IOMMU',
      { devices: '', pasids: 'numbers: [{ guest: 1, host: 2 }]', more: ', iommu: none' },
      'pasids.numbers: are given out by a virtual IOMMU, and there is none',
    ],
    [
      'too little memory',
      { more: ', memory: 8 KiB' },
      'memory: is 8 KiB, and has to be from 1 MiB to 1 GiB, in whole pages',
    ],
  ])('is told %s', (_, change, fault) => {
    expect(faults(text(change))).toEqual([`vms.vm1.${fault}`]);
  });

  it('is told that the host cannot nest', () => {
    const change = ['second-stage: [48-bit], nested: true', 'pass-through: true'] as const;
    expect(faults(text({}).replace(...change))).toEqual([
      'vms: need a unit with nested translation: machine.iommu has nested: true',
      'vms: need a second stage for their memory: machine.iommu has second-stage: [48-bit]',
    ]);
  });

  it('is told by the name of a process of the host', () => {
    expect(faults(text({}).replace('vm1:', 'alice:'))).toEqual([
      'vms.alice: there is a process alice already',
    ]);
  });

  it('is told all quotas that are more than there are PASIDs', () => {
    const change = { pasids: 'quota: 1024', more: ', count: 1024' };
    expect(faults(text(change))).toEqual(['vms: have quotas of 1048576 PASIDs; there are 1048575']);
  });

  it.each<[string, string, string]>([
    [
      "a queue of the host's",
      '{ by: vm1/bob, open: dsa0/shared }',
      'open: there is no device dsa0; there is vdsa0',
    ],
    [
      "a queue that its parent's is not",
      '{ by: vm1/bob, open: vdsa0/own }',
      'open: vdsa0 has no queue own; there is shared',
    ],
    [
      'a process that is not there',
      '{ by: vm1/eve, exit: true }',
      'by: vm1/eve is no process of this scenario',
    ],
    [
      'a kernel that opens a shared queue',
      '{ by: vm1/kernel, open: vdsa0/shared }',
      'open: vdsa0/shared is shared, which needs PASIDs: a kernel works without',
    ],
    [
      'a kernel that exits',
      '{ by: vm1/kernel, exit: true }',
      "by: a guest's kernel only does flush, reset-device, copy, map, write, unmap, check, open, wait, close and meet",
    ],
    [
      'a process that copies without a PASID',
      '{ by: vm1/bob, copy: { on: vdsa0/shared, from: letter, into: letter, as: copy1 } }',
      "by: only a guest's kernel copies: by: vm/kernel",
    ],
    [
      'a process that flushes',
      '{ by: vm1/bob, flush: root }',
      "by: only a guest's kernel flushes: by: vm/kernel",
    ],
    [
      'a process that resets',
      '{ by: vm1/bob, reset-device: vdsa0 }',
      "by: only a guest's kernel resets devices: by: vm/kernel",
    ],
    [
      'a reset of nothing',
      '{ by: vm1/kernel, reset-device: dsa0 }',
      'reset-device: there is no device dsa0; there is vdsa0',
    ],
    [
      "the death of a guest's process",
      '{ by: host, kill: vm1/bob }',
      "kill: vm1/bob is not the host's to kill: its virtual machine is",
    ],
    [
      'KVM that is there already',
      '{ by: host, register-kvm: vm1 }',
      'register-kvm: vm1 has it from its boot on; kvm: late has it later',
    ],
    ['a reset of nobody', '{ by: host, reset: vm2 }', 'reset: there is no virtual machine vm2; there is vm1'],
    ['a reset by a guest', '{ by: vm1/bob, reset: vm1 }', 'by: only the host resets: by: host'],
    [
      'KVM of nobody',
      '{ by: host, register-kvm: vm2 }',
      'register-kvm: there is no virtual machine vm2; there is vm1',
    ],
  ])('is told in a step: %s', (_, step, fault) => {
    expect(faults(text({}, step))).toEqual([`steps[0].${fault}`]);
  });

  it('that stands for many has processes of many names, who cannot fork', () => {
    const of = text(
      { more: ', count: 2', processes: 'p: { count: 3 }' },
      '{ by: vm1/p, open: vdsa0/shared }',
    );
    const scenario = parseScenario(of);
    if (Array.isArray(scenario)) throw new Error(faults(of).join());
    const names = ['vm11/p1', 'vm11/p2', 'vm11/p3', 'vm12/p1', 'vm12/p2', 'vm12/p3'];
    expect(actorsOf(scenario).get('vm1/p')).toEqual(names);
    const forks = text({ more: ', count: 2' }, '{ by: vm1/bob, fork: { as: child } }');
    expect(faults(forks)).toEqual(['steps[0].fork.as: vm1/bob stands for many, who cannot fork']);
  });
});
