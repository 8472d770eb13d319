/** A virtual machine, as programs in it see it. */
import type { Cpu } from '../../hardware/index.js';
import type { IdxdDevice, Kernel } from '../../kernel/index.js';
import type { VmMember } from '../scenario/members.js';
import { type GuestVm, isWhole } from './guest-vm.js';
import { ridOf } from './hardware.js';
import type { HostMachine, Machine, MachineQueue } from './machines.js';

export class VirtualMachine implements Machine {
  readonly name: string;
  readonly member: VmMember;
  readonly vm: GuestVm;
  readonly #host: HostMachine;

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
    const rid = spec && ridOf(spec.at);
    return this.kernel.idxds.find(({ pci }) => pci.rid === rid);
  }

  queue(name: string): MachineQueue {
    const [device = '', queue = ''] = name.split('/');
    const from = this.vm.from(device) ?? '';
    const parent = this.#host.queue(isWhole(from) ? `${from}/${queue}` : from);
    const isLeftOut = isWhole(from) && parent.spec?.mode === 'shared';
    return {
      idxd: this.idxd(device),
      index: isWhole(from) ? parent.index : 0,
      hardware: { ...parent.hardware, via: name },
      spec: parent.spec,
      unusable: isLeftOut ? this.vm.vm.whyUnshared(device) : parent.unusable,
    };
  }

  deviceOf(name: string): string {
    return this.vm.deviceOf(name);
  }
}
