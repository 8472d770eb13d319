/**
 * Virtual devices: a guest's write of a PASID into the configuration of a dedicated queue, which traps into the VMM and
 * from there into VDCM, where one reference is given back and another taken; and a virtual device that is made, taken
 * by a VM, given back and removed. A machine is booted from a scenario, and no rule watches.
 */
import { Bug, firstChooser, isRefusal, type Task } from '#src/base/index.js';
import { ioasidAlloc, ioasidAttachSpid } from '#src/ioasid/index.js';
import { GuestPasid, Mdev, Pasid } from '#src/kernel/index.js';
import { parseScenario, Scheduler, World } from '#src/machine/index.js';
import { DSA_TABLE, DSA_WQCFG, encode } from '#src/spec/index.js';
import type { Suite } from './harness.js';

const SCENARIO = `
version: 1
models: { shows: virtual devices, leaves-out: everything else, claims: nothing }
machine:
  memory: 32 MiB
  cpus: 1
  iommu: { kind: vtd, second-stage: [48-bit], nested: true }
  devices:
    dsa0:
      kind: dsa
      at: '6a:01.0'
      queues: { own: { mode: dedicated, size: 4 }, shared: { mode: shared, size: 16 }, other: { mode: dedicated, size: 4 } }
vms:
  vm1:
    memory: 4 MiB
    devices: { vdsa0: { from: dsa0/own, at: '00:05.0' } }
    pasids: { quota: 8 }
steps: []
`;

const SHARED = 1;
const OTHER = 2;
const RID = 0x28;
const WRITES = 1000;
const PAIRS = 100;
const PASID_BITS = encode(DSA_WQCFG, { PASID: 0xfffff })[2] ?? 0;
const PASID_AT = DSA_TABLE.WQCFG + Math.floor(DSA_WQCFG.PASID.low / 32) * 4;

function ready() {
  const scenario = parseScenario(SCENARIO);
  if (Array.isArray(scenario)) throw new Error(`the scenario has faults: ${JSON.stringify(scenario)}`);
  const world = new World(scenario);
  world.run(firstChooser);
  const vm = world.vms.get('vm1')?.vm.vm;
  const [device] = vm?.options.devices ?? [];
  if (vm === undefined || device === undefined || !('mdev' in device))
    throw new Error('there is no virtual device');
  return { world, vm, mdev: device.mdev };
}

/** Writes of two PASIDs by turns. */
function configurations(): () => void {
  const { vm, mdev } = ready();
  const { set, kernel } = vm;
  const words = [101, 102].map((guest) => {
    const id = ioasidAlloc(set, 1000, 2000);
    if (isRefusal(id) || ioasidAttachSpid(set, id, guest) !== undefined) throw new Error('no PASID');
    mdev.bound({ guest: GuestPasid.of(guest), host: Pasid.of(id), set });
    return encode(DSA_WQCFG, { PASID: guest, PASID_EN: 1 })[2] ?? 0;
  });
  const { mmio } = kernel.context.platform;
  const at = kernel.idxds.find(({ pci }) => pci.rid === RID)?.pci.bar(0) ?? 0;
  // The guest's driver has enabled its device, and not yet the queue.
  const [one = 0, two = 0] = words;
  return () => {
    for (let i = 0; i < WRITES; i += 2) {
      mmio.write32(at + PASID_AT, one);
      mmio.write32(at + PASID_AT, two);
    }
    const kept = mmio.read32(at + PASID_AT) & PASID_BITS;
    if (kept !== (two & PASID_BITS)) throw new Error('the configuration was not taken');
  };
}

/** Virtual devices of one queue, one after the other. */
function devices(wq: number): () => void {
  const { world, vm } = ready();
  const { kernel, tasks, hardware } = world;
  const [idxd] = kernel.idxds;
  if (idxd === undefined) throw new Error('no accelerator');
  let done = 0;
  const pairs = function* (): Task {
    for (let i = 0; i < PAIRS; i++) {
      const mdev = Mdev.create(kernel.context, idxd, { name: 'one more', wq });
      if (isRefusal(mdev)) throw new Bug(mdev.why);
      if (mdev.open(vm.set, () => {}) !== undefined) throw new Bug('it is not there');
      yield* mdev.remove();
      done++;
    }
  };
  const scheduler = new Scheduler(tasks, hardware.scheduled);
  return () => {
    done = 0;
    kernel.context.tasks.spawn('pairs', pairs());
    while (scheduler.step(firstChooser));
    if (done !== PAIRS) throw new Error(`${done} of ${PAIRS}`);
  };
}

export const vdcm: Suite = {
  name: 'vdcm',
  *cases() {
    yield { name: 'WQ configuration that traps', batch: WRITES, run: configurations(), target: 200_000 };
    yield { name: 'shared ADI made, opened and removed', batch: PAIRS, run: devices(SHARED), target: 20_000 };
    yield {
      name: 'dedicated ADI made, opened and removed',
      batch: PAIRS,
      run: devices(OTHER),
      target: 20_000,
    };
  },
};
