/**
 * A guest's shared virtual addressing through the whole stack: a machine is booted from a scenario, its kernels have
 * set up every table, and no rule watches.
 *
 * ENQCMD to completion: from a process in guest mode through EPT, PASID translation, shared queue, device TLB and
 * nested tables to the record in its memory, all of it warm. Bind and unbind: by the guest's driver, of an address
 * space that has no PASID: a virtual command, the guest's entry and its invalidation, the VMM's task, VFIO, the host's
 * nested entry and KVM's, and all that taken back; with the scheduler's steps and a seed's choices.
 */
import { Bug, firstChooser, isRefusal, type Task } from '#src/base/index.js';
import { enqcmd } from '#src/hardware/index.js';
import { parseScenario, Scheduler, seededChooser, World } from '#src/machine/index.js';
import type { Suite } from './harness.js';

const SCENARIO = `
version: 1
models: { shows: a guest at work, leaves-out: everything else, claims: nothing }
machine:
  memory: 64 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true, caches: { context: 16, pasid: 64, iotlb: 64 } }
  devices:
    dsa0: { kind: dsa, at: '6a:01.0', engines: 1, device-tlb: 16, queues: { shared: { mode: shared, size: 16 } } }
vms:
  vm1:
    memory: 4 MiB
    devices: { vdsa0: { from: dsa0/shared, at: '00:05.0' } }
    pasids: { quota: 8 }
    processes: { user: {} }
steps:
  - { by: vm1/user, map: { name: from, pages: 1, holds: 'what is moved, ' } }
  - { by: vm1/user, map: { name: into, pages: 1, holds: 'what was there, ' } }
  - { by: vm1/user, open: vdsa0/shared }
  - { by: vm1/user, submit: { to: vdsa0/shared, operation: memmove, from: from, into: into, as: job } }
  - { by: vm1/user, wait: { for: job } }
  # Neither comes to where the other is: the queue stays open.
  - { by: vm1/user, meet: here }
  - { by: vm1/user, meet: there }
  - { by: host, meet: there }
  - { by: host, meet: here }
`;

/** Where the program of the machine's first process has its record, its descriptor, and the portal. */
const RECORD = 0x1000_0000 * 4096;
const DESCRIPTOR = RECORD + 64;
const PORTAL = RECORD + 32 * 4096;
const WRITE = 2;
/** Of the virtual accelerator: 00:05.0. */
const DEVICE = 0x28;
const MOVES = 500;
const PAIRS = 50;

/** The machine, where it stands when all has been set up. */
function ready(): World {
  const scenario = parseScenario(SCENARIO);
  if (Array.isArray(scenario)) throw new Error(`the scenario has faults: ${JSON.stringify(scenario)}`);
  const world = new World(scenario);
  const { findings } = world.run(firstChooser);
  if (findings.some(({ rule }) => rule !== 'PROGRESS')) throw new Error(JSON.stringify(findings));
  for (const { device } of world.hardware.accelerators) device.audit = undefined;
  world.hardware.root.audit = undefined;
  world.hardware.unit.translator.audit = undefined;
  world.taps.hooks = undefined;
  world.taps.judgesStores = false;
  return world;
}

/** ENQCMDs, each of which is waited for. */
function moves(): () => void {
  const { hardware, vms } = ready();
  const cpu = vms.get('vm1')?.cpus[0];
  if (cpu === undefined) throw new Error('the guest has no CPU');
  const { memory, engines } = hardware;
  const submission = { source: DESCRIPTOR, destination: PORTAL };
  return () => {
    cpu.cpl = 3;
    for (let i = 0; i < MOVES; i++) {
      const record = cpu.physical(RECORD, WRITE);
      const at = memory.writable(Math.floor(record / 4096), (record % 4096) / 4);
      memory.words[at] = 0;
      const task = enqcmd(cpu, submission);
      while (task.next().done !== true);
      while (engines.ready > 0) engines.stepReady(0);
      if (memory.words[at] !== 1) throw new Error(`a job ended with status ${memory.words[at]}`);
    }
    cpu.cpl = 0;
  };
}

/** Binds and unbinds of a guest's address space, one after the other. */
function binds(): () => void {
  const { hardware, vms, tasks } = ready();
  const vm = vms.get('vm1');
  if (vm === undefined) throw new Error('there is no guest');
  const { kernel } = vm;
  const process = kernel.processes.spawn('bound');
  const device = kernel.iommu.device(DEVICE);
  if (isRefusal(process) || device === undefined) throw new Error('the guest has nothing to bind');
  let done = 0;
  const pairs = function* (): Task {
    for (let i = 0; i < PAIRS; i++) {
      const binding = yield* kernel.sva.bind(device, process.mm);
      if (isRefusal(binding)) throw new Bug(binding.why);
      if ((yield* kernel.sva.unbind(binding)) === undefined) done++;
    }
  };
  const scheduler = new Scheduler(tasks, hardware.scheduled);
  const chooser = seededChooser(1);
  return () => {
    done = 0;
    kernel.context.tasks.spawn('pairs', pairs());
    while (scheduler.step(chooser));
    if (done !== PAIRS) throw new Error(`${done} of ${PAIRS} pairs`);
  };
}

export const guest: Suite = {
  name: 'guest',
  *cases() {
    yield { name: 'ENQCMD to completion, 4 KiB, nested', batch: MOVES, run: moves(), target: 300_000 };
    yield { name: 'bind and unbind of a guest PASID', batch: PAIRS, run: binds(), target: 30_000 };
  },
};
