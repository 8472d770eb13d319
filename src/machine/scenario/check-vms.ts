/** What the parts of a scenario's virtual machines say of each other, and of the machine that they are on. */
import { vmmAt } from './members.js';
import type { DeviceSpec, QueueSpec, Scenario, VmSpec } from './schema.js';
import { sizeBytes } from './size.js';

type Report = (path: readonly PropertyKey[], what: string) => void;
/** A queue of the host's, by `device/queue`. */
type Queues = (name: string) => QueueSpec | undefined;

/** Of a guest's memory: below the first it does not boot, above the second its frames would not be worth a run. */
const LEAST_MEMORY = 2 ** 20;
const MOST_MEMORY = 2 ** 30;
/** PASID 0 is nobody's. */
const MOST_PASIDS = 0xfffff;

export function checkVms(scenario: Scenario, queue: Queues, report: Report): void {
  if (Object.keys(scenario.vms).length > 0) {
    const { nested, 'second-stage': second = [] } = scenario.machine.iommu;
    if (!nested) report(['vms'], 'need a unit with nested translation: machine.iommu has nested: true');
    if (!second.includes('48-bit')) {
      report(['vms'], 'need a second stage for their memory: machine.iommu has second-stage: [48-bit]');
    }
  }
  const names = new Set(Object.keys(scenario.processes));
  const taken = new Map<string, string>();
  const whole = wholeFunctions(scenario);
  let quotas = 0;
  for (const [name, vm] of Object.entries(scenario.vms)) {
    const at = ['vms', name];
    if (name === 'host') report(at, 'host is the machine that they are on');
    if (names.has(name)) report(at, `there is a process ${name} already`);
    const bytes = sizeBytes(vm.memory);
    if (bytes < LEAST_MEMORY || bytes > MOST_MEMORY || bytes % 4096 !== 0) {
      report([...at, 'memory'], `is ${vm.memory}, and has to be from 1 MiB to 1 GiB, in whole pages`);
    }
    quotas += quotasOf(vm);
    checkDestinations([name, vm], { scenario, queue }, (path, what) =>
      report([...at, 'destinations', ...path], what),
    );
    checkDevices(vm, queue, (path, what) => report([...at, 'devices', ...path], what));
    checkDedicated([name, vm], { queue, taken }, (path, what) => report([...at, 'devices', ...path], what));
    checkWithout(vm, queue, (path, what) => report([...at, 'devices', ...path], what));
    checkWhole([name, vm], { scenario, whole }, (path, what) => report([...at, 'devices', ...path], what));
    checkNumbers(vm, (path, what) => report([...at, 'pasids', 'numbers', ...path], what));
    if ('kernel' in vm.processes) {
      report([...at, 'processes', 'kernel'], "kernel is the guest's kernel, not a process");
    }
  }
  if (quotas > MOST_PASIDS) report(['vms'], `have quotas of ${quotas} PASIDs; there are ${MOST_PASIDS}`);
}

/** What virtual machines of a kind may have of the host's PASIDs, where they are and where they may go. */
export const quotasOf = ({ pasids, destinations, count = 1 }: VmSpec): number =>
  Object.values(destinations).reduce((sum, each) => sum + each.pasids.quota, pasids.quota) * count;

/** All of its devices go along; what they cannot be there, a run finds out. */
function checkDestinations(
  [name, vm]: readonly [string, VmSpec],
  { scenario, queue }: { readonly scenario: Scenario; readonly queue: Queues },
  report: Report,
): void {
  for (const [destination, { devices, pasids }] of Object.entries(vm.destinations)) {
    const vmm = vmmAt(name, destination);
    const isTaken = Object.hasOwn(scenario.vms, vmm) || Object.hasOwn(scenario.processes, vmm);
    if (isTaken) report([destination], `is a process ${vmm} of the host's, and there is one already`);
    if (vm.count !== undefined) report([destination], 'is for one virtual machine, and this stands for many');
    if (vm.kvm === 'late') report([destination], 'is for one whose PASIDs are translated from its boot on');
    for (const [device, { from }] of Object.entries(vm.devices)) {
      if (!from.includes('/')) report([destination], `${device} is a whole function, which cannot go along`);
      else if (!Object.hasOwn(devices, device)) report([destination, 'devices'], `have no ${device}`);
    }
    for (const [device, from] of Object.entries(devices)) {
      const at = [destination, 'devices', device];
      if (!Object.hasOwn(vm.devices, device)) report(at, `${name} has no device ${device}`);
      if (queue(from) === undefined) report(at, `the host has no queue ${from}`);
    }
    checkNumbers({ ...vm, pasids }, (path, what) =>
      report([destination, 'pasids', 'numbers', ...path], what),
    );
  }
}

function checkDevices(vm: VmSpec, queue: Queues, report: Report): void {
  const places = new Map<string, string>();
  for (const [name, { from, at, plugged }] of Object.entries(vm.devices)) {
    if (plugged === 'late' && !from.includes('/'))
      report([name, 'plugged'], `${from} is a whole function, which is there from the boot on`);
    if (plugged === 'late' && vm.count !== undefined)
      report([name, 'plugged'], 'is for one virtual machine, and this stands for many');
    if (from.includes('/') && queue(from) === undefined)
      report([name, 'from'], `the host has no queue ${from}`);
    const other = places.get(at);
    if (other !== undefined) report([name, 'at'], `${at} is ${other}'s place already`);
    places.set(at, name);
    if (!at.endsWith('.0')) report([name, 'at'], `${at} is found by nobody: a virtual device is function 0`);
    if (!at.startsWith('00:'))
      report([name, 'at'], `${at} is found by nobody: a virtual machine has bus 00 alone`);
  }
}

