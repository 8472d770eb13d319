/** Runs an attacker beside a guest that does its work, and says what was found. */
import { Random, type Task } from '../../src/base/index.js';
import { TAG } from '../../src/hardware/index.js';
import { ioasidCapacity } from '../../src/ioasid/index.js';
import type { Kernel } from '../../src/kernel/index.js';
import { seededChooser, World } from '../../src/machine/index.js';
import { HostileGuest } from './guest.js';
import { operate } from './operations.js';
import { EVIL, hostileScenario } from './scenario.js';

/** What to do: the same again for the same numbers. */
export interface Attack {
  readonly seed: number;
  /** After so many operations the attacker's machine is killed. */
  readonly operations: number;
}

const ROUNDS = 30;
const PAUSE = 8;
const worlds = new Map<boolean, World>();

function worldFor(seed: number): World {
  const cachingMode = seed % 2 === 0;
  const known = worlds.get(cachingMode);
  if (known !== undefined) return known;
  const made = new World(hostileScenario({ rounds: ROUNDS, cachingMode }));
  const guest = made.taps.ledger.guest(EVIL);
  if (guest === undefined) throw new Error(`no ${EVIL}`);
  guest.isOpaque = true;
  worlds.set(cachingMode, made);
  return made;
}

/** What is wrong, in lines; none if nothing is. */
export function attack({ seed, operations }: Attack): string[] {
  const world = worldFor(seed);
  const random = new Random(seed * 7919 + 1);
  const wrong: string[] = [];
  let left = operations;
  const vm = world.vms.get(EVIL);
  if (vm === undefined) throw new Error(`no ${EVIL}`);
  const kill = function* (): Task {
    world.taps.ledger.dying.set(`${EVIL}/guest`, world.taps.ledger.step);
    yield* vm.vm.destroy();
    world.taps.judge.tell('vmGone', { vm: EVIL, left: vm.vm.remains() });
  };
  const mischief = function* (guest: HostileGuest): Task {
    for (; left > 0; left--) {
      yield* operate(guest);
      // The VMM and the host come to do what they were told: it takes them many steps.
      for (let pause = random.below(PAUSE); pause >= 0; pause--) yield 'mischief';
    }
    if (left-- === 0) world.tasks.spawn(`kill ${EVIL}`, kill());
  };
  const beside = (): void => {
    const guests = [0, 1].map((cpu) => new HostileGuest(world, random, cpu));
    guests[0]?.takeOver();
    guests[0]?.enable();
    const { tasks } = vm.kernel.context;
    for (const guest of guests) tasks.spawn(`${EVIL}/guest`, mischief(guest));
  };
  try {
    const { end, findings } = world.run(seededChooser(seed), undefined, beside);
    wrong.push(...findings.map(({ rule, message }) => `${rule}: ${message}`));
    if (end !== 'ended') wrong.push(`the run was ${end}`);
    if (!vm.vm.isGone) wrong.push('the attacker is still there');
  } catch (error) {
    wrong.push(`the host threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  return wrong;
}

/** After an attack: what the host has, of all that a VM may use up, and what hardware still knows of any PASID. */
export function hostState(seed: number) {
  const { kernel, hardware } = worldFor(seed);
  const left: string[] = [];
  const { pasids, iotlb } = hardware.unit.translator.caches;
  pasids.visit((rid, pasid) => left.push(`PASID cache: ${rid} ${pasid}`));
  iotlb.visit(({ tag, page }) => tag !== TAG.SECOND && left.push(`IOTLB: ${tag} ${page}`));
  for (const { name, device } of hardware.accelerators) {
    device.parts.tlb.visit(({ pasid, page }) => left.push(`TLB of ${name}: ${pasid} ${page}`));
    for (const { index, occupancy } of device.queues)
      if (occupancy > 0) left.push(`queue ${index} of ${name}`);
    const { outstanding } = device.parts.pageRequests;
    if (outstanding > 0) left.push(`${outstanding} page requests of ${name}`);
  }
  const { context, processes, vfio } = kernel as Kernel & { readonly vfio: { readonly containers: number } };
  return {
    ...{ frames: context.frames.inUse, ids: ioasidCapacity(kernel.pasids.core), containers: vfio.containers },
    processes: processes.all.map(({ name }) => name),
    left,
  };
}

/** The fewest operations after which an attack that fails still does. */
export function shrunk({ seed, operations }: Attack): Attack {
  let [fine, fails] = [-1, operations];
  while (fails - fine > 1) {
    const middle = Math.floor((fine + fails) / 2);
    if (attack({ seed, operations: middle }).length > 0) fails = middle;
    else fine = middle;
  }
  return { seed, operations: fails };
}
