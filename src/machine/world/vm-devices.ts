/**
 * Virtual devices of a scenario's virtual machines: parts of the host's accelerators, each made for one of them, and
 * whole ones.
 */
import { assert, isRefusal, type Refusal, refuse } from '../../base/index.js';
import { Mdev } from '../../kernel/index.js';
import type { MediatedDevice, VmDevice } from '../../vmm/index.js';
import type { VmMember } from '../scenario/members.js';
import { ridOf } from './hardware.js';
import { groupsOf, type HostMachine } from './machines.js';

/** Whether a virtual device is a whole function: of a part the queue is named. */
export const isWhole = (from: string): boolean => !from.includes('/');

/** Those that are there from the boot on. A `Bug` if the host has no room for one. */
export function devicesOf(host: HostMachine, member: VmMember): VmDevice[] {
  const atBoot = Object.entries(member.spec.devices).filter(([, { plugged }]) => plugged === 'boot');
  return atBoot.map(([name, { from }]) => {
    const device = deviceOf(host, { member, vmm: member.name, name, from });
    assert(!isRefusal(device), `no virtual device ${name}: ${String(device)}`);
    return device;
  });
}

/** A device of a virtual machine's, and what it is to be made of. */
export interface DevicePlace {
  readonly member: VmMember;
  /** Who is to have it. */
  readonly vmm: string;
  readonly name: string;
  /** The queue of the host's that it is a part of; or the function that it is, whole. */
  readonly from: string | undefined;
}

/** On failure: `ENOENT` if the virtual machine has none of that name; as `Mdev.create`. */
export function deviceOf(host: HostMachine, { member, vmm, name, from }: DevicePlace): VmDevice | Refusal {
  const spec = member.spec.devices[name];
  if (spec === undefined || from === undefined) return refuse('ENOENT', `${vmm} has no device ${name}`);
  const at = ridOf(spec.at);
  if (!isWhole(from)) return partOf(host, { vmm, name, from, at });
  const { function: whole, spec: of } = host.whole(from);
  return { name, at, whole, groups: groupsOf(of), sharedQueues: spec['shared-queues'] ?? 'refused' };
}

function partOf(
  host: HostMachine,
  of: { readonly vmm: string; readonly name: string; readonly from: string; readonly at: number },
): MediatedDevice | Refusal {
  const { vmm, name, from, at } = of;
  const { idxd, index } = host.queue(from);
  assert(idxd !== undefined, `the host has not found ${from}`);
  const mdev = Mdev.create(host.kernel.context, idxd, { name: `${vmm} ${name}`, wq: index });
  return isRefusal(mdev) ? mdev : { name, at, mdev };
}