/** The functions that virtual machines have whole, each with who has it. */
function wholeFunctions({ vms }: Scenario): Map<string, string> {
  const owners = new Map<string, string>();
  for (const [vm, { devices }] of Object.entries(vms)) {
    for (const [name, { from }] of Object.entries(devices)) {
      if (!from.includes('/') && !owners.has(from)) owners.set(from, `${vm} ${name}`);
    }
  }
  return owners;
}

/** Of a whole function there is one owner, and no parts; its guest's driver does what the host's would. */
function checkWhole(
  [vm, { devices, count, iommu }]: readonly [name: string, vm: VmSpec],
  { scenario, whole }: { readonly scenario: Scenario; readonly whole: ReadonlyMap<string, string> },
  report: Report,
): void {
  for (const [name, { from, 'shared-queues': shared }] of Object.entries(devices)) {
    const [device = '', queue] = from.split('/');
    const owner = whole.get(device);
    if (queue !== undefined) {
      if (owner !== undefined) report([name, 'from'], `${device} is ${owner}, whole: it has no parts`);
      if (shared !== undefined)
        report([name, 'shared-queues'], `is for a whole function, and this is ${from}`);
      continue;
    }
    const spec = Object.hasOwn(scenario.machine.devices, device)
      ? scenario.machine.devices[device]
      : undefined;
    if (spec === undefined) report([name, 'from'], `the host has no device ${device}`);
    if (owner !== `${vm} ${name}`) report([name, 'from'], `${device} is ${owner ?? ''} already, whole`);
    if (count !== undefined) report([name, 'from'], `${device} is one function, and this stands for many`);
    if (iommu === 'none') report([name, 'from'], `${device} is whole, which needs an IOMMU for its PASIDs`);
    else if (!iommu['caching-mode']) {
      report([name, 'from'], `${device} is whole: the host has to be told of PASIDs (caching-mode)`);
    }
    if (spec !== undefined && (shared ?? 'refused') === 'refused' && !hasSharedLast(spec)) {
      report(
        [name, 'shared-queues'],
        `are refused, and have to be the last of ${device}'s: the guest leaves them out`,
      );
    }
    const opens = scenario.steps.some(({ by, ...step }) => {
      return !by.includes('/') && 'open' in step && String(step.open).startsWith(`${device}/`);
    });
    if (opens)
      report([name, 'from'], `${device} is a virtual machine's, and a process of the host's opens it`);
  }
}

function hasSharedLast({ queues }: DeviceSpec): boolean {
  const modes = Object.values(queues).map(({ mode }) => mode);
  return modes.lastIndexOf('dedicated') < modes.indexOf('shared') || !modes.includes('shared');
}

/** A dedicated queue is one virtual device's, and works with what the host knows to be bound when it is enabled. */
function checkDedicated(
  [vm, { devices, count, iommu }]: readonly [name: string, vm: VmSpec],
  of: { readonly queue: Queues; readonly taken: Map<string, string> },
  report: Report,
): void {
  for (const [name, { from, plugged }] of Object.entries(devices)) {
    if (of.queue(from)?.mode !== 'dedicated') continue;
    const other = of.taken.get(from);
    // Whose it is when it is plugged in, a run finds out.
    const isLate = plugged === 'late';
    if (other !== undefined && !isLate)
      report([name, 'from'], `${from} is dedicated, and is ${other} already`);
    if (!isLate) of.taken.set(from, `${vm} ${name}`);
    if (count !== undefined) report([name, 'from'], `${from} is dedicated, and this stands for many`);
    if (iommu !== 'none' && !iommu['caching-mode']) {
      report([name, 'from'], `${from} is dedicated: the host has to be told of PASIDs (caching-mode)`);
    }
  }
}

/** Without an IOMMU a guest's driver takes neither what needs PASIDs, nor what asks for pages. */
function checkWithout({ devices, iommu }: VmSpec, queue: Queues, report: Report): void {
  if (iommu !== 'none') return;
  for (const [name, { from }] of Object.entries(devices)) {
    const spec = queue(from);
    if (spec?.mode === 'shared')
      report([name, 'from'], `${from} is shared, which needs PASIDs, and an IOMMU`);
    if (spec?.mode === 'dedicated' && spec['block-on-fault']) {
      report([name, 'from'], `${from} lets descriptors ask for pages, which needs an IOMMU (block-on-fault)`);
    }
  }
}

function checkNumbers(
  { pasids, iommu, count }: Pick<VmSpec, 'pasids' | 'iommu' | 'count'>,
  report: Report,
): void {
  const { numbers, quota } = pasids;
  if (iommu === 'none') {
    if (numbers.length > 0) report([], 'are given out by a virtual IOMMU, and there is none');
    return;
  }
  const limit = 2 ** iommu['pasid-bits'];
  if (count !== undefined && numbers.length > 0)
    report([], 'are for one virtual machine, and this stands for many');
  if (numbers.length > quota) report([], `are ${numbers.length}, and the quota is ${quota}`);
  for (const [i, { guest }] of numbers.entries()) {
    if (guest >= limit) report([i, 'guest'], `is ${guest}, and the unit has ${iommu['pasid-bits']} bits`);
  }
}
