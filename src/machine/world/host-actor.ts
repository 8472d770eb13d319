/** What the host's kernel does in a scenario: it ends or resets what runs on it. */
import type { Refusal, Task } from '../../base/index.js';
import type { Process } from '../../kernel/index.js';
import type { Step } from '../scenario/schema.js';
import type { GuestVm } from './guest-vm.js';
import type { Meetings } from './meetings.js';
import { actionText } from './program.js';
import type { Stage } from './stage.js';
import type { VirtualMachine } from './virtual-machine.js';

/** What the host needs of the cast. */
export interface HostCast {
  readonly stage: Stage;
  readonly meetings: Meetings;
  process(name: string): Process | undefined;
  vmEnds(machine: VirtualMachine): void;
  refused(process: string, action: string, refusal: Refusal): void;
  vmGone(machine: VirtualMachine, left: readonly string[]): void;
  vmReset(name: string, left: readonly string[]): void;
}

/** The host's own steps. */
export function* host(cast: HostCast, steps: readonly Step[]): Task {
  const { taps, host: machine } = cast.stage;
  for (const step of steps) {
    yield 'host';
    if ('meet' in step) {
      yield* cast.meetings.meet(step.meet, 'host');
      continue;
    }
    taps.tell('machine', 'host', 'step', { does: actionText(step) });
    if ('kill' in step) {
      const process = cast.process(step.kill);
      if (process !== undefined && !process.isGone) yield* machine.kernel.processes.kill(process);
      for (const vm of named(cast, step.kill)) yield* endVm(cast, vm);
    } else if ('plug' in step) {
      yield* onDevice(cast, step.plug, (vm, device) => vm.plug(device));
    } else if ('unplug' in step) {
      yield* onDevice(cast, step.unplug, (vm, device) => vm.unplug(device));
    } else if ('pull-out' in step) {
      yield* onDevice(cast, step['pull-out'], (vm, device) => vm.pullOut(device));
    } else if ('pause' in step) {
      for (const { vm } of named(cast, step.pause)) if (vm.isRunning) yield* vm.pause();
    } else if ('resume' in step) {
      for (const { vm } of named(cast, step.resume)) if (vm.isRunning) yield* vm.resume();
    } else if ('migrate' in step) {
      yield* migrateVm(cast, step);
    } else if ('reset' in step) {
      for (const vm of named(cast, step.reset)) yield* resetVm(cast, vm);
    } else if ('register-kvm' in step) {
      for (const { vm } of named(cast, step['register-kvm'])) if (vm.isRunning) yield* vm.registerKvm();
    }
  }
}

/** Does something to a device of a virtual machine, if that runs. */
function* onDevice(
  cast: HostCast,
  name: string,
  does: (vm: GuestVm, device: string) => Task<Refusal | undefined>,
): Task {
  const [of = '', device = ''] = name.split('/');
  for (const { vm } of named(cast, of)) {
    const refusal = vm.isRunning ? yield* does(vm, device) : undefined;
    if (refusal !== undefined && vm.isRunning) cast.refused('host', name, refusal);
  }
}

/** The virtual machines of a name: itself, or those that it stands for. */
const named = ({ stage }: HostCast, name: string): VirtualMachine[] =>
  [...stage.vms.values()].filter(({ member }) => member.group === name);

function* migrateVm(cast: HostCast, step: Extract<Step, { migrate: unknown }>): Task {
  const [of = '', to = ''] = step.migrate.split('/');
  for (const { vm } of named(cast, of)) {
    if (!vm.isRunning) continue;
    const refusal = yield* vm.migrate(to);
    const action = actionText(step);
    if (step.refused !== undefined) {
      const { errno, why } = refusal ?? { errno: undefined, why: '' };
      cast.stage.taps.judge.tell('refused', { process: 'host', action, errno, why, expected: step.refused });
    } else if (refusal !== undefined && vm.isRunning) cast.refused('host', action, refusal);
  }
}

function* endVm(cast: HostCast, machine: VirtualMachine): Task {
  const { vm } = machine;
  if (vm.isGone) return;
  cast.vmEnds(machine);
  yield* vm.destroy();
  cast.vmGone(machine, vm.remains());
}

function* resetVm(cast: HostCast, machine: VirtualMachine): Task {
  const { name, vm } = machine;
  if (!vm.isRunning) return;
  cast.vmEnds(machine);
  yield* vm.reset();
  cast.vmReset(name, vm.guestPasids());
}
