/**
 * The same attacker with a whole function in the place of a part of one: nobody looks at what it writes into its
 * registers. It reaches its own memory and nothing else, whatever it does there; the other's work, on the function
 * beside it, completes; and when its machine has gone, the function is as good as new.
 */
import { expect, test } from 'vitest';
import { Random, type Task } from '../../src/base/index.js';
import type { DsaDevice } from '../../src/hardware/index.js';
import { type Scenario, seededChooser, World } from '../../src/machine/index.js';
import { HostileGuest } from './guest.js';
import { operate } from './operations.js';
import { EVIL, hostileScenario } from './scenario.js';

const ROUNDS = 10;
const OPERATIONS = 1500;
const TIMEOUT = 120_000;

/** The attacker's device is all of `dsa1`. */
function scenarioOf(sharedQueues: 'refused' | 'both-numbers' | 'one-number'): Scenario {
  const scenario = hostileScenario({ rounds: ROUNDS, cachingMode: true });
  const { machine, vms } = scenario;
  const [dsa0, evil] = [machine.devices['dsa0'], vms[EVIL]];
  if (dsa0 === undefined || evil === undefined) throw new Error('no such machine');
  const queue = { size: 4, 'block-on-fault': true, priority: 1, group: 0 };
  const queues = { own: { ...queue, mode: 'dedicated' }, shared: { ...queue, mode: 'shared' } } as const;
  return {
    ...scenario,
    machine: { ...machine, devices: { dsa0, dsa1: { ...dsa0, at: '6a:02.0', queues } } },
    vms: {
      ...vms,
      [EVIL]: {
        ...evil,
        devices: { vdsa0: { from: 'dsa1', at: '00:05.0', plugged: 'boot', 'shared-queues': sharedQueues } },
      },
    },
  };
}

/** What was found, and what the function has in the end. */
function attack(world: World, seed: number): { findings: string[]; end: string; isGone: boolean } {
  const random = new Random(seed * 7919 + 1);
  const vm = world.vms.get(EVIL);
  if (vm === undefined) throw new Error(`no ${EVIL}`);
  const { taps } = world;
  const kill = function* (): Task {
    taps.ledger.dying.set(`${EVIL}/guest`, taps.ledger.step);
    yield* vm.vm.destroy();
    taps.judge.tell('vmGone', { vm: EVIL, left: vm.vm.remains() });
  };
  const mischief = function* (guest: HostileGuest): Task {
    for (let left = OPERATIONS; left > 0; left--) {
      yield* operate(guest);
      for (let pause = random.below(8); pause >= 0; pause--) yield 'mischief';
    }
    world.tasks.spawn(`kill ${EVIL}`, kill());
  };
  const beside = (): void => {
    const guest = new HostileGuest(world, random, 0);
    guest.takeOver();
    guest.enable();
    vm.kernel.context.tasks.spawn(`${EVIL}/guest`, mischief(guest));
  };
  const { end, findings } = world.run(seededChooser(seed), undefined, beside);
  return {
    ...{ end, isGone: vm.vm.isGone },
    findings: findings.map(({ rule, message }) => `${rule}: ${message}`),
  };
}

/** Counts the descriptors that its queues take. */
function counted(device: DsaDevice): { dedicated: number; shared: number } {
  const taken = { dedicated: 0, shared: 0 };
  const accept = device.accept.bind(device);
  device.accept = (queue, descriptor, table) => {
    taken[queue.isDedicated ? 'dedicated' : 'shared']++;
    accept(queue, descriptor, table);
  };
  return taken;
}

test.each(['refused', 'both-numbers', 'one-number'] as const)(
  'with a whole function, and shared queues: %s',
  { timeout: TIMEOUT },
  (sharedQueues) => {
    const world = new World(scenarioOf(sharedQueues));
    const guest = world.taps.ledger.guest(EVIL);
    if (guest === undefined) throw new Error(`no ${EVIL}`);
    guest.isOpaque = true;
    const device = world.hardware.accelerators.find(({ name }) => name === 'dsa1')?.device;
    if (device === undefined) throw new Error('no dsa1');
    const taken = counted(device);
    for (let seed = 1; seed <= 6; seed++) {
      expect({ seed, ...attack(world, seed) }).toEqual({ seed, findings: [], end: 'ended', isGone: true });
      const { config, pageRequests } = device.parts;
      expect([config.isBusMaster, device.isRunning, pageRequests.outstanding]).toEqual([false, false, 0]);
    }
    // It got work into the function, too.
    expect(taken.dedicated).toBeGreaterThan(0);
    if (sharedQueues !== 'refused') expect(taken.shared).toBeGreaterThan(0);
  },
);
