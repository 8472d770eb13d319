/** A virtual machine, as programs in it see it. */
import type { Cpu } from '../../hardware/index.js';
import type { IdxdDevice, Kernel } from '../../kernel/index.js';
import type { Queue } from '../../rules/index.js';
import type { VmMember } from '../scenario/members.js';
import type { GuestVm } from './guest-vm.js';
import { ridOf } from './hardware.js';
import type { HostMachine, Machine, MachineQueue } from './machines.js';
import { isWhole } from './vm-devices.js';

/** A queue of a virtual device, and what on the host that is from. */
interface FoundQueue {
  readonly device: string;
  /** Where its guest finds the device. */
  readonly rid: number | undefined;
  readonly from: string;
  readonly hardware: Queue;
}

export class VirtualMachine implements Machine {
  readonly name: string;
  readonly member: VmMember;
  readonly vm: GuestVm;
  readonly #host: HostMachine;
  /** Those that were asked for, by name, with what they were from then. */
  readonly #queues = new Map<string, FoundQueue>();

  constructor(member: VmMember, vm: GuestVm, host: HostMachine) {
    this.name = member.name;
    this.member = member;
    this.vm = vm;
    this.#host = host;
  }

  get kernel(): Kernel {
    return this.vm.kernel;
  }

  get cpus(): readonly Cpu[] {
    return this.vm.cpus;
  }

  /** Its kernel's accelerator of that name. */
  idxd(device: string): IdxdDevice | undefined {
    const spec = this.member.spec.devices[device];
    return this.#idxdAt(spec && ridOf(spec.at));
  }

  queue(name: string): MachineQueue {
    const { device, rid, from, hardware } = this.#known(name) ?? this.#found(name);
    const { index, spec, unusable } = this.#host.queue(hardware.queue);
    const isLeftOut = isWhole(from) && spec?.mode === 'shared';
    return {
      idxd: this.#idxdAt(rid),
      index: isWhole(from) ? index : 0,
      hardware,
      spec,
      unusable: isLeftOut ? this.vm.vm.whyUnshared(device) : unusable,
    };
  }

  #known(name: string): FoundQueue | undefined {
    const known = this.#queues.get(name);
    return known?.from === this.vm.from(known?.device ?? '') ? known : undefined;
  }

  /** What does not change of a queue as long as the machine is where it is. */
  #found(name: string): FoundQueue {
    const [device = '', queue = ''] = name.split('/');
    const from = this.vm.from(device) ?? '';
    const at = this.member.spec.devices[device]?.at;
    const parent = this.#host.queue(isWhole(from) ? `${from}/${queue}` : from);
    const rid = at === undefined ? undefined : ridOf(at);
    const found = { device, rid, from, hardware: { ...parent.hardware, via: name } };
    this.#queues.set(name, found);
    return found;
  }

  #idxdAt(rid: number | undefined): IdxdDevice | undefined {
    return this.kernel.idxds.find(({ pci }) => pci.rid === rid);
  }

  deviceOf(name: string): string {
    return this.vm.deviceOf(name);
  }
}
